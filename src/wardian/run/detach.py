"""Runs in a supervisor process of their own: start one, wait for it, follow its log, cancel it."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

from wardian.errors import Conflict, RunFailed, WardianError
from wardian.events import silent
from wardian.run.directory import RunDirectory
from wardian.run.job import Means
from wardian.run.record import CANCELED, FAILED
from wardian.run.submit import HANDED_OVER, check, take_snapshot, target_named
from wardian.run.surroundings import Surroundings
from wardian.tools import processes
from wardian.tools.disk import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wardian.events import Listener
    from wardian.run.configuration import RunConfiguration
    from wardian.run.record import RunRecord
    from wardian.run.records import RunStore
    from wardian.run.targets.target import Target

PIECE_BYTES = 1 << 20
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.5


def submit_detached(
    configuration: RunConfiguration,
    store: RunStore,
    runs_dir: Path,
    supervisor: Callable[[str], Sequence[str]],
    *,
    surroundings: Surroundings | None = None,
    target: Target | None = None,
    listener: Listener = silent,
) -> RunRecord:
    """Record and snapshot ``configuration``, start its supervisor, and return the record, which is queued or further.

    The supervisor outlives this process, its terminal and ^C. ``supervisor`` gives the command that calls ``supervise`` with
    the run's id. It gets the variables of ``surroundings``, and the run's secrets among them: nowhere else are they kept.

    Raises:   WardianError: the run could not be started; ``details["run_id"]`` names the record, if there is one.
    """
    around = surroundings or Surroundings()
    means = Means(store, runs_dir, around, target or target_named(configuration.target), None, None, listener)
    tree, results, _ = check(configuration, means)
    record = store.add(configuration, supervisor=processes.identify(), results=results)
    try:
        results, digest = take_snapshot(record, tree, means.runs_dir)
        store.note(record.id, results, digest)
        directory = RunDirectory.of(runs_dir, record.id)
        pid = _start(
            supervisor(record.id), directory, {**around.environ, **configuration.secrets, **_secret_arguments(configuration)}
        )
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            store.end(record.id, CANCELED, code="interrupted", reason="interrupted before its supervisor was started")
        else:
            code = error.stable_code if isinstance(error, WardianError) else "bug"
            store.end(record.id, FAILED, code=code, reason=str(error))
        if isinstance(error, WardianError):
            error.details.setdefault("run_id", record.id)
        raise
    started = processes.identify(pid)
    try:
        if started is None:  # it has ended already
            return store.end(record.id, FAILED, code="supervisor_gone", reason=_last_words(directory))
        return store.hand_over(record.id, started)
    except Conflict:  # it is at work already, or has done all of it
        return store.get(record.id)


def cancel(run_id: str, store: RunStore) -> RunRecord:
    """Ask for the end of a run, from any process; return its record as it is now. It ends within seconds: see ``wait``.

    Raises:   Conflict: ``run_ended``.  NotFound.
    """
    record = store.ask_cancel(store.get(run_id).id)
    if record.supervisor is not None and record.takes_signals:
        processes.send(record.supervisor, signal.SIGTERM)
    return store.get(record.id)  # ends it, if nobody looks after it


def wait(run_id: str, store: RunStore, *, timeout_s: float | None = None) -> RunRecord:
    """Wait until the run has ended, at most ``timeout_s`` seconds; return its record, which says whether it has.

    Raises:   NotFound.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pause_s = _SHORTEST_PAUSE_S
    while True:
        record = store.get(run_id)
        left_s = _LONGEST_PAUSE_S if deadline is None else deadline - time.monotonic()
        if not record.is_active or left_s <= 0:
            return record
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S, left_s)
        if record.supervisor is None or record.supervisor.pid == os.getpid():
            time.sleep(pause_s)
        else:
            processes.wait_until_gone(record.supervisor, pause_s)


def follow(run_id: str, store: RunStore, runs_dir: Path) -> Iterator[bytes]:
    """Yield the log of a run piece by piece as it grows, from its beginning until the run has ended.

    Raises:   NotFound.
    """
    record = store.get(run_id)
    log = RunDirectory.of(runs_dir, record.id).log
    position = 0
    pause_s = _SHORTEST_PAUSE_S
    while True:
        record = store.get(record.id)  # before reading: what is there when a run has ended is all there will be
        while piece := _read(log, position):
            position += len(piece)
            pause_s = _SHORTEST_PAUSE_S
            yield piece
        if not record.is_active:
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def delete(run_id: str, store: RunStore, runs_dir: Path) -> None:
    """Delete the record and the files of a run that has ended.

    Raises:   Conflict: ``run_active``.  NotFound.
    """
    record = store.get(run_id)
    store.delete(record.id)
    remove_tree(RunDirectory.of(runs_dir, record.id).path, runs_dir / ".trash")


def _read(log: Path, position: int) -> bytes:
    try:
        with log.open("rb") as stream:
            stream.seek(position)
            return stream.read(PIECE_BYTES)
    except FileNotFoundError:  # it has not begun
        return b""


def _start(command: Sequence[str], directory: RunDirectory, environ: Mapping[str, str]) -> int:
    from wardian.tools.detached import NotStarted, start_detached

    try:
        return start_detached(command, directory.supervisor_log, environ)
    except NotStarted as error:
        raise RunFailed(f"the supervisor of the run could not be started: {error.message}", code="supervisor_failed") from error


def _secret_arguments(configuration: RunConfiguration) -> dict[str, str]:
    hidden = configuration.command.without_secrets().hidden
    return {HANDED_OVER: json.dumps({at: configuration.command.arguments[at] for at in hidden})} if hidden else {}


def _last_words(directory: RunDirectory) -> str:
    words = _read(directory.supervisor_log, 0).decode(errors="replace").strip().splitlines()
    return "the supervisor ended at once" + (f": {words[-1]}" if words else "")
