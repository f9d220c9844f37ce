"""Runs a run: record, snapshot, environment, job, results. In this process, or in a supervisor of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput, NotFound, WardianError
from wardian.events import Event, Listener, silent
from wardian.run.argument_secrets import named
from wardian.run.configuration import Prepared
from wardian.run.directory import RunDirectory
from wardian.run.inputs import in_run_directory, move_in, record_inputs
from wardian.run.job import Means, Taker, run_job
from wardian.run.record import CANCELED, FAILED, PREPARING, Results, RunRecord
from wardian.run.records import CancelAsked
from wardian.run.script import check_script
from wardian.run.signals import interruptible
from wardian.run.snapshot import copy
from wardian.run.source_tree import Limits, SourceTree, scan
from wardian.run.surroundings import Surroundings
from wardian.run.targets.local import LocalTarget
from wardian.run.variables import caller_variables, recorded
from wardian.tools.disk import disk_errors
from wardian.tools.processes import identify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.digest import Digest
    from wardian.run.configuration import Command, RunConfiguration
    from wardian.run.records import RunStore
    from wardian.run.signals import Interruptible
    from wardian.run.targets.target import Target

HANDED_OVER = "_WARDIAN_ARGUMENTS"  # the variable of a supervisor that holds the secrets among its run's arguments, by position
Prepare = Callable[[RunRecord, Listener], Prepared]


def submit(
    configuration: RunConfiguration,
    store: RunStore,
    runs_dir: Path,
    prepare: Prepare,
    *,
    surroundings: Surroundings | None = None,
    target: Target | None = None,
    stdout: Taker | None = None,
    stderr: Taker | None = None,
    listener: Listener = silent,
    source: Path | None = None,
    carried: Mapping[str, Path] | None = None,
) -> RunRecord:
    """Run ``configuration`` to its end, and return its record.

    Whatever the script does is no exception: the record says how it ended. ^C, SIGTERM and SIGHUP end the run as
    ``canceled``. If this process is killed, so is the script, and the record says so when it is read next.

    ``prepare`` makes the environment ready, in the state ``preparing``. ``stdout`` and ``stderr`` get what the script writes,
    as it comes; the log gets both in any case. The same object for both keeps their order. ``source`` is copied instead of the
    configuration's source directory, which the record names: one that was put back to what it was. ``carried``, inputs of the
    configuration by name, are moved into the run's directory, and are its own from then on.

    Raises:   WardianError: the run could not be started; ``details["run_id"]`` names the record, if there is one.
    """
    means = Means(
        store, runs_dir, surroundings or Surroundings(), target or target_named(configuration.target), stdout, stderr, listener
    )
    tree, results, variables = check(configuration, means, source)
    with interruptible() as signals:
        placed = in_run_directory(means.runs_dir, carried or {})
        record = store.add(
            configuration, supervisor=identify(), takes_signals=signals.takes_signals, results=results, placed=placed
        )

        def work() -> RunRecord:
            move_in(record, carried or {})
            results, digest = take_snapshot(record, tree, means.runs_dir)
            preparing = store.advance(record.id, PREPARING, results=results, snapshot_digest=digest)
            return _carry_out(preparing, configuration.command, variables, prepare, means, signals)

        return to_its_end(record, store, signals, work)


def supervise(
    run_id: str,
    store: RunStore,
    runs_dir: Path,
    prepare: Prepare,
    *,
    surroundings: Surroundings | None = None,
    target: Target | None = None,
    listener: Listener = silent,
) -> RunRecord:
    """Run the queued run ``run_id``, whose snapshot is taken, to its end; what a supervisor process does.

    The secrets among its arguments come through ``HANDED_OVER`` of the surroundings' variables, which the job does not get.

    Raises:   WardianError: as ``submit``; ``Conflict``: it is not queued.
    """
    place = target or target_named(store.get(run_id).configuration.target, standard_input=False)
    around = surroundings or Surroundings()
    handed_over = json.loads(around.environ.get(HANDED_OVER, "{}"))
    around = replace(around, environ={name: value for name, value in around.environ.items() if name != HANDED_OVER})
    means = Means(store, runs_dir, around, place, None, None, listener)
    with interruptible() as signals:
        record = store.hand_over(run_id, identify(), takes_signals=signals.takes_signals)

        def work() -> RunRecord:
            preparing = store.advance(record.id, PREPARING)
            variables = caller_variables(record.configuration, around.pass_variables, around.environ)
            command = record.configuration.command
            arguments = (handed_over.get(str(position), text) for position, text in enumerate(command.arguments))
            return _carry_out(preparing, replace(command, arguments=tuple(arguments)), variables, prepare, means, signals)

        return to_its_end(record, store, signals, work)


def target_named(name: str, *, standard_input: bool = True) -> Target:
    """Return the target called ``name``.

    Raises:   NotFound: ``target_not_found``.
    """
    if name != LocalTarget.name:
        raise NotFound(f"there is no target `{name}`", hint="leave `-t` out to run on this machine", code="target_not_found")
    return LocalTarget(standard_input=standard_input)


def check(
    configuration: RunConfiguration, means: Means, source: Path | None = None
) -> tuple[SourceTree | None, Results, dict[str, str]]:
    """Check all that can be known before a run is recorded.

    Returns what is to be copied, what there is to record already, and the run's variables, secrets included.

    Raises:   WardianError: a script, an input or a variable is missing, the source directory is too large …
    """
    around = means.surroundings
    command = configuration.command
    check_arguments(command)
    variables = caller_variables(configuration, around.pass_variables, around.environ)
    means.target.check(configuration.resources)
    tree = None
    if configuration.source is not None:
        limits = Limits(around.limit_bytes, around.limit_files)
        tree = scan(source or configuration.source, limits, leave_out=around.leave_out, home=around.home)
    check_script(command, tree)
    inputs = record_inputs(configuration.inputs, digest=configuration.digest_inputs)
    return tree, Results(variables=recorded(variables), inputs=inputs, notes=not_kept(command)), variables


def check_arguments(command: Command) -> None:
    """Check that no argument of ``command`` is missing because it was a secret.

    Raises:   InvalidInput: ``arguments_not_kept``.
    """
    if command.hidden:
        raise InvalidInput(f"these arguments had secrets, which are not kept: {named(command.arguments, command.hidden)}",
                           hint="give all arguments, the secrets among them", code="arguments_not_kept")  # fmt: skip


def not_kept(command: Command) -> tuple[str, ...]:
    """Return what the reader of the record should know of arguments that look like secrets."""
    safe = command.without_secrets()
    if not safe.hidden:
        return ()
    words = named(safe.arguments, safe.hidden)
    note = (
        f"these arguments look like secrets and are not kept, so a reproduction needs them again: {words}; everybody on this machine"
        " sees arguments while a run is on, but not variables: `-V NAME` passes one of yours on"
    )
    return (note,)


def take_snapshot(record: RunRecord, tree: SourceTree | None, runs_dir: Path) -> tuple[Results, Digest]:
    """Copy ``tree`` into the run's directory; return what to record of it."""
    directory = RunDirectory.of(runs_dir, record.id)
    taken = copy(tree or SourceTree(directory.path, (), ()), directory.snapshot)
    with disk_errors(directory.path):
        directory.snapshot_list.write_text(json.dumps(taken.as_document(), separators=(",", ":")))
    files = len(taken.entries)
    return replace(
        record.results, snapshot_files=files, snapshot_bytes=taken.size_bytes, notes=(*record.results.notes, *taken.notes)
    ), taken.digest


