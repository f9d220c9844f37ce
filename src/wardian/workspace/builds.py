"""The records of builds, over SQL, and the recorder that keeps one while something is made."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

from wardian.errors import BuildFailed, Conflict, InvalidInput, NotFound, WardianError
from wardian.events import silent
from wardian.tools import processes
from wardian.workspace.build_record import CANCELED, COMPLETED, FAILED, KINDS, RUNNING, BuildRecord, Phase
from wardian.workspace.cancel_watch import CancelWatch
from wardian.workspace.clock import moment_text, utc_now
from wardian.workspace.page import Page, check_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path
    from typing import IO

    from wardian.events import Event, Listener
    from wardian.workspace.database import Database

_LOOK_S = 0.5  # how often a recorder asks whether it was canceled, seconds
_LONGEST_LOG_BYTES = 64 << 20
_PROCESS_ENDED = "process ended"


class BuildCanceled(BuildFailed):
    """Somebody canceled the build."""

    code = "build_canceled"


class Builds:
    """Records of the builds of a workspace. Safe across processes: every change is one transaction.

    A build whose process has ended without a word is shown as failed, ``process ended``, by every read.

    Args:     directory: where logs lie, one file each.  new_id: the id that follows the newest one (``""``: none).
              interruptible: this process may be interrupted to stop a build that was canceled; else it stops at its next step.
    """

    def __init__(
        self, database: Database, directory: Path, *, new_id: Callable[[str], str], now: Callable[[], datetime] = utc_now,
        interruptible: bool = False,
    ) -> None:  # fmt: skip
        self._database = database
        self._directory = directory
        self._new_id = new_id
        self._now = now
        self._interruptible = interruptible

    # -- write ---------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def record(
        self, kind: str, subject: str, key: str, listener: Listener = silent, *, adopt: str | None = None
    ) -> Iterator[Recorder]:
        """Keep a record while the block makes something: it is ``running`` inside, and says afterwards how that ended.

        Use the recorder as the listener of what is made: it keeps phases and log, and passes every event on.

        Args:     adopt: the id of a record that ``add`` made: it is this process's from now on.
        Raises:   BuildCanceled: from the recorder, once somebody has canceled the build. What the block raises, with the
                  build's id in ``details``.  Conflict: ``build_ended``: the adopted one has ended.
        """
        build_id = adopt or self.add(kind, subject, key)
        if adopt is not None:
            self.hand_over(adopt, processes.identify())
            if not self.get(adopt).is_active:
                raise Conflict(f"build `{adopt}` has ended already", code="build_ended")
        self._directory.mkdir(parents=True, exist_ok=True)
        with self.log_path(build_id).open("a", encoding="utf-8", errors="replace") as log:
            recorder = Recorder(self, build_id, listener, log)
            try:
                recorder.check_canceled()
                with self._stopped_if_canceled(recorder):
                    yield recorder
            except BaseException as error:
                recorder.close()
                if not recorder.kept:
                    self._drop(build_id)
                    raise
                self._end_failed(build_id, recorder, error)
                if isinstance(error, WardianError):
                    error.details.setdefault("build_id", build_id)
                raise
            recorder.close()
            if recorder.kept:
                self._end(build_id, COMPLETED, recorder)
            else:
                self._drop(build_id)

    @contextlib.contextmanager
    def _stopped_if_canceled(self, recorder: Recorder) -> Iterator[None]:
        if not self._interruptible:
            yield
            return
        watch = CancelWatch(lambda: self.get(recorder.id).cancel_asked is not None)
        try:
            with watch:
                yield
        except KeyboardInterrupt:
            if watch.fired:
                recorder.check_canceled()
            raise

    def add(self, kind: str, subject: str, key: str) -> str:
        """Record a build that another process is to carry out (``record`` with ``adopt``); return its id. It is this one's until then."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if kind not in KINDS:
            raise InvalidInput(f"`{kind}` is no kind of build", code="unknown_kind")
        builder = processes.identify()
        with self._database.write():  # nobody else adds one meanwhile: ids rise, whatever the clock does
            build_id = self._new_id(self._database.rows("SELECT max(id) FROM builds")[0][0] or "")
            self._database.execute(
                "INSERT INTO builds (id, kind, state, subject, key, started, builder) VALUES (?, ?, ?, ?, ?, ?, ?)",
                build_id, kind, RUNNING, subject, key, moment_text(self._now()), json.dumps(builder.as_document()) if builder else None,
            )  # fmt: skip
        return build_id

    def hand_over(self, build_id: str, builder: processes.ProcessIdentity | None) -> None:
        """Record who carries out a build that has not ended; None: it cannot be told here."""
        if builder is None:
            return
        with self._database.write():
            self._database.execute(
                "UPDATE builds SET builder = ? WHERE id = ? AND state = ?", json.dumps(builder.as_document()), build_id, RUNNING
            )

    def end_unstarted(self, build_id: str, error: BuildFailed) -> BuildFailed:
        """Record that a build of ``add`` was not begun, unless it has ended; return the error."""
        with self._database.write():
            self._database.execute(
                "UPDATE builds SET state = ?, ended = ?, code = ?, reason = ? WHERE id = ? AND state = ?",
                FAILED, moment_text(self._now()), error.stable_code, error.message, build_id, RUNNING,
            )  # fmt: skip
        return error

    def _end_failed(self, build_id: str, recorder: Recorder, error: BaseException) -> None:
        recorder.tell(f"failed: {error}" if str(error) else f"failed: {type(error).__name__}")
        if isinstance(error, BuildCanceled | KeyboardInterrupt):
            self._end(build_id, CANCELED, recorder, code="canceled", reason="canceled")
        elif isinstance(error, WardianError):
            document = error.as_document()
            recorder.error = {**document, "exit_code": error.exit_code}
            self._end(build_id, FAILED, recorder, code=error.stable_code, reason=error.message)
        else:
            self._end(build_id, FAILED, recorder, code="bug", reason=f"{type(error).__name__}: {error}")

    def _end(
        self, build_id: str, state: str, recorder: Recorder, *, code: str | None = None, reason: str | None = None
    ) -> None:
        with contextlib.suppress(WardianError) if state != COMPLETED else contextlib.nullcontext(), self._database.write():
            self._database.execute(
                "UPDATE builds SET state = ?, ended = ?, code = ?, reason = ?, results = ? WHERE id = ? AND state = ?",
                state, moment_text(self._now()), code, reason, recorder.results(), build_id, RUNNING,
            )  # fmt: skip

    def _drop(self, build_id: str) -> None:
        """Remove the record of what turned out to be no build: what it would have made was there."""
        with contextlib.suppress(WardianError), self._database.write():
            self._database.execute("DELETE FROM builds WHERE id = ? AND state = ?", build_id, RUNNING)
        with contextlib.suppress(OSError):
            self.log_path(build_id).unlink()

    def put_key(self, build_id: str, key: str) -> None:
        """Record what is made, where that was known only after the build began."""
        with self._database.write():
            self._database.execute("UPDATE builds SET key = ? WHERE id = ? AND state = ?", key, build_id, RUNNING)

    def note(self, build_id: str, results: str) -> None:
        """Record how far a build has come."""
        with self._database.write():
            self._database.execute("UPDATE builds SET results = ? WHERE id = ? AND state = ?", results, build_id, RUNNING)

    def ask_cancel(self, id_or_prefix: str) -> BuildRecord:
        """Record that a build is to stop; return its record. It stops at its next step, or, where it may be interrupted, within two seconds. Idempotent.

        Raises:   Conflict: ``build_ended``.  NotFound.
        """
        record = self.get(id_or_prefix)
        if not record.is_active:
            raise Conflict(f"build `{record.id}` has ended already: {record.state}", code="build_ended")
        with self._database.write():
            self._database.execute(
                "UPDATE builds SET cancel_asked = ? WHERE id = ? AND cancel_asked IS NULL", moment_text(self._now()), record.id
            )
        return self.get(record.id)

    # -- read ----------------------------------------------------------------------------------------------------------

    def get(self, id_or_prefix: str) -> BuildRecord:
        """Return the build with this id, or the only one whose id begins with it; ``latest``: the newest.

        Raises:   NotFound: code ``build_not_found``.  Conflict: ``ambiguous_build``: several begin so.
        """
        text = id_or_prefix.strip().lower()
        if text == "latest":
            rows = self._database.rows("SELECT * FROM builds ORDER BY id DESC LIMIT 1")
        else:
            rows = self._database.rows("SELECT * FROM builds WHERE id >= ? AND id < ? ORDER BY id LIMIT 6", text, f"{text}~")
        if not rows or not text:
            raise NotFound(f"there is no build `{id_or_prefix[:40]}`", hint="see `wardian build list`", code="build_not_found")
        if len(rows) > 1:
            shown = ", ".join(row["id"] for row in rows)
            raise Conflict(f"several builds begin with `{text}`: {shown}", hint="write more of the id", code="ambiguous_build")
        return self._reconciled(BuildRecord.from_row(rows[0]))

    def list(
        self, *, limit: int = 50, after: str | None = None, state: str | None = None, kind: str | None = None,
        subject: str | None = None, key: str | None = None,
    ) -> Page[BuildRecord]:  # fmt: skip
        """Return at most ``limit`` builds, newest first, from the one behind ``after`` on.

        Raises:   InvalidInput: a limit beyond 1 to 1000.
        """
        check_limit(limit)
        for row in self._database.rows("SELECT * FROM builds WHERE state = ?", RUNNING):
            self._reconciled(BuildRecord.from_row(row))
        given = {"state": state, "kind": kind, "subject": subject, "key": key}
        asked = {name: value for name, value in given.items() if value is not None}
        conditions = [*(f"{name} = ?" for name in asked), *(["id < ?"] if after else [])]
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        sql = f"SELECT * FROM builds {where}ORDER BY id DESC LIMIT {limit + 1}"  # noqa: S608 - names from a fixed list
        rows = self._database.rows(sql, *asked.values(), *([after] if after else []))
        items = [BuildRecord.from_row(row) for row in rows[:limit]]
        return Page(items, items[-1].id if len(rows) > limit else None)

    def log_path(self, build_id: str) -> Path:
        """Return where the log of a build is, or would be."""
        return self._directory / f"{build_id}.log"

    def _reconciled(self, record: BuildRecord) -> BuildRecord:
        builder = record.builder
        if not record.is_active or builder is None or self._database.read_only or processes.is_alive(builder) is not False:
            return record
        with self._database.write():
            if self._database.row("SELECT id FROM builds WHERE id = ? AND state = ?", record.id, RUNNING) is not None:
                with (
                    contextlib.suppress(OSError),
                    self.log_path(record.id).open("a", encoding="utf-8") as log,
                ):  # who follows it, reads why it ends
                    log.write(f"{moment_text(utc_now())[:23]}Z failed: {_PROCESS_ENDED}\n")
            self._database.execute(
                "UPDATE builds SET state = ?, ended = ?, code = ?, reason = ? WHERE id = ? AND state = ?",
                CANCELED if record.cancel_asked else FAILED, moment_text(self._now()), "process_ended", _PROCESS_ENDED, record.id, RUNNING,
            )  # fmt: skip
        row = self._database.row("SELECT * FROM builds WHERE id = ?", record.id)
        return BuildRecord.from_row(row) if row is not None else record


