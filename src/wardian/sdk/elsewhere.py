"""Runs on engines: what a node needs for one is found and fetched here, then the engine has it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from wardian.definition.platform import get_platform, this_platform
from wardian.errors import InvalidInput
from wardian.events import Event
from wardian.run.configuration import RunEnvironment
from wardian.run.handover import Needs, check_elsewhere, hand_over, preview, sheet_of, task_of
from wardian.run.node.sheet import PACKAGES
from wardian.run.place import OFFERED, Place
from wardian.run.remote_runs import RemoteRuns
from wardian.run.targets.kinds import kind_named
from wardian.sdk.prepare import deprecated, no_python
from wardian.sdk.remote_ways import way_to
from wardian.sdk.run_targets import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.lock.lock import Lock
    from wardian.run.configuration import RunConfiguration
    from wardian.run.handover import Way
    from wardian.run.job import Taker
    from wardian.run.node.bundle import Agent
    from wardian.run.record import RunRecord
    from wardian.workspace.version import EnvironmentVersion

AGENTS = "agents"  # below the cache: what is sent to nodes


class Elsewhere:
    """The runs of a workspace that are handed over to engines."""

    def __init__(self, parts: Parts, root: Path):
        self._parts = parts
        self._root = root

    @cached_property
    def runs(self) -> RemoteRuns:
        """Looks after them."""
        return RemoteRuns(self._parts.runs, self._root, self._way, self._parts.listener)

    def _way(self, record: RunRecord) -> Way:
        place = record.place
        assert place is not None  # noqa: S101 - only such records come here
        return way_to(self._parts, place.kind, place.options, place.root)

    def submit(
        self, version: EnvironmentVersion, configuration: RunConfiguration, source: Path | None = None, carried: Mapping[str, Path] | None = None
    ) -> RunRecord:  # fmt: skip
        """Hand a run over; return its record, which is queued, as a rule.

        Args:     carried: inputs that came in a run's file, by name: they are moved into the run's directory, and travel with it.
        Raises:   what locking, fetching, the way to the nodes and the engine raise.
        """
        kind, options = kind_of(self._parts, configuration)
        way = way_to(self._parts, kind, options)
        of_nodes = {name: path for name, path in configuration.inputs.items() if name not in (carried or {})}
        record = hand_over(
            configuration, self._parts.runs, self._root, way, lambda _: self._needs(version, replace(configuration, inputs=of_nodes), way),
            surroundings=self._parts.surroundings, listener=self._parts.listener, source=source, carried=carried,
        )  # fmt: skip
        return self.runs.cancel(record) if record.is_active and record.cancel_asked else record

    def run(
        self, version: EnvironmentVersion, configuration: RunConfiguration, *, detach: bool, stdout: Taker | None = None,
        on_prepared: Callable[[str], None] | None = None, source: Path | None = None, carried: Mapping[str, Path],
    ) -> RunRecord:  # fmt: skip
        """Hand a run over; return its record at once, or when it has ended and is home: ``stdout`` gets its log as it grows.

        ^C ends the run, if this waits for it; a process that is killed leaves it running.

        Raises:   as ``submit``.
        """
        record = self.submit(version, configuration, source, carried)
        place = record.place
        if detach:
            if place is not None and place.stage == OFFERED and record.reason:
                words = f"{record.reason}; run {record.id} is kept, and given to `{configuration.target}` at the next look"
                self._parts.listener(Event("warning", words, data={"run_id": record.id}))
            return record
        if on_prepared is not None:
            job = f"job {place.handle}" if place and place.handle else record.reason or record.state
            on_prepared(" · ".join(filter(None, (record.environment.summary, f"{configuration.target}: {job}"))))
        try:
            for piece in self.runs.follow(record):
                if stdout is not None:
                    with contextlib.suppress(OSError, ValueError):  # the run goes on, and its log is whole
                        stdout.write(piece)
                        stdout.flush()
        except KeyboardInterrupt:
            record = self.runs.get(record.id)
            if record.is_active:
                self.runs.cancel(record, "interrupted")
            return self.runs.wait(record)
        return self.runs.get(record.id)

    def preview(self, version: EnvironmentVersion, configuration: RunConfiguration) -> list[str]:
        """Return what would be handed over, line by line: nothing is sent, and no job made."""
        kind, options = kind_of(self._parts, configuration)
        way = way_to(self._parts, kind, options)
        _, _, variables = check_elsewhere(configuration, self._parts.surroundings, None)
        needs = self._needs(version, configuration, way, fetch=False)
        place = Place(kind, way.options, way.carrier.root, "000000000000")
        _, secrets = sheet_of(place.key, configuration, needs, variables, self._parts.surroundings)
        held = [*sorted(secrets.variables), *(f"argument {position + 1}" for position in sorted(secrets.arguments))]
        task = way.completed(task_of(place, configuration, needs, has_secrets=bool(held)), is_sent=False)
        manifest = getattr(way.target, "manifest", None)
        if manifest is not None:  # all of it is YAML: what is no object of the engine's is a comment
            sheet = preview(place.key, configuration, needs, variables, self._parts.surroundings)
            head = [
                f"{len(needs.files) + len(needs.own)} files and directories are sent to {_destination(way)} first, where they are not there",
                f"{place.directory}/sheet.json",
            ]
            return [*(f"# {line}" for line in (*head, *sheet.splitlines())), *manifest(task, held).splitlines()]
        lines = [f"# {len(needs.files)} files and directories are sent to {way.carrier.root} first, where they are not there"]
        handed = getattr(way.target, "handed_over", None)
        if handed is not None:
            import shlex

            words, script = handed(task)
            lines += [shlex.join(words), *(f"| {line}" for line in script.splitlines())]
        else:
            lines.append(" ".join(task.argv))
        return [
            *lines,
            f"# {place.directory}/sheet.json",
            *preview(place.key, configuration, needs, variables, self._parts.surroundings).splitlines(),
        ]

    # -- what a node needs ---------------------------------------------------------------------------------------------

    def _needs(self, version: EnvironmentVersion, configuration: RunConfiguration, way: Way, *, fetch: bool = True) -> Needs:
        agent = self._agent(way)
        given = Needs(
            environment=RunEnvironment(name=version.name, version=version.version, version_id=version.id, definition_hash=version.definition_hash),
            agent=(*agent.command(way.carrier.root), "exec", "--sheet"), link_scripts=version.environment.python.link_scripts,
            variables=version.document.get("variables", {}), files={agent.place: agent.path}, cache=way.options.get("cache", ""), pass_variables=kind_named(way.kind).pass_variables,
            may_restart=way.options.get("requeue") == "yes", compiles=self._parts.settings.byte_code != "never", notes=deprecated(self._parts, version),
        )  # fmt: skip
        if way.complete is not None:
            from wardian.sdk.carried_inputs import carried_inputs

            inputs = carried_inputs(configuration, way.options, self._parts.settings.snapshot_limit_bytes)
            given = replace(given, own=inputs, inputs={path.partition("/")[2]: path for path in inputs})
        if kind_named(way.kind).runs_images and "image" not in way.options:
            from wardian.sdk.image_elsewhere import in_image

            return in_image(self._parts, version, configuration, given, build=fetch, platform=way.options.get("platform"))
        if way.options.get("container") == "oci":
            from wardian.sdk.image_bundle import in_bundle

            return in_bundle(self._parts, version, configuration, given, way, build=fetch)
        if version.kind == "user":
            return self._user_managed(version, given)
        return self._locked(version, configuration, way, given, fetch=fetch)

    @cached_property
    def _own_agent(self) -> Agent:
        """The agent of this Wardian: what it is takes a look at hundreds of files, once for all runs that this process submits."""
        from wardian.run.node.bundle import node_agent

        return node_agent(self._parts.cache / AGENTS)

    def _agent(self, way: Way) -> Agent:
        platform = way.options.get("platform", this_platform().name)
        if get_platform(platform) != this_platform():
            raise InvalidInput(f"the nodes are {platform}, this machine is {this_platform().name}: the agent for them is made on such a machine",
                               code="agent_unavailable", hint="submit from a machine of the nodes' platform")  # fmt: skip
        return self._own_agent

    @staticmethod
    def _user_managed(version: EnvironmentVersion, given: Needs) -> Needs:
        python, docker = version.environment.python, version.document.get("docker", {})
        if python.interpreter is None and any(docker.get(key) for key in ("base_image", "dockerfile", "build_context")):
            raise InvalidInput(f"{version} is nothing but an image, and nodes run no images", code="needs_image",
                               hint="run it in a container: `-t podman`; or define its packages")  # fmt: skip
        summary = f"{version} · user-managed, {python.interpreter or 'python3'} of the node"
        return replace(given, interpreter=python.interpreter, environment=replace(given.environment, summary=summary))

    def _locked(
        self, version: EnvironmentVersion, configuration: RunConfiguration, way: Way, given: Needs, *, fetch: bool
    ) -> Needs:
        parts, platform = self._parts, get_platform(way.options.get("platform", this_platform().name))
        chosen = parts.locker.ensure(version, platform).chosen
        if configuration.command.wants_python and not chosen.python_version:
            raise no_python(version)
        lock = parts.locks.get(chosen.lock_digest, definition_hash=version.definition_hash)
        environment = replace(given.environment, lock_digest=chosen.lock_digest, lock_origin=chosen.origin,
                              summary=f"{version} · lock {chosen.lock_digest[:6]}")  # fmt: skip
        notes = (*given.notes, *([f"locked as of {chosen.as_of}"] if chosen.as_of else []))
        archives = self._archives(version, lock, way, fetch=fetch, also=sorted(given.files))
        given = replace(given, environment=environment, notes=notes, lock=lock.to_json(), lock_digest=chosen.lock_digest)
        if way.complete is not None:
            return replace(given, own={**archives, **given.own})
        return replace(given, files={**archives, **given.files})

    def _archives(
        self, version: EnvironmentVersion, lock: Lock, way: Way, *, fetch: bool, also: Sequence[str]
    ) -> Mapping[str, Path]:
        """Return the archives of ``lock`` that the nodes do not have, by their places there. Of several runs that want them, one brings them."""
        wanted = {f"{PACKAGES}/{a.installed_sha256}/{a.installed_file}": a for a in lock.artifacts if a.source != "host"}
        is_asked = fetch or way.complete is None
        # one question for all
        missing = sorted(wanted.keys() - way.carrier.have([*sorted(wanted), *also])) if is_asked else sorted(wanted)
        if (not missing and way.complete is None) or not fetch:
            return {
                path: self._parts.packages.path(wanted[path].installed_sha256, wanted[path].installed_file) for path in missing
            }
        from wardian.digest import Digest
        from wardian.tools.flight import Flight

        if way.complete is not None:  # they go with the run, those that are in the registry by their digest alone
            self._parts.fetch(version.environment, lock, [wanted[path] for path in missing], self._parts.listener)
            return {path: self._parts.packages.path(one.installed_sha256, one.installed_file) for path, one in wanted.items()}
        name = Digest.of(f"{way.kind} {way.carrier.root} {lock.digest}".encode())
        with Flight.of(self._parts.flights, f"n-{name}").lead(self._parts.listener, lambda: False) as listener:
            missing = sorted(wanted.keys() - way.carrier.have(sorted(wanted)))
            found = (
                self._parts.fetch(version.environment, lock, [wanted[path] for path in missing], listener) if missing else {}
            )
            way.carrier.send({path: str(found[wanted[path].installed_sha256]) for path in missing})
        return {}


def _destination(way: Way) -> str:
    """Return where files are sent to, for people."""
    store = getattr(way.carrier, "store", None)
    return str(store.name) if store is not None else way.carrier.root