def _carry_out(
    record: RunRecord, command: Command, variables: Mapping[str, str], prepare: Prepare, means: Means, signals: Interruptible
) -> RunRecord:
    means.listener(Event("phase", "preparing", data={"run_id": record.id}))
    prepared = prepare(record, means.listener)
    with prepared.hold:
        results = replace(record.results, environment=prepared.environment, notes=(*record.results.notes, *prepared.notes))
        signals.from_now_to_the_job()
        return run_job(replace(record, results=results), command, prepared, variables, means, signals.stop)


def to_its_end(record: RunRecord, store: RunStore, signals: Interruptible, work: Callable[[], RunRecord]) -> RunRecord:
    """Return what ``work`` does; see to it that a run which does not get as far as its job ends in its record."""
    try:
        return work()
    except BaseException as error:
        signals.from_now_to_the_job()  # a second ^C does not come between the run and its record
        cause = signals.stop.cause
        if isinstance(error, CancelAsked) or (isinstance(error, KeyboardInterrupt) and cause):
            code = cause or CANCELED
            return store.end(record.id, CANCELED, code=code, reason=f"{code} before its script was started")
        if isinstance(error, WardianError):
            if error.stable_code != "illegal_state_change":  # else another supervisor has it
                store.end(record.id, FAILED, code=error.stable_code, reason=error.message)
                error.details.setdefault("run_id", record.id)
        else:
            store.end(record.id, FAILED, code="bug", reason=f"{type(error).__name__}: {error}")
        raise
