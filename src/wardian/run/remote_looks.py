"""Runs that engines have: asked after and brought home by whoever looks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from wardian.errors import Denied, InvalidInput, NotFound, Unavailable, WardianError
from wardian.events import Event, Listener, silent
from wardian.run.directory import RunDirectory
from wardian.run.handover import hands, offer
from wardian.run.homecoming import bring_files, bring_log, last_words, settle_log, with_files
from wardian.run.node.sheet import ENDED, ENGINE_LOG, STATUS, NodeEnd, NodeStatus
from wardian.run.place import HOME, OFFERED, TAKEN
from wardian.run.placed import PlacedRuns
from wardian.run.reconciling import is_doubtful, progress_of, verdict_of, waiting_words
from wardian.run.record import RUNNING
from wardian.run.targets import remote
from wardian.run.targets.remote import is_tampered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardian.run.handover import Way
    from wardian.run.place import Place
    from wardian.run.reconciling import Verdict
    from wardian.run.record import Results, RunRecord
    from wardian.run.records import RunStore
    from wardian.run.targets.remote import Standing

T = TypeVar("T")
_SMALL_BYTES = 16 << 20


class RemoteLooks:
    """Looks after the runs of a workspace that engines have.

    Args:     reach: the way to where a run is, by its record.
    """

    def __init__(self, store: RunStore, runs_dir: Path, reach: Callable[[RunRecord], Way], listener: Listener = silent) -> None:
        self.store = store
        self.placed = PlacedRuns(store)
        self._runs_dir = runs_dir
        self._reach = reach
        self.listener = listener
        self._ways: dict[tuple[object, ...], Way] = {}
        self._silent: set[tuple[str, str]] = set()
        self._told: set[str] = set()

    def get(self, run_id: str) -> RunRecord:
        """Return a record as it is written."""
        return self.store.existing(run_id)

    # -- looking -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Bring the records of all active runs up to date: one question for each target, however many runs it has.

        What they left stays there until somebody looks at one of them. A target that cannot be asked leaves its runs as they are.
        """
        for _, group in itertools.groupby(
            self.placed.active(), key=lambda record: (record.configuration.target, _road(record))
        ):
            self._look_at(list(group))

    def look_at(self, record: RunRecord) -> RunRecord:
        """Bring one record up to date, and what its run left home if it has ended; return it as it is then."""
        if self.store.database.read_only:
            return record
        if record.is_active and record.supervisor is None:
            self._look_at([record])
            record = self.store.existing(record.id)
        return self.bring_home(record)

    def peek(self, record: RunRecord) -> RunRecord:
        """Bring one record up to date by its node's word alone: the engine is not asked."""
        place = record.place
        if place is not None and record.is_active and place.stage == TAKEN:
            try:
                self._note(record, place, self.way(record), None)
            except (Unavailable, Denied):
                return record
            record = self.store.existing(record.id)
        return record

    def _look_at(self, records: Sequence[RunRecord]) -> None:
        try:
            way = self.way(records[0])
            offered = self._offer_again([one for one in records if _stage(one) == OFFERED], way)
            taken = [*(one for one in records if _stage(one) == TAKEN), *(one for one in offered if _stage(one) == TAKEN)]
            if not taken:
                return
            standings = way.target.standings([one.place.handle for one in taken if one.place])
            unheard = [
                one.place.handle
                for one in taken
                if one.place and one.cancel_asked and standings[one.place.handle].state == remote.WAITING
            ]
            if unheard:  # the engine did not answer when somebody wished it
                way.target.cancel(unheard)
            doubtful = [one for one in taken if one.place and standings[one.place.handle].state != remote.WAITING]
            ended = self._there(way, [f"{one.place.path}/{ENDED}" for one in doubtful if one.place])
            for one in taken:
                place = one.place
                assert place is not None  # noqa: S101 - its stage says so
                standing = standings[place.handle]
                has_ended = f"{place.path}/{ENDED}" in ended
                if (
                    has_ended
                    or standing.state in (remote.ENDED, remote.UNKNOWN)
                    or (standing.state == remote.RUNNING and one.state != RUNNING)
                ):
                    self._note(one, place, way, standing)
                elif standing.state == remote.SILENT:
                    self._silence([one], standing.reason, "engine_unavailable", standing.node)
                else:
                    self.placed.say(one.id, waiting_words(one, standing))
        except (
            Unavailable,
            Denied,
            NotFound,
            InvalidInput,
        ) as error:  # the last two: the kind or the options are of another Wardian
            self._silence(records, error.message, error.stable_code)

    def _there(self, way: Way, paths: Sequence[str]) -> set[str]:
        """Return which of ``paths`` are there. One run that made its directory something else is nobody's matter but its own."""
        try:
            return way.carrier.have(paths)
        except InvalidInput as error:
            if not is_tampered(error):
                raise
            if len(paths) == 1:
                self._tell(paths[0], error)
                return set()
        return {path for one in paths for path in self._there(way, [one])}

    def _silence(self, records: Sequence[RunRecord], why: str, code: str, node: str = "") -> None:
        """Say that runs are shown as they were: in their records, and once aloud."""
        target = records[0].configuration.target
        words = f"`{target}` cannot be asked: {why}"
        for one in records:
            self.placed.say(one.id, words)
        if (target, node) not in self._silent:
            self._silent.add((target, node))
            self.listener(Event("warning", f"{words}; its runs are shown as they were", data={"target": target, "code": code}))

    def _offer_again(self, records: Sequence[RunRecord], way: Way) -> list[RunRecord]:
        """Finish what a process began that was killed, or that got no answer; return the records as they are then."""
        found = []
        for record in records:
            with hands(self.directory(record), wait=False) as held:
                if not held:  # whoever holds them is at it
                    continue
                try:
                    offered = offer(record.id, self.placed, self.store, way)
                except WardianError as error:
                    self.listener(Event("warning", f"run {record.id} was refused: {error.message}", data={"run_id": record.id}))
                    continue
                if offered.cancel_asked and offered.place and offered.place.handle:
                    way.target.cancel([offered.place.handle])
                found.append(offered)
        return found

    def _note(self, record: RunRecord, place: Place, way: Way, standing: Standing | None) -> None:
        """Write down what is known of one run; its end, if it has ended."""
        end = self._read(way, f"{place.path}/{ENDED}", NodeEnd.from_json)
        if standing is None and end is not None and is_doubtful(record, end):
            standing = way.target.standings([place.handle])[place.handle]
        words = ""
        if end is None and standing is not None and standing.state in (remote.ENDED, remote.UNKNOWN):
            words = last_words(way.carrier, f"{place.path}/{ENGINE_LOG}")
        verdict = verdict_of(record, standing, end, words)
        if verdict is None:
            status = self._read(way, f"{place.path}/{STATUS}", NodeStatus.from_json)
            state, since = progress_of(record, standing, status)
            if state:
                self.placed.advance(record.id, state, since)
            if standing is not None:
                self.placed.say(record.id, waiting_words(record, standing))
            return
        node = (end.node if end else "") or (standing.node if standing else "")
        self._end(record, replace(place, node=node[:200]), verdict, end)

    def _end(self, record: RunRecord, place: Place, verdict: Verdict, end: NodeEnd | None) -> None:
        self.placed.end(
            record.id, verdict.state, code=verdict.code, reason=verdict.reason, exit_code=verdict.exit_code, signal=verdict.signal,
            results=_results(record, place, end), began=end.began if end else None, ended=end.ended if end else None, place=place,
        )  # fmt: skip

    def _read(self, way: Way, path: str, parse: Callable[[bytes], T]) -> T | None:
        try:
            text = way.carrier.read(path, 0, _SMALL_BYTES)
        except WardianError as error:
            if not is_tampered(error):
                raise
            self._tell(path, error)
            return None
        if not text:
            return None
        try:
            return parse(text)
        except InvalidInput as error:  # it is being written; or the node's disk is full, or worse
            self._tell(path, error)
            return None

    def _tell(self, path: str, error: WardianError) -> None:
        """Tell once that something else is where a run's word should be."""
        if path not in self._told:
            self._told.add(path)
            self.listener(Event("warning", f"{path} on the nodes' side: {error.message}"))

    # -- bringing home -------------------------------------------------------------------------------------------------

    def bring_home(self, record: RunRecord, *, wait: bool = True) -> RunRecord:
        """Bring log and files of an ended run home, and remove its directory there; return the record with what it left.

        Idempotent, and safe across processes. If it cannot be done now, the next look does it.
        """
        place = record.place
        if place is None or record.is_active or place.stage == HOME:
            return record
        with hands(self.directory(record), wait=wait) as held:
            record = self.store.existing(record.id)
            place = record.place
            if not held or place is None or place.stage == HOME:
                return record
            try:
                return self._brought(record, place)
            except (Unavailable, Denied, InvalidInput) as error:
                text = f"what run {record.id} left cannot be brought home: {error.message}; the next look tries again"
                self.listener(Event("warning", text, data={"run_id": record.id}))
                return record

    def _brought(self, record: RunRecord, place: Place) -> RunRecord:
        directory, results = self.directory(record), record.results
        if place.stage == TAKEN:
            way = self.way(record)
            for rank in range(record.configuration.resources.nodes or 1):
                try:
                    bring_log(way.carrier, place, directory, rank)
                    if getattr(way.carrier, "log_is_a_view", False):
                        settle_log(way.carrier, place, directory, rank)
                except WardianError as error:
                    if not is_tampered(error):
                        raise
                    results = replace(results, notes=(*results.notes, f"the rest of its log is not here: {error.message}"))
            results = bring_files(way.carrier, place, directory, results, ran=record.running is not None)
        else:
            results = with_files(results, directory)
        record = self.placed.came_home(record.id, results, replace(place, stage=HOME, task=None))
        if not place.keeps:
            self.way(record).carrier.remove(place.path)
        return record

    def directory(self, record: RunRecord) -> RunDirectory:
        """Return where the files of a run lie here."""
        return RunDirectory.of(self._runs_dir, record.id)

    def way(self, record: RunRecord) -> Way:
        """Return the way to where a run is."""
        key = _road(record)
        if key not in self._ways:
            self._ways[key] = self._reach(record)
        return self._ways[key]


def _road(record: RunRecord) -> tuple[object, ...]:
    """Return what the way to a run depends on; two with the same are reached in the same way."""
    place = record.place
    return (place.kind, place.root, tuple(sorted(place.options.items()))) if place else ()


def _stage(record: RunRecord) -> str:
    return record.place.stage if record.place else ""


def _results(record: RunRecord, place: Place, end: NodeEnd | None) -> Results:
    if end is None:
        return record.results
    made_with = record.results.environment
    parts = [made_with.summary.split(" · ")[0], *([end.prepared] if end.prepared else [])]
    environment = replace(
        made_with, prefix_key=end.prefix_key or made_with.prefix_key, observed=end.observed or made_with.observed,
        summary=" · ".join(part for part in (*parts, place.node) if part),
    )  # fmt: skip
    notes = [*record.results.notes, *(str(note)[:1000] for note in end.notes[:50])]
    if end.attempt > 1:
        notes.append(f"the engine started it {end.attempt} times")
    return replace(record.results, environment=environment, notes=tuple(notes))
