"""Runs: submitted, watched, found again."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, NotFound, Unavailable
from wardian.run.script import with_runner
from wardian.sdk.run_targets import choose_target, is_remote, prepare_for, usual_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from os import PathLike

    from wardian.bootstrap import Parts
    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.lock import Lock
    from wardian.run.configuration import Prepared, RunConfiguration
    from wardian.run.job import Taker
    from wardian.run.record import RunRecord
    from wardian.run.targets.target import Target
    from wardian.sdk.elsewhere import Elsewhere
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.jobs import Beside
    from wardian.sdk.models import Model, ModelCollection
    from wardian.workspace.page import Page
    from wardian.workspace.version import EnvironmentVersion


class Run:
    """A run, as its workspace knows it. ``record`` is read anew by ``refresh``, ``wait`` and ``status``."""

    def __init__(self, collection: RunCollection, record: RunRecord):
        self._collection = collection
        self.record = record

    @property
    def id(self) -> str:
        """Its id; sorts in the order of submission."""
        return self.record.id

    def refresh(self) -> Run:
        """Read the record anew."""
        self.record = self._collection.get(self.id).record
        return self

    @property
    def status(self) -> str:
        """``queued``, ``preparing``, ``running``, ``completed``, ``failed`` or ``canceled``, as of now."""
        return self.refresh().record.state

    @property
    def environment(self) -> EnvironmentVersion | None:
        """The exact version that it ran with."""
        version_id = self.record.environment.version_id
        return self._collection.environments.by_id(version_id) if version_id is not None else None

    @property
    def lock(self) -> Lock | None:
        """The lock that it ran with; None for a user-managed environment, or before one was found."""
        digest = self.record.environment.lock_digest
        return self._collection.find_lock(digest, self.record.environment.definition_hash) if digest else None

    @property
    def directory(self) -> Path:
        """Where its files lie."""
        return self._collection.directory(self.id)

    @property
    def output_directory(self) -> Path:
        """Where its outputs lie."""
        return self.directory / "snapshot" / "outputs"

    def log_file(self) -> Path:
        """Return the file of what it wrote so far, both streams: brought here, if it runs elsewhere. There may be none yet."""
        self._collection.fetch_log(self.record)
        return self.directory / "log.txt"

    def log(self) -> str:
        """Return what it wrote so far, both streams; bytes that are no UTF-8 are replaced."""
        path = self.log_file()
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""

    def follow(self) -> Iterator[bytes]:
        """Yield what it writes as it comes, from the beginning, until it has ended."""
        return self._collection.follow(self.id)

    def wait(self, timeout_s: float | None = None, *, check: bool = False) -> Run:
        """Wait until it has ended.

        Args:     timeout_s: seconds; None: as long as it takes.  check: raise unless it completed.
        Raises:   Unavailable: ``timeout_s`` passed.  RunFailed: with ``check``, it failed or was canceled.
        """
        self.record = self._collection.wait(self.id, timeout_s)
        if check and self.record.state != "completed":
            from wardian.errors import RunFailed

            raise RunFailed(f"run `{self.id}` {self.record.state}: {self.record.reason}", hint=f"`wardian runs logs {self.id}`")
        return self

    def cancel(self) -> Run:
        """Ask it to stop, and wait until it has."""
        self.record = self._collection.cancel(self.id)
        return self

    @property
    def models(self) -> Sequence[Model]:
        """The models that were registered from it, the newest first."""
        return self._collection.models.of_run(self.id)

    def register_model(
        self, name: str, path: str | PathLike[str], *, version: str | None = None, description: str = "", tags: Mapping[str, str] | None = None
    ) -> Model:  # fmt: skip
        """Register what it left as a model; see ``ModelCollection.register``.

        Args:     path: below its outputs.
        """
        return self._collection.models.register(path, name, run=self, version=version, description=description, tags=tags)

    def __repr__(self) -> str:
        return f"Run({self.id!r}, {self.record.state})"


class RunCollection:
    """The runs of a workspace."""

    def __init__(self, parts: Parts, environments: EnvironmentCollection):
        self._parts = parts
        self.environments = environments

    @property
    def models(self) -> ModelCollection:
        """The models of the workspace."""
        from wardian.sdk.models import ModelCollection

        return ModelCollection(self._parts, self.environments)

    @property
    def root(self) -> Path:
        """The directory of all runs."""
        return self._parts.directory / "runs"

    def directory(self, run_id: str) -> Path:
        """Return the directory of one run."""
        return self.root / run_id

    def submit(
        self, version: EnvironmentVersion, configuration: RunConfiguration, *, detach: bool = True, stdout: Taker | None = None,
        stderr: Taker | None = None, on_prepared: Callable[[str], None] | None = None, source: Path | None = None,
        carried: Mapping[str, Path] | None = None,
    ) -> Run:  # fmt: skip
        """Run ``configuration`` in ``version``; return at once, or when it has ended.

        Args:     stdout, stderr: get what the script writes, if it runs within this call.
                  on_prepared: told in one line what it runs with, before it starts.
                  source: copied instead of the configuration's source directory, if it runs within this call.
                  carried: inputs that are moved into the run's directory, below the same file system, if it runs within this call.
        Raises:   see ``Workspace.submit``.
        """
        elsewhere = is_remote(self._parts, configuration)
        target = None if elsewhere else self._target(configuration)
        command = with_runner(configuration.command, source or configuration.source)
        configuration = replace(configuration, environment=str(version), command=command)
        if elsewhere:
            return Run(self, self._elsewhere.run(version, configuration, detach=detach, stdout=stdout, on_prepared=on_prepared, source=source,
                                                 carried=carried or {}))  # fmt: skip
        if detach:
            return self._detached(version, configuration)
        from wardian.run.submit import submit

        def ready(_record: RunRecord, _listener: Listener) -> Prepared:
            prepared = self._prepared(version, configuration)
            if on_prepared is not None:
                on_prepared(prepared.environment.summary)
            return prepared

        record = submit(configuration, self._parts.runs, self.root, ready, surroundings=self._parts.surroundings, stdout=stdout, stderr=stderr,
                        listener=self._parts.listener, source=source, carried=carried, target=target)  # fmt: skip
        return Run(self, record)

    def from_file(self, path: Path, beside: Beside | None = None) -> tuple[EnvironmentVersion, RunConfiguration]:
        """Return version and configuration of the run that the file of another tool states, for ``submit``: see ``wardian.sdk.jobs``.

        Args:     path: a command job of Azure ML, or a run configuration.  beside: what goes before the file.
        Raises:   InvalidDefinition: all faults of the file.  NotFound: it names an environment that is not here.
        """
        from wardian.sdk.jobs import Beside, plan

        return plan(self._parts, self.environments, self, path, beside or Beside())

    def usual_target(self, version: EnvironmentVersion) -> str:
        """Return where a version runs if nobody says: see ``wardian.sdk.run_targets``."""
        return usual_target(self._parts, version)

    @cached_property
    def _elsewhere(self) -> Elsewhere:
        from wardian.sdk.elsewhere import Elsewhere

        return Elsewhere(self._parts, self.root)

    def preview(self, version: EnvironmentVersion, configuration: RunConfiguration) -> Sequence[str]:
        """Return what would be handed over to the engine of a remote target, line by line; no job is made.

        Raises:   InvalidInput: ``nothing_handed_over``: the target runs jobs itself.  What ``submit`` raises before it submits.
        """
        if not is_remote(self._parts, configuration):
            raise InvalidInput(f"nothing is handed over to the target `{configuration.target}`: it runs jobs itself", code="nothing_handed_over",
                               hint="`--dry-run` is for targets such as Slurm")  # fmt: skip
        return self._elsewhere.preview(
            version, replace(configuration, command=with_runner(configuration.command, configuration.source))
        )

    def fetch_log(self, record: RunRecord) -> None:
        """Bring the log of a run that is elsewhere here, as far as it is written."""
        if record.place is not None and record.is_active:
            self._elsewhere.runs.log_so_far(record)

    def _current(self, record: RunRecord) -> RunRecord:
        """Return a record as it is now: a run that is elsewhere is asked after."""
        return record if record.place is None else self._elsewhere.runs.look_at(record)

    def _target(self, configuration: RunConfiguration, *, standard_input: bool = True) -> Target:
        return choose_target(self._parts, configuration, standard_input=standard_input)

    def _prepared(self, version: EnvironmentVersion, configuration: RunConfiguration) -> Prepared:
        return prepare_for(self._parts, self.environments, version, configuration)

    def _detached(self, version: EnvironmentVersion, configuration: RunConfiguration) -> Run:
        from wardian.run.detach import submit_detached

        settings = self._parts.settings

        def supervisor(run_id: str) -> list[str]:
            return [
                sys.executable,
                "-m",
                "wardian.sdk.supervise",
                str(settings.home),
                settings.workspace,
                run_id,
                str(version.id),
            ]

        record = submit_detached(configuration, self._parts.runs, self.root, supervisor, surroundings=self._parts.surroundings,
                                 listener=self._parts.listener, target=self._target(configuration))  # fmt: skip
        return Run(self, record)

    def supervise(self, run_id: str, version_id: int) -> RunRecord:
        """Do the work of a detached run: what its supervisor process calls."""
        from wardian.run.submit import supervise

        def ready(_record: RunRecord, _listener: Listener) -> Prepared:
            return self._prepared(self.environments.by_id(version_id), configuration)

        configuration = self._parts.runs.get(run_id).configuration
        return supervise(
            run_id, self._parts.runs, self.root, ready, surroundings=self._parts.surroundings, listener=self._parts.listener,
            target=self._target(configuration, standard_input=False),
        )  # fmt: skip

    def wait(self, run_id: str, timeout_s: float | None = None) -> RunRecord:
        """Return the record of a run once it has ended.

        Raises:   Unavailable: ``timeout_s`` seconds passed.
        """
        from wardian.run.detach import wait

        record = self._parts.runs.get(run_id)
        if record.place is not None:
            record = self._elsewhere.runs.wait(record, timeout_s)
        else:
            record = wait(record.id, self._parts.runs, timeout_s=timeout_s)
        if record.is_active:
            raise Unavailable(
                f"run `{record.id}` is still {record.state} after {timeout_s:g} s{': ' if record.reason else ''}{record.reason}",
                code="wait_timeout",
                hint=f"`wardian runs wait {record.id}` waits on",
            )
        return record

    def cancel(self, run_id: str, *, timeout_s: float = 30.0) -> RunRecord:
        """Stop a run; return its record once it has ended."""
        from wardian.run.detach import cancel

        record = self._current(self._parts.runs.get(run_id))
        if record.place is not None and record.supervisor is None:
            record = self._elsewhere.runs.cancel(record)
        else:
            record = cancel(run_id, self._parts.runs)
        return self.wait(record.id, timeout_s) if record.is_active else record

    def follow(self, run_id: str) -> Iterator[bytes]:
        """Yield what a run writes as it comes, from the beginning, until it has ended."""
        from wardian.run.detach import follow

        record = self._parts.runs.get(run_id)
        if record.place is not None:
            return self._elsewhere.runs.follow(record)
        return follow(record.id, self._parts.runs, self.root)

    def export(self, run_id: str, target: Path, *, packages: bool = False) -> tuple[str, ...]:
        """Write a run with all that it takes to run it again to the file ``target``; return what is left out, in words.

        Args:     packages: the archives of its lock too, so that it needs no index.
        Raises:   Conflict, NotFound: its snapshot cannot be had any more.  What fetching raises, with ``packages``.
        """
        from wardian.run.export import export_run

        run = self.get(run_id)
        version, lock = run.environment, run.lock
        archives: dict[Digest, Path] = {}
        if packages and lock is not None and version is not None:
            wanted = [artifact for artifact in lock.everything if artifact.source != "host"]
            archives = self._parts.fetch(version.environment, lock, wanted)
        return export_run(run.record, target, runs_dir=self.root, environment=version.environment if version else None, lock=lock,
                          packages=archives)  # fmt: skip

    def export_job(self, run_id: str, to: str, output: Path, *, force: bool = False) -> list[str]:
        """Write a run as a job of Azure ML (``azureml-job``, ``azureml-runconfig``); return the paths written. See ``wardian.sdk.job_exporting``."""
        from wardian.sdk.job_exporting import export_job

        return export_job(self._parts, self.get(run_id), to, output, force=force)

    def reproduce(
        self, run: str | Path, *, arguments: Sequence[str] | None = None, stdout: Taker | None = None, stderr: Taker | None = None, on_prepared: Callable[[str], None] | None = None
    ) -> Run:  # fmt: skip
        """Do again what a run did, with the same lock, source and variables: a run of this workspace, or a run file.

        Args:     arguments: all of the run's, where some held secrets: no record keeps these.
        Raises:   as ``export``; ``load_run`` for a file; ``reproduction``.  What locking and installing raise.
        """
        import tempfile

        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".reproduce-", dir=self.root) as place:
            if isinstance(run, str):
                version, configuration, source, carried = self._again(run, Path(place) / "source", arguments)
            else:
                version, configuration, source, carried = self._from_file(run, Path(place) / "run", arguments)
            return self.submit(
                version, configuration, detach=False, stdout=stdout, stderr=stderr, on_prepared=on_prepared, source=source, carried=carried,
            )  # fmt: skip

    def _again(
        self, run_id: str, source: Path, arguments: Sequence[str] | None
    ) -> tuple[EnvironmentVersion, RunConfiguration, Path, Mapping[str, Path]]:
        """Return what to submit: version, configuration, its source restored as ``source``, and inputs that came along."""
        from wardian.run.reproduce import reproduction, restore_source

        run = self.get(run_id)
        version = run.environment
        if version is None:
            raise NotFound(f"run `{run.id}` never had an environment", code="environment_not_found")
        return version, reproduction(run.record, arguments=arguments), restore_source(run.record, self.root, source), {}

    def _from_file(
        self, path: Path, directory: Path, arguments: Sequence[str] | None
    ) -> tuple[EnvironmentVersion, RunConfiguration, Path, Mapping[str, Path]]:
        """Return the same of a run file, unpacked into ``directory``."""
        from wardian.run.load import load_run
        from wardian.run.reproduce import reproduction

        loaded = load_run(path, directory)
        if loaded.environment is None:
            raise NotFound(f"{path} holds no environment", code="environment_not_found")
        configuration = reproduction(loaded.record, file=path.resolve(), inputs=loaded.inputs, arguments=arguments)
        version = self.environments.adopt(loaded.environment, loaded.lock, loaded.packages, note=f"run {loaded.record.id}")
        return version, configuration, loaded.source, loaded.inputs

    def delete(self, run_id: str) -> None:
        """Delete the record and files of a run that has ended."""
        from wardian.run.detach import delete

        record = self._current(self._parts.runs.get(run_id))
        if record.place is not None and not record.is_active:
            self._elsewhere.runs.forget(record)
        delete(record.id, self._parts.runs, self.root)

    def get(self, run_id: str) -> Run:
        """Return a run by its id, or the beginning of it. One that is elsewhere is asked after."""
        return Run(self, self._current(self._parts.runs.get(run_id)))

    def find_lock(self, digest: str, definition_hash: str | None) -> Lock | None:
        """Return a lock of this workspace."""
        return self._parts.locks.find(digest, definition_hash=definition_hash)

    def list(self, **filters: Any) -> Page[Run]:
        """Return a page of runs, the newest first. Those elsewhere are asked after: one question for each target."""
        from wardian.workspace.page import Page as _Page

        if self._parts.runs.any_elsewhere():
            self._elsewhere.runs.look()

        page = self._parts.runs.list(**filters)
        return _Page(tuple(Run(self, record) for record in page.items), page.next)
