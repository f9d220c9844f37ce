"""Runs that engines have, for those who wait for them: followed, waited for, canceled. No process of ours lives while nobody does."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from wardian.errors import Denied, InvalidInput, Unavailable
from wardian.events import Event
from wardian.run.handover import hands, offer
from wardian.run.homecoming import bring_log
from wardian.run.node.sheet import CANCEL
from wardian.run.place import HOME, OFFERED, TAKEN
from wardian.run.remote_looks import RemoteLooks
from wardian.run.why_waiting import WhyWaiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.run.record import RunRecord

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_LOG_PIECE_S, _LOG_S, _LOG_SO_FAR_S = (
    0.1,
    5.0,
    60.0,
)  # a log that is shown as it comes: until it is shown; until the run is looked at
_FIRST_QUESTION_S, _LAST_QUESTION_S = 0.5, 10.0  # between two questions to an engine about one run


class RemoteRuns(RemoteLooks):
    """Looks after the runs of a workspace that engines have, and waits for them."""

    def follow(self, record: RunRecord) -> Iterator[bytes]:
        """Yield the log of a run as it grows, from its beginning until the run has ended; what is read is kept here.

        The listener is told why a run waits that does not begin.
        """
        log, position = self.directory(record).log, 0
        why = WhyWaiting(lambda text: self.listener(Event("notice", text, data={"run_id": record.id})), record.reason)
        for current in self.watch(record):
            why.look(current, time.monotonic())
            until, has_all = time.monotonic() + _LOG_S, False
            while not has_all:
                has_all = self._fetch_log(current, _LOG_PIECE_S) or time.monotonic() >= until
                with log.open("rb") if log.exists() else _nothing() as stream:
                    stream.seek(position)
                    while piece := stream.read(1 << 20):
                        position += len(piece)
                        yield piece

    def _fetch_log(self, record: RunRecord, time_s: float) -> bool:
        """Bring more of the log here; return whether nothing more can be brought now."""
        place = record.place
        if place is None or place.stage != TAKEN:
            return True
        with hands(self.directory(record), wait=not record.is_active) as held:
            if not held:
                return True
            try:
                return bring_log(self.way(record).carrier, place, self.directory(record), time_s=time_s)
            except (Unavailable, InvalidInput):  # the latter: it is none any more
                return True

    def log_so_far(self, record: RunRecord) -> None:
        """Bring the log of an active run here as far as it is written; of one that grows faster than it comes, some of it."""
        self._fetch_log(record, _LOG_SO_FAR_S)

    def wait(self, record: RunRecord, timeout_s: float | None = None) -> RunRecord:
        """Wait until the run has ended and is home, at most ``timeout_s`` seconds; return its record."""
        for current in self.watch(record, timeout_s):
            record = current
        return record

    def watch(self, record: RunRecord, timeout_s: float | None = None) -> Iterator[RunRecord]:
        """Yield the record again and again, up to date, the last time when the run has ended and is home, or the time is up.

        The node's word is looked for often, the engine is asked seldom, and more and more so.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s, question_s, due = _SHORTEST_PAUSE_S, _FIRST_QUESTION_S, 0.0
        while True:
            before = record.state
            if time.monotonic() >= due:
                record = self.look_at(self.store.existing(record.id))
                due = time.monotonic() + question_s
                question_s = min(question_s * 1.5, _LAST_QUESTION_S)
            else:
                record = self.bring_home(self.peek(self.store.existing(record.id)))
            if record.state != before:
                pause_s = _SHORTEST_PAUSE_S
            is_late = deadline is not None and time.monotonic() >= deadline
            yield record
            if not record.is_active or is_late:
                return
            left_s = pause_s if deadline is None else min(pause_s, max(0.0, deadline - time.monotonic()))
            time.sleep(left_s)
            pause_s = min(pause_s * 1.3, _LONGEST_PAUSE_S)

    def cancel(self, record: RunRecord, cause: str = "canceled") -> RunRecord:
        """Ask node and engine to end a run; return its record as it is then. ``cause``: ``canceled`` | ``interrupted``.

        Raises:   Conflict: ``run_ended``.  Unavailable: the engine does not answer; the wish is recorded, and kept for the next look.
        """
        record = self.store.ask_cancel(record.id)
        place = record.place
        if place is None or record.supervisor is not None:
            return record
        if cause != "canceled":
            place = replace(place, asked=cause)
            record = self.placed.put(record.id, place)
        way = self.way(record)
        with tempfile.NamedTemporaryFile() as empty:
            way.carrier.send({f"{place.path}/{CANCEL}": empty.name})
        if place.stage == OFFERED:
            with hands(self.directory(record)):
                record = offer(record.id, self.placed, self.store, way)
                place = record.place or place
        if place.handle:
            way.target.cancel([place.handle])
        return self.look_at(record)

    def forget(self, record: RunRecord) -> None:
        """Remove what an ended run has left on the nodes' side."""
        if record.place is not None and (record.place.stage != HOME or record.place.keeps):
            try:
                self.way(record).carrier.remove(record.place.path)
            except (Unavailable, Denied) as error:
                text = f"what run {record.id} left in {record.place.directory} stays there: {error.message}"
                self.listener(Event("warning", text, data={"run_id": record.id}))


def _nothing() -> IO[bytes]:
    import io

    return io.BytesIO()
