"""The records of runs, over SQL: states that change in legal ways only, found by id, in pages."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.run import record as states
from wardian.run.directory import RunDirectory
from wardian.run.file_names import readable
from wardian.run.record import RunRecord
from wardian.run.run_id import LENGTH, is_id_or_prefix, new_run_id
from wardian.tools.processes import is_alive
from wardian.workspace.clock import moment_text, utc_now
from wardian.workspace.page import Page, check_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardian.run.configuration import RunConfiguration
    from wardian.run.place import Place
    from wardian.run.record import Results
    from wardian.tools.processes import ProcessIdentity
    from wardian.workspace.database import Database

_FILTERS = ("experiment", "target", "version_id", "definition_hash", "lock_digest", "snapshot_digest")


class CancelAsked(Conflict):
    """Somebody asked to cancel the run: it goes no further."""

    code = "cancel_asked"


class RunStore:
    """Records of the runs of a workspace. Safe across processes: every change is one transaction.

    A run whose supervisor has ended without a word is shown as failed, with the reason, by every read.

    Args:     now: where the moments in the records come from.  new_id: the id that follows the newest one (``""``: none).
              runs_dir: where the files of the runs are: they tell when a run whose supervisor is gone was last alive.
    Source:   semantics §6
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime] = utc_now,
        new_id: Callable[[str], str] = new_run_id,
        *,
        runs_dir: Path | None = None,
    ) -> None:
        self.database = database
        self.now = now
        self._new_id = new_id
        self._runs_dir = runs_dir

    # -- write ---------------------------------------------------------------------------------------------------------

    def add(
        self,
        configuration: RunConfiguration,
        *,
        supervisor: ProcessIdentity | None,
        results: Results,
        takes_signals: bool = False,
        placed: Callable[[str, RunConfiguration, Results], tuple[RunConfiguration, Results]] | None = None,
        place: Callable[[str], Place] | None = None,
    ) -> RunRecord:
        """Add a run in the state ``queued`` and return its record. Secrets of ``configuration`` are not kept.

        Args:     takes_signals: whether SIGTERM makes ``supervisor`` cancel the run, and nothing else.
                  placed: what to record instead once the run's id is known.  place: of a run that an engine is to have.
        """
        with self.database.write():  # nobody else adds one meanwhile: ids rise, whatever the clock does
            run_id = self._new_id(self.database.rows("SELECT max(id) FROM runs")[0][0] or "")
            stated, found = placed(run_id, configuration, results) if placed else (configuration, results)
            self.database.execute(
                "INSERT INTO runs (id, state, experiment, target, queued, supervisor, specification, results, place)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                run_id, states.QUEUED, stated.experiment, stated.target, moment_text(self.now()),
                _process_text(supervisor, takes_signals), json.dumps(stated.as_document()), found.to_json(),
                place(run_id).to_json() if place else None,
            )  # fmt: skip
            return self.existing(run_id)

    def advance(
        self, run_id: str, state: str, *, results: Results | None = None, snapshot_digest: str | None = None
    ) -> RunRecord:
        """Change the state to ``preparing`` or ``running``; return the record.

        Raises:   Conflict: ``illegal_state_change``: it is in no state that this one may follow.
                  CancelAsked: it is to be canceled.  NotFound.
        """
        with self.database.write():
            record = self._checked(run_id, state)
            if record.cancel_asked:
                raise CancelAsked(f"run `{run_id}` is to be canceled")
            self.set_columns(run_id, state=state, **{state: moment_text(self.now())}, **_columns(results, snapshot_digest))
            return self.existing(run_id)

    def end(
        self,
        run_id: str,
        state: str,
        *,
        code: str,
        reason: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
        results: Results | None = None,
        ended: datetime | None = None,
    ) -> RunRecord:
        """Change the state to ``completed``, ``failed`` or ``canceled``; return the record.

        Args:     ended: when it did; None: now.
        Raises:   Conflict: ``illegal_state_change``, for one that has ended.  NotFound.
        """
        with self.database.write():
            self._checked(run_id, state)
            self.set_columns(run_id, state=state, ended=moment_text(ended or self.now()), code=code, reason=readable(reason), exit_code=exit_code,
                      signal=signal, **_columns(results, None))  # fmt: skip
            return self.existing(run_id)

    def note(self, run_id: str, results: Results, snapshot_digest: str | None = None) -> RunRecord:
        """Record what was found out so far about a run that has not ended.

        Raises:   Conflict: ``run_ended``.  NotFound.
        """
        with self.database.write():
            self._active(run_id)
            self.set_columns(run_id, **_columns(results, snapshot_digest))
            return self.existing(run_id)

    def hand_over(self, run_id: str, supervisor: ProcessIdentity | None, *, takes_signals: bool = False) -> RunRecord:
        """Record which process looks after the queued run from now on.

        Raises:   Conflict: ``illegal_state_change``: it is not queued any more.  NotFound.
        """
        with self.database.write():
            self._checked(run_id, states.PREPARING)
            self.set_columns(run_id, supervisor=_process_text(supervisor, takes_signals))
            return self.existing(run_id)

    def ask_cancel(self, run_id: str) -> RunRecord:
        """Record that the run is to be canceled: it goes no further than its current state. Idempotent.

        Raises:   Conflict: ``run_ended``.  NotFound.
        """
        with self.database.write():
            record = self._active(run_id)
            if not record.cancel_asked:
                self.set_columns(run_id, cancel_asked=moment_text(self.now()))
            return self.existing(run_id)

    def delete(self, run_id: str) -> None:
        """Delete the record; its files are the caller's.

        Raises:   Conflict: ``run_active``: it has not ended.  NotFound.
        """
        with self.database.write():
            if self.existing(run_id).is_active:
                raise Conflict(f"run `{run_id}` has not ended", hint=f"`wardian runs cancel {run_id}` first", code="run_active")
            self.database.execute("DELETE FROM runs WHERE id = ?", run_id)

    # -- read ------------------------------------------------------------------------------------------------------------

    def get(self, id_or_prefix: str) -> RunRecord:
        """Return the run with this id, or the only one whose id begins with it.

        Raises:   NotFound: code ``run_not_found``.  Conflict: ``ambiguous_run``: several begin so; the message names them.
        """
        text = id_or_prefix.strip().lower()
        rows = []
        if is_id_or_prefix(text):
            rows = self.database.rows("SELECT * FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT 6", text, f"{text}~")
        if not rows:
            raise _not_found(id_or_prefix)
        if len(rows) > 1:
            shown = ", ".join(row["id"] for row in rows)
            raise Conflict(f"several runs begin with `{text}`: {shown}", hint="write more of the id", code="ambiguous_run")
        return self._reconciled(RunRecord.from_row(rows[0]))

    def list(
        self, *, limit: int = 50, after: str | None = None, state: str | None = None, **equal: str | int | None
    ) -> Page[RunRecord]:
        """Return at most ``limit`` runs, newest first, from the one behind ``after`` on (``next`` of the page before).

        ``state`` and the other filters (``experiment``, ``target``, ``version_id``, ``definition_hash``, ``lock_digest``,
        ``snapshot_digest``) ask for runs with just that value; None asks for nothing.

        Raises:   InvalidInput: an unknown state or filter, or a limit beyond 1 to 1000.
        """
        check_limit(limit)
        if state is not None and state not in (*states.ACTIVE, *states.ENDED):
            raise InvalidInput(f"`{state}` is none of {', '.join((*states.ACTIVE, *states.ENDED))}", code="unknown_state")
        asked = {"state": state, **equal}
        if unknown := set(equal) - set(_FILTERS):
            raise InvalidInput(f"runs cannot be filtered by {', '.join(sorted(unknown))}", code="unknown_filter")
        given = {name: value for name, value in asked.items() if value is not None}
        self.reconcile()
        conditions = [f"{name} = ?" for name in given] + (["id < ?"] if after else [])
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        values = [*given.values(), *([after] if after else [])]
        sql = f"SELECT * FROM runs {where}ORDER BY id DESC LIMIT {limit + 1}"  # noqa: S608 - names from a fixed list
        rows = self.database.rows(sql, *values)
        items = [RunRecord.from_row(row) for row in rows[:limit]]
        return Page(items, items[-1].id if len(rows) > limit else None)

    def active(self) -> Sequence[RunRecord]:
        """Return the runs that have not ended."""
        self.reconcile()
        return [RunRecord.from_row(row) for row in self.database.rows(f"SELECT * FROM runs WHERE {_IS_ACTIVE} ORDER BY id")]  # noqa: S608

    def any_elsewhere(self) -> bool:
        """Return whether an engine has runs, or may have, that have not ended, and what became of them can be written down."""
        if self.database.read_only:
            return False
        return self.database.row(f"SELECT 1 FROM runs WHERE place IS NOT NULL AND {_IS_ACTIVE} LIMIT 1") is not None  # noqa: S608

    def reconcile(self) -> None:
        """End the records of runs whose supervisor is gone."""
        for row in self.database.rows(f"SELECT * FROM runs WHERE {_IS_ACTIVE}"):  # noqa: S608
            self._reconciled(RunRecord.from_row(row))

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _reconciled(self, record: RunRecord) -> RunRecord:
        supervisor = record.supervisor  # of a run that an engine has: none
        if not record.is_active or supervisor is None or self.database.read_only or is_alive(supervisor) is not False:
            return record
        with self.database.write():
            current = self.existing(record.id)  # it may have said its last word since, or have been handed over
            if not current.is_active or current.supervisor != supervisor:
                return current
            alive = self._last_known_alive(current)
            if current.cancel_asked:
                return self.end(
                    record.id, states.CANCELED, code="canceled", reason=f"canceled while {current.state}", ended=alive
                )
            return self.end(record.id, states.FAILED, code=states.SUPERVISOR_GONE, ended=alive,
                            reason=f"the process that looked after it ({supervisor}) ended without a word, while the run was {current.state};"
                                   f" it was last known to be alive at {moment_text(alive)[:19]}Z")  # fmt: skip

    def _last_known_alive(self, record: RunRecord) -> datetime:
        """Return the last moment at which the run was there for sure: since then nobody looked, maybe for days."""
        known = datetime.fromisoformat(record.running or record.preparing or record.queued)
        sign = RunDirectory.of(self._runs_dir, record.id).last_sign_of_life if self._runs_dir else None
        return max(known, min(sign, self.now())) if sign else known  # the clock of the file system may be another machine's

    def existing(self, run_id: str) -> RunRecord:
        """Return the record as it is written, for those who change it.

        Raises:   NotFound.
        """
        row = self.database.row("SELECT * FROM runs WHERE id = ?", run_id)
        if row is None:
            raise _not_found(run_id)
        return RunRecord.from_row(row)

    def _checked(self, run_id: str, state: str) -> RunRecord:
        record = self.existing(run_id)
        if record.state not in states.PREDECESSORS.get(state, ()):
            raise Conflict(f"run `{run_id}` is {record.state}: it cannot become {state}", code="illegal_state_change")
        return record

    def _active(self, run_id: str) -> RunRecord:
        record = self.existing(run_id)
        if not record.is_active:
            raise Conflict(f"run `{run_id}` has ended already: {record.state}", code="run_ended")
        return record

    def set_columns(self, run_id: str, **columns: Any) -> None:
        """Change a record, for those who know that it may be; inside a transaction."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self.database.execute(f"UPDATE runs SET {names} WHERE id = ?", *columns.values(), run_id)  # noqa: S608


_IS_ACTIVE = "state IN ('queued', 'preparing', 'running')"


def _columns(results: Results | None, snapshot_digest: str | None) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if results is not None:
        made_with = results.environment
        columns["results"] = results.to_json()
        columns |= {name: getattr(made_with, name) for name in ("version_id", "definition_hash", "lock_digest", "prefix_key")}
    if snapshot_digest is not None:
        columns["snapshot_digest"] = snapshot_digest
    return columns


def _process_text(process: ProcessIdentity | None, takes_signals: bool) -> str | None:
    return json.dumps({**process.as_document(), "takes_signals": takes_signals}) if process else None


def _not_found(run_id: str) -> NotFound:
    cut = run_id[: 2 * LENGTH]
    return NotFound(f"there is no run `{cut}`", hint="see `wardian runs list`", code="run_not_found")
