"""The job of a run: its process, its log, and what is found out about it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from wardian.errors import WardianError
from wardian.events import Event
from wardian.run.directory import OUTPUTS, RunDirectory
from wardian.run.inputs import changed_inputs
from wardian.run.log_file import LogFile
from wardian.run.record import RUNNING, OutputFile, RunRecord
from wardian.run.records import CancelAsked
from wardian.run.snapshot import new_and_changed
from wardian.run.targets.target import Job
from wardian.run.variables import job_variables
from wardian.run.verdict import left_over, verdict
from wardian.run.write_faults import WriteFaults
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.events import Listener
    from wardian.run.configuration import Command, Prepared
    from wardian.run.record import Results
    from wardian.run.records import RunStore
    from wardian.run.surroundings import Surroundings
    from wardian.run.targets.target import Stop, Target

LISTED = 1000  # of outputs, new and changed files; the counts are of all


class Taker(Protocol):
    """What a script's output is passed on to: a binary stream, as far as a run needs one."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""
        ...

    def flush(self) -> object:
        """Keep nothing back."""
        ...

    def fileno(self) -> int:
        """Return the descriptor, or raise OSError: there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What a run is carried out with: its records, its files, its surroundings, where it runs, and who listens."""

    store: RunStore
    runs_dir: Path
    surroundings: Surroundings
    target: Target
    stdout: Taker | None
    stderr: Taker | None
    listener: Listener


def run_job(
    record: RunRecord, command: Command, prepared: Prepared, variables: Mapping[str, str], means: Means, stop: Stop
) -> RunRecord:
    """Run the job of ``record`` in its prepared environment, and record how it ended.

    ``command`` is the record's, with the secrets among its arguments.

    Raises:   RunFailed: it could not be started for a reason that is not the script's.  DiskFull.
    """
    configuration, around = record.configuration, means.surroundings
    directory = RunDirectory.of(means.runs_dir, record.id)
    with disk_errors(directory.path):
        directory.outputs.mkdir(exist_ok=True)
        for name in configuration.outputs:
            (directory.outputs / name).mkdir(exist_ok=True)
    before = frozenset(path for path, _ in new_and_changed(directory.snapshot, frozenset(), 0)[0])
    faults = WriteFaults(prepared.read_only if prepared.prefix is None else (prepared.prefix, *prepared.read_only))
    watch = _Watch(record, means, faults, stop)
    job = Job(
        argv=command.argv(prepared.python),
        directory=directory.snapshot,
        variables=job_variables(record, prepared, directory.outputs, variables, around.environ),
        read_only=prepared.read_only,
        read_only_if_possible=tuple(configuration.inputs.values()),
        timeout_s=configuration.timeout_s,
        grace_s=around.grace_s,
        merged=_are_one(means.stdout, means.stderr),
        image=prepared.image,
        resources=configuration.resources,
        python=prepared.python,
        prefix=prepared.prefix,
        class_path=prepared.class_path,
    )
    means.listener(Event("phase", "running", data={"run_id": record.id}))
    try:
        ended = means.target.run(job, watch, stop)
    finally:
        watch.close()
    if not watch.was_running and stop.cause and ended.cause == "exited":
        ended = replace(ended, cause="stopped")  # asked to cancel as it started, it was faster than the signal
    notes = [*left_over(ended), *_changed(record), *watch.notes, *([faults.note] if faults.note else [])]
    results = _with_files(record.results, directory, before, watch.began_ns)
    results = replace(results, notes=(*record.results.notes, *notes))
    if ended.cause == "not_found" and command.runner:
        detail = f"`{command.runner[0]}`, which {command.name} is run by, was not found in the environment"
        ended = replace(ended, detail=detail)
    state, code, reason = verdict(ended, stop.cause, configuration.timeout_s)
    return means.store.end(
        record.id, state, code=code, reason=reason, exit_code=ended.exit_code, signal=ended.signal, results=results
    )


class _Watch:
    """Passes output on to the log and the caller's streams, and tells the record when the job starts."""

    def __init__(self, record: RunRecord, means: Means, faults: WriteFaults, stop: Stop) -> None:
        self._record = record
        self._store = means.store
        self.was_running = False
        self._streams: dict[int, Taker | None] = {1: means.stdout, 2: means.stderr}
        self._faults = faults
        self._stop = stop
        self._log = LogFile(RunDirectory.of(means.runs_dir, record.id).log)
        self.began_ns = self._log.began_ns
        self.notes: list[str] = []

    def started(self, _pid: int) -> None:
        try:
            self._store.advance(self._record.id, RUNNING, results=self._record.results)
            self.was_running = True
        except CancelAsked:
            self._stop.request("canceled")

    def output(self, stream: int, chunk: bytes) -> None:
        self._faults.look(stream, chunk)
        self._log.write(chunk)
        taker = self._streams[stream]
        if taker is not None:
            try:
                taker.write(chunk)
                taker.flush()
            except (OSError, ValueError) as error:  # the run goes on, the log is whole
                self._streams[stream] = None
                if not isinstance(error, BrokenPipeError):  # `wardian run … | head` is nothing to be told
                    name = {1: "stdout", 2: "stderr"}[stream]
                    self.notes.append(f"not all that it wrote could be passed on to {name} ({error}); log.txt has it")

    def tick(self) -> None:
        self._log.touch()
        try:
            if self._store.get(self._record.id).cancel_asked and not self._stop.cause:
                self._stop.request("canceled")  # by another machine, whose signals don't reach us
        except WardianError:  # the records are busy, or out of reach: next time
            return

    def close(self) -> None:
        self._log.close()
        if self._log.note:
            self.notes.append(self._log.note)


def _changed(record: RunRecord) -> list[str]:
    changed = changed_inputs(record.results.inputs, record.configuration.inputs)
    return [f"the input `{name}` changed while the run was on" for name in changed]


def _with_files(results: Results, directory: RunDirectory, before: frozenset[str], began_ns: int) -> Results:
    new, changed = new_and_changed(directory.snapshot, before, began_ns)
    inside = [(path, size) for path, size in new if path.startswith(f"{OUTPUTS}/")]
    outside = [path for path, _ in new if not path.startswith(f"{OUTPUTS}/")]
    return replace(
        results,
        outputs=tuple(OutputFile(path, size) for path, size in inside[:LISTED]),
        output_files=len(inside),
        output_bytes=sum(size for _, size in inside),
        new_files=tuple(outside[:LISTED]),
        changed_files=tuple(changed[:LISTED]),
    )


def _are_one(stdout: Taker | None, stderr: Taker | None) -> bool:
    """Whether both streams end in the same place, so that one pipe can keep their order."""
    if stdout is stderr:
        return True
    if stdout is None or stderr is None:
        return False
    try:
        return os.path.sameopenfile(stdout.fileno(), stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
