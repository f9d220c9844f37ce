"""The records of runs that were handed over to an engine: where they are, and what was learned of them since, as it was there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from wardian.run.record import ACTIVE, COMPLETED, PREPARING, QUEUED, RUNNING, RunRecord
from wardian.workspace.clock import moment_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.run.place import Place
    from wardian.run.record import Results
    from wardian.run.records import RunStore

_WAY = (QUEUED, PREPARING, RUNNING)


class PlacedRuns:
    """What ``RunStore`` is for runs of this machine, for those that are elsewhere. Every change is one transaction.

    Moments come from other machines' clocks: each is put behind the one before it, and none lies in the future.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.database = store.database

    def active(self) -> Sequence[RunRecord]:
        """Return the runs that an engine has, or may have, and that have not ended here."""
        rows = self.database.rows(
            "SELECT * FROM runs WHERE place IS NOT NULL AND state IN ('queued', 'preparing', 'running') ORDER BY target, id"
        )
        return [RunRecord.from_row(row) for row in rows]

    def put(self, run_id: str, place: Place, *, supervised: bool = True) -> RunRecord:
        """Record where the run is. ``supervised``: False: no process of ours looks after it any more."""
        with self.database.write():
            columns: dict[str, Any] = {"place": place.to_json()} | ({} if supervised else {"supervisor": None})
            self._store.set_columns(run_id, **columns)
            return self._store.existing(run_id)

    def say(self, run_id: str, reason: str) -> None:
        """Record why an active run waits, or what keeps it from being asked after; nothing is written that is there already."""
        with self.database.write():
            record = self._store.existing(run_id)
            if record.is_active and record.reason != reason:
                self._store.set_columns(run_id, reason=reason)

    def advance(self, run_id: str, state: str, at: str | None = None) -> RunRecord:
        """Bring the run to ``preparing`` or ``running``, through what lies before; a run that is further stays where it is.

        Args:     at: when it came so far, RFC 3339, by the node's clock; None: now.
        """
        with self.database.write():
            record = self._store.existing(run_id)
            if record.state not in _WAY or _WAY.index(record.state) >= _WAY.index(state):
                return record
            moment = self._moment(at, record)
            between = _WAY[_WAY.index(record.state) + 1 : _WAY.index(state) + 1]
            self._store.set_columns(run_id, state=state, reason=None, **dict.fromkeys(between, moment))
            return self._store.existing(run_id)

    def end(
        self, run_id: str, state: str, *, code: str, reason: str, exit_code: int | None, signal: int | None, results: Results,
        began: str | None, ended: str | None, place: Place,
    ) -> RunRecord:  # fmt: skip
        """End the run as it ended there; one that has ended already is returned as it is.

        If the node's clock is behind, it takes as long in the record as it took there.

        Args:     began, ended: RFC 3339, by the node's clock; ``began``: its job.
        """
        with self.database.write():
            record = self._store.existing(run_id)
            if record.state not in ACTIVE:
                return record
            if state == COMPLETED or began is not None:
                record = self.advance(run_id, RUNNING, began)
            moment = self._moment(_shifted(began, ended, record.running), record)
            self._store.end(run_id, state, code=code, reason=reason, exit_code=exit_code, signal=signal, results=results,
                            ended=datetime.fromisoformat(moment))  # fmt: skip
            self._store.set_columns(run_id, place=place.to_json())
            return self._store.existing(run_id)

    def came_home(self, run_id: str, results: Results, place: Place) -> RunRecord:
        """Record what an ended run left, now that it is here."""
        with self.database.write():
            self._store.set_columns(run_id, results=results.to_json(), place=place.to_json())
            return self._store.existing(run_id)

    def _moment(self, text: str | None, record: RunRecord) -> str:
        now = moment_text(self._store.now())
        before = record.running or record.preparing or record.queued
        try:
            said = moment_text(datetime.fromisoformat(text)) if text else now
        except ValueError:
            said = now
        return max(before, min(said, max(now, before)))


def _shifted(began: str | None, ended: str | None, running: str | None) -> str | None:
    """Return ``ended`` put off by as much as ``running``, the moment that the record has of ``began``, was put off."""
    try:
        if began and ended and running:
            off = datetime.fromisoformat(running) - datetime.fromisoformat(began)
            return moment_text(datetime.fromisoformat(ended) + max(off, timedelta()))
    except (ValueError, TypeError, OverflowError):  # what a node says may be anything
        return ended
    return ended
