"""Hands a run over to an engine: record, snapshot, what the node needs, and then the engine, so that no crash makes two jobs or none."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import Denied, InvalidInput, NotFound, Unavailable, WardianError
from wardian.events import Event, Listener, silent
from wardian.run.configuration import Resources, RunEnvironment, perhaps_secret
from wardian.run.directory import RunDirectory
from wardian.run.inputs import in_run_directory, move_in, record_inputs
from wardian.run.node.sheet import INPUTS, LOCK, PACKAGES, RUNS, SECRETS, SHEET, SNAPSHOT, USES, Secrets, Sheet, uses_json
from wardian.run.place import OFFERED, Place
from wardian.run.placed import PlacedRuns
from wardian.run.record import FAILED, Results
from wardian.run.script import check_script
from wardian.run.signals import interruptible
from wardian.run.source_tree import Limits, scan
from wardian.run.submit import check_arguments, not_kept, take_snapshot, to_its_end
from wardian.run.surroundings import Surroundings
from wardian.run.targets.remote import Task
from wardian.run.variables import caller_variables, recorded
from wardian.tools.disk import FileLock
from wardian.tools.processes import identify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from wardian.run.configuration import RunConfiguration
    from wardian.run.record import InputRecord, RunRecord
    from wardian.run.records import RunStore
    from wardian.run.source_tree import SourceTree
    from wardian.run.targets.remote import Carrier, RemoteTarget

HANDS = "hands.lock"  # who holds it speaks to the engine about this run, and brings it home


@dataclass(frozen=True, slots=True)
class Needs:
    """What a node needs for a run, found and fetched where it is submitted.

    Attributes:
        environment: what the record says of it.
        lock: what is installed there, as JSON; None: nothing is.
        lock_digest: of it.
        link_scripts: the definition's policy.
        interpreter: of a user-managed environment.
        variables: the definition's.
        files: what lies below the node directory for all runs, path there → path here: archives and the agent. What is there stays.
        agent: program and first arguments of the agent, as nodes see it; the sheet's path follows.
        image: what it runs in, as engines pull it; None: on the node as it is.
        in_image: the environment lies in that image, put together by Wardian; ``interpreter`` is its.
        cache: of nodes; empty: in the node directory.
        pass_variables: names and patterns that the job gets of the node's own variables: what the engine gave it.
        may_restart: the engine may start it again.
        compiles: see ``Sheet.compiles``.
        own: what lies in the run's own directory, path there → path here, where nothing is shared between runs.
        inputs: NAME → path in the run's own directory, of those that are brought there.
        notes: what the reader of the record should know.
    """

    environment: RunEnvironment
    agent: tuple[str, ...]
    lock: str | None = None
    lock_digest: str | None = None
    link_scripts: str = "refuse"
    interpreter: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    image: str | None = None
    in_image: bool = False
    cache: str = ""
    pass_variables: tuple[str, ...] = ()
    may_restart: bool = False
    compiles: bool = False
    own: Mapping[str, Path] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """The way to an engine and its nodes, and what the record says of it.

    Attributes:
        complete: adds to a task what only the carrier knows: how its files come to it. ``is_sent``: False: nothing is contacted.
    """

    target: RemoteTarget
    carrier: Carrier
    kind: str
    options: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = False
    complete: Callable[..., Task] | None = None

    def completed(self, task: Task, *, is_sent: bool = True) -> Task:
        """Return the task as the engine is to have it."""
        return self.complete(task, is_sent=is_sent) if self.complete is not None else task


def hand_over(
    configuration: RunConfiguration,
    store: RunStore,
    runs_dir: Path,
    way: Way,
    needs: Callable[[RunRecord], Needs],
    *,
    surroundings: Surroundings | None = None,
    listener: Listener = silent,
    source: Path | None = None,
    carried: Mapping[str, Path] | None = None,
) -> RunRecord:
    """Record ``configuration``, bring what it needs to the nodes, and give it to the engine; return the record, which is queued.

    Whatever happens to this process or to the answer, the run is one job: see ``offer``. If the engine does not answer, the run stays
    queued, its record says so, and whoever looks at it next asks again.

    ``carried``, inputs of the configuration by name, are moved into the run's directory, and sent along with it.

    Raises:   WardianError: the run could not be handed over, and has ended as failed; ``details["run_id"]`` names the record.
    """
    around = surroundings or Surroundings()
    tree, results, variables = check_elsewhere(configuration, around, source)
    placed, root = PlacedRuns(store), way.carrier.root  # it may have to be asked for: not while others wait for the records
    with interruptible() as signals:
        record = store.add(
            configuration, supervisor=identify(), takes_signals=signals.takes_signals, results=results,
            placed=in_run_directory(runs_dir, carried or {}),
            place=lambda run_id: Place(way.kind, way.options, root, run_id, keeps=way.keeps),
        )  # fmt: skip

        directory = RunDirectory.of(runs_dir, record.id)

        def work() -> RunRecord:
            move_in(record, carried or {})
            taken, digest = take_snapshot(record, tree, runs_dir)
            store.note(record.id, taken, digest)
            listener(Event("phase", "preparing", data={"run_id": record.id}))
            found = needs(record)
            notes = (*taken.notes, *found.notes)
            store.note(record.id, replace(taken, environment=found.environment, notes=notes))
            has_secrets = send(way.carrier, record, configuration, found, variables, directory, around, carried or ())
            signals.from_now_to_the_job()
            place = store.existing(record.id).place
            assert place is not None  # noqa: S101 - it was added with one
            task = way.completed(task_of(place, configuration, found, has_secrets=has_secrets))
            with placed.database.write():  # from here on the engine may have it, and nothing but the engine's word ends it
                if signals.stop.cause:
                    store.ask_cancel(record.id)
                return placed.put(record.id, place.offered(task), supervised=False)

        with hands(directory):
            try:
                to_its_end(record, store, signals, work)
                return offer(record.id, placed, store, way, is_first=True)
            except BaseException:
                if not store.existing(record.id).is_active:  # what it was given is of no use there
                    with contextlib.suppress(WardianError):
                        way.carrier.remove(Place(way.kind, {}, "", record.id).path)
                raise


def offer(run_id: str, placed: PlacedRuns, store: RunStore, way: Way, *, is_first: bool = False) -> RunRecord:
    """Give an offered run to the engine, and record its answer; return the record.

    Once its place says ``offered``, the engine is asked for the run by its key before a job is made, so this may be done again after a
    crash at any point. Whoever does it holds the run's hands. The two moments at which nothing is known are before the first question
    (then it is made) and after it (then it is found).

    Args:     is_first: nobody has tried before. Else an engine that does not let the caller in (a token that has expired), or whose part for
                  the run is gone (a namespace), says nothing of the run: an earlier try may have been taken.
    Raises:   WardianError: the engine refuses it for good: the run has failed.
    """
    record = store.existing(run_id)
    place = record.place
    if place is None or place.stage != OFFERED or place.task is None or not record.is_active:
        return record
    try:
        handle = way.target.submit(place.task)
    except Unavailable as error:
        placed.say(run_id, error.message)
        return store.existing(run_id)
    except (InvalidInput, Denied, NotFound) as error:
        if not isinstance(error, InvalidInput) and not is_first:
            placed.say(run_id, error.message)
            return store.existing(run_id)
        store.end(run_id, FAILED, code=error.stable_code, reason=error.message)
        error.details.setdefault("run_id", run_id)
        raise
    placed.say(run_id, "")
    return placed.put(run_id, place.taken(handle), supervised=False)


@contextlib.contextmanager
def hands(directory: RunDirectory, *, wait: bool = True) -> Iterator[bool]:
    """Hold a run's hands: speak to the engine about it, or bring it home, while nobody else does.

    Yield whether they are held: False: somebody else holds them, and ``wait`` is False; or the run's directory is gone.
    """
    lock = FileLock(directory.path / HANDS)
    if wait:
        lock.acquire()
    elif not directory.path.is_dir() or not lock.try_acquire():
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def check_elsewhere(
    configuration: RunConfiguration, around: Surroundings, source: Path | None
) -> tuple[SourceTree | None, Results, dict[str, str]]:
    """Check all that can be known here of a run elsewhere; return as ``wardian.run.submit.check``.

    An input that is not here may be on the nodes: the record says that nobody looked.
    """
    command = configuration.command
    check_arguments(command)
    variables = caller_variables(configuration, around.pass_variables, around.environ)
    tree = None
    if configuration.source is not None:
        limits = Limits(around.limit_bytes, around.limit_files)
        tree = scan(source or configuration.source, limits, leave_out=around.leave_out, home=around.home)
    check_script(command, tree)
    notes = list(not_kept(command))
    inputs: dict[str, InputRecord] = {}
    for name, path in configuration.inputs.items():
        try:
            inputs |= record_inputs({name: path}, digest=configuration.digest_inputs)
        except NotFound:
            notes.append(f"the input `{name}` is not on this machine: {path} is taken for a path of the nodes")
    return tree, Results(variables=recorded(variables), inputs=inputs, notes=tuple(notes)), variables


def send(
    carrier: Carrier, record: RunRecord, configuration: RunConfiguration, needs: Needs, variables: Mapping[str, str], directory: RunDirectory,
    around: Surroundings, carried: Collection[str] = (),
) -> bool:  # fmt: skip
    """Bring archives, agent and the run's own files to the nodes; the sheet comes last. Return whether there are secrets among them.

    Args:     carried: the inputs that lie in the run's directory, and come along.
    """
    place = Place("", {}, carrier.root, record.id).path
    present = carrier.have(sorted(needs.files))
    inputs = {name: Path(carrier.root, place, INPUTS, name) for name in carried}
    there = replace(configuration, inputs={**configuration.inputs, **inputs})
    sheet, secrets = sheet_of(record.id, there, needs, variables, around)
    with tempfile.TemporaryDirectory(prefix=".handover-", dir=directory.path) as scratch:

        def written(name: str, content: bytes) -> str:
            path = Path(scratch, name)
            path.touch(0o600)
            path.write_bytes(content)
            return str(path)

        root = f"{carrier.root.rstrip('/')}/"
        image = [needs.image.removeprefix(root)] if needs.image and needs.image.startswith(root) else []
        uses = {f"{place}/{USES}": written(USES, uses_json([*needs.files, *image]))}
        if missing := {path: str(here) for path, here in needs.files.items() if path not in present}:
            carrier.send(uses)  # it may take long: whoever cleans there meanwhile is to know
            carrier.send(missing)
        own = {
            **uses,
            f"{place}/{SNAPSHOT}": str(directory.snapshot),
            **{f"{place}/{INPUTS}/{name}": str(directory.inputs / name) for name in carried},
            **{f"{place}/{path}": str(here) for path, here in needs.own.items()},
        }
        if needs.lock is not None:
            own[f"{place}/{LOCK}"] = written(LOCK, needs.lock.encode())
        if has_secrets := bool(secrets.variables or secrets.arguments):
            carrier.send({f"{place}/{SECRETS}": written(SECRETS, secrets.to_json())}, private=True)
        carrier.send({**own, f"{place}/{SHEET}": written(SHEET, sheet.to_json())})
    return has_secrets


def sheet_of(
    run_id: str, configuration: RunConfiguration, needs: Needs, variables: Mapping[str, str], around: Surroundings
) -> tuple[Sheet, Secrets]:
    """Return the sheet of a run, and the secrets that are not on it."""
    command = configuration.command
    safe = command.without_secrets()
    hidden = {name: value for name, value in variables.items() if perhaps_secret(name, value)}
    sheet = Sheet(
        run_id=run_id, command=safe, lock_digest=needs.lock_digest, link_scripts=needs.link_scripts, interpreter=needs.interpreter,
        environment_variables=needs.variables, variables={name: value for name, value in variables.items() if name not in hidden},
        inputs={name: needs.inputs.get(name) or str(path) for name, path in configuration.inputs.items()}, outputs=configuration.outputs,
        experiment=configuration.experiment, timeout_s=configuration.timeout_s, grace_s=around.grace_s, resources=configuration.resources,
        packages=(f"{RUNS}/{run_id}/{PACKAGES}" if needs.own else PACKAGES,), cache=needs.cache, pass_variables=needs.pass_variables, may_restart=needs.may_restart,
        in_image=needs.in_image, compiles=needs.compiles,
    )  # fmt: skip
    return sheet, Secrets(hidden, {position: command.arguments[position] for position in safe.hidden})


def task_of(place: Place, configuration: RunConfiguration, needs: Needs, *, has_secrets: bool = False) -> Task:
    """Return what the engine is given: the agent, and where the sheet lies. No secret is in it."""
    resources = configuration.resources
    return Task(
        key=place.key, argv=(*needs.agent, f"{place.directory}/{SHEET}"), directory=place.directory,
        resources=Resources(resources.cpus, resources.memory_bytes, resources.gpus, resources.nodes), time_s=configuration.timeout_s,
        options=dict(place.options), image=needs.image, has_secrets=has_secrets,
    )  # fmt: skip


def preview(
    run_id: str, configuration: RunConfiguration, needs: Needs, variables: Mapping[str, str], around: Surroundings
) -> str:
    """Return the sheet that the nodes would get, as JSON: its secrets are not on it."""
    sheet, _ = sheet_of(run_id, configuration, needs, variables, around)
    return json.dumps(json.loads(sheet.to_json()), indent=1, sort_keys=True)