class Recorder:
    """A listener that keeps the phases and the log of a build. What it cannot write, on a full disk, it leaves out.

    Events: ``phase`` begins a phase; ``data`` of any event may add ``bytes``, ``made`` and ``cached`` to it.

    Attributes:
        kept: False if nothing is made after all: no record stays then, however it ends.
    """

    def __init__(self, builds: Builds, build_id: str, listener: Listener, log: IO[str]):
        self.id = build_id
        self.outcome: dict[str, Any] = {}
        self.error: dict[str, Any] = {}
        self.kept = True
        self._builds = builds
        self._listener = listener
        self._log = log
        self._phases: list[Phase] = []
        self._phase_began = self._looked = time.monotonic()
        self._guard = threading.Lock()  # layers are made in several threads

    def __call__(self, event: Event) -> None:
        """Keep one event, and pass it on.

        Raises:   BuildCanceled.
        """
        with self._guard:
            self._count(event)
        if event.kind != "progress":
            self.tell(event.text if event.kind != "warning" else f"warning: {event.text}")
        self._listener(event)
        self._look()

    def _count(self, event: Event) -> None:
        if event.kind == "phase":
            self.close()
            self._phases.append(Phase(event.text, moment_text(utc_now())))
            self._phase_began = time.monotonic()
        if self._phases:
            phase = self._phases[-1]
            phase.size_bytes += int(event.data.get("bytes", 0))
            phase.made += int(event.data.get("made", 0))
            phase.cached += int(event.data.get("cached", 0))

    def tell(self, text: str) -> None:
        """Write a line to the log."""
        with contextlib.suppress(OSError):
            if self._log.tell() < _LONGEST_LOG_BYTES:
                self._log.write(f"{moment_text(utc_now())[:23]}Z {text}\n")
                self._log.flush()

    def put_key(self, key: str) -> None:
        """Record what is made, once that is known."""
        self._builds.put_key(self.id, key)

    def close(self) -> None:
        """The phase that lasts ends now."""
        if self._phases and self._phases[-1].seconds is None:
            self._phases[-1].seconds = round(time.monotonic() - self._phase_began, 3)

    def results(self) -> str:
        """Return phases, outcome and error as JSON."""
        from dataclasses import asdict

        return json.dumps({"phases": [asdict(phase) for phase in self._phases], "outcome": self.outcome, "error": self.error})

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        self._builds.note(self.id, self.results())
        self.check_canceled()

    def check_canceled(self) -> None:
        """Raise BuildCanceled if somebody has canceled the build."""
        if self._builds.get(self.id).cancel_asked:
            raise BuildCanceled(f"build `{self.id}` was canceled", details={"build_id": self.id})
