"""The environments of a workspace: what a user does with them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.events import Event
from wardian.sdk.upgrade import named
from wardian.workspace.version import EnvironmentVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from os import PathLike

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.definition.platform import Platform
    from wardian.formats.read_definition import ReadDefinition
    from wardian.lock.lock import Lock
    from wardian.prefix.install import Prefix
    from wardian.prefix.verify import Findings
    from wardian.sdk.comparison import Comparison
    from wardian.sdk.upgrade import Upgrade
    from wardian.workspace.locking import Locked
    from wardian.workspace.page import Page
    from wardian.workspace.version import Ancestor, HistoryEntry, LabelMove

READER_VERSION = "1"  # changes with every change of the readers or of the rules of identity


class EnvironmentCollection:
    """What a workspace knows about environments, and what it does with them.

    A reference is NAME, NAME:VERSION, NAME@LABEL, @HASH or run:ID. Nothing is printed; progress goes to the
    workspace's listener.
    """

    def __init__(self, parts: Parts):
        self._parts = parts

    # -- read and register ---------------------------------------------------------------------------------------------

    def read(
        self,
        path: str | PathLike[str],
        *,
        format_name: str | None = None,
        extras: Sequence[str] = (),
        groups: Sequence[str] = (),
    ) -> ReadDefinition:
        """Read a definition file of any known format, registering nothing.

        Raises:   InvalidDefinition: with all faults of the file.
        """
        from wardian import formats

        found = formats.read(path, format_name=format_name, extras=tuple(extras), groups=tuple(groups))
        for fault in found.warnings:
            self._parts.listener(Event("warning", str(fault), data={"code": fault.code}))
        return found

    def create(
        self, name: str, environment: Environment | EnvironmentVersion | None = None, *, path: str | PathLike[str] | None = None, format_name: str | None = None,
        extras: Sequence[str] = (), groups: Sequence[str] = (), version: str | None = None, variables: Mapping[str, str] | None = None,
        description: str | None = None, tags: Mapping[str, str] | None = None, change: Callable[[Environment], Environment] | None = None,
    ) -> tuple[EnvironmentVersion, bool]:  # fmt: skip
        """Register a version under ``name``, from a value, a file or a version that exists; return it and whether it is new.

        Args:     change: what is to be changed in the definition on the way.
        Raises:   Conflict: that version exists with other content.  InvalidDefinition, InvalidInput: as they say.
        """
        parent: EnvironmentVersion | None = None
        source: tuple[str, str] | None = None
        sources: Mapping[Digest, Path] = {}
        if path is not None:
            read = self.read(path, format_name=format_name, extras=extras, groups=groups)
            definition, source, sources = read.environment, (read.format, read.text), read.sources
        elif environment is None:
            raise InvalidInput(
                "there is nothing to create from", hint="give a definition, a file or a version", code="nothing_given"
            )
        elif isinstance(environment, EnvironmentVersion):
            parent = environment
            definition = environment.environment
            source = self._parts.environments.source(environment)
        else:
            definition = environment
        plain = definition
        if change is not None:
            definition = change(definition)
        if variables:
            definition = definition.with_variables(variables)
        if description is not None or tags is not None:
            definition = replace(definition, description=description if description is not None else definition.description,
                                 tags=tags if tags is not None else definition.tags)  # fmt: skip
        if definition.content != plain.content:
            source = None
        return self.register(definition.renamed(name), version=version, source=source, sources=sources, parent=parent,
                             note=f"copy of {parent}" if parent is not None else "")  # fmt: skip

    def register(
        self, environment: Environment, *, version: str | None = None, source: tuple[str, str] | None = None,
        sources: Mapping[Digest, Path] | None = None, parent: EnvironmentVersion | None = None, note: str = "", always_new: bool = False,
    ) -> tuple[EnvironmentVersion, bool]:  # fmt: skip
        """Register ``environment``; see ``wardian.workspace.environments.Environments.register``. Local code is kept first."""
        for digest, path in (sources or {}).items():
            self._parts.artifacts.keep_tree(digest, path)
        self._keep_local_code(environment)
        found, created = self._parts.environments.register(environment, version=version, source=source, parent=parent, lineage_note=note,
                                                           always_new=always_new)  # fmt: skip
        if created and found.name is not None:
            self._parts.listener(Event("notice", self._registered(found, note), data={"registered": str(found)}))
            if parent is not None and parent.definition_hash == found.definition_hash and not always_new:
                self._parts.locks.copy_pins(parent.id, found.id, f"copy of {parent}")
        return found, created

    def _keep_local_code(self, environment: Environment) -> None:
        """See to it that all local code of a definition is kept: what no file gave is looked for below the working directory."""
        from wardian.formats.tree import tree_digest

        for source in environment.python.local:
            if self._parts.artifacts.find(source.digest, {}) is not None:
                continue
            path = Path(source.path)
            if not path.exists() or tree_digest(path) != source.digest:
                raise NotFound(f"the local code `{source.path}` (tree {source.digest.short}) is not here", code="local_code_missing",
                               hint="change to the directory of the definition, or give the file: `environments.create(NAME, path=FILE)`")  # fmt: skip
            self._parts.artifacts.keep_tree(source.digest, path)

    def register_file(
        self, path: Path, *, format_name: str | None = None, extras: Sequence[str] = (), groups: Sequence[str] = (), with_packages: Sequence[str] = (),
    ) -> EnvironmentVersion:  # fmt: skip
        """Register the definition in a file under its own name, or anonymously if it has none [S9].

        A file whose bytes were read before, and that depends on nothing else, is not parsed again.
        """
        key = "\n".join([format_name or "", *extras, "", *groups])
        if not with_packages and path.is_file():
            with path.open("rb") as stream:
                digest = Digest.of_stream(stream)
            known = self._parts.parsed.find(digest, key, READER_VERSION)
            if known is not None:
                found = self._parts.environments.find_current(known.name, known.content_key)
                if found is not None:
                    return found
        read = self.read(path, format_name=format_name, extras=extras, groups=groups)
        if with_packages:
            return self.register(with_more(read.environment, with_packages).renamed(None).content, sources=read.sources)[0]
        found, _ = self.register(read.environment, source=(read.format, read.text), sources=read.sources)
        if read.self_contained and path.is_file():
            self._parts.parsed.put(digest, key, READER_VERSION, read.environment)
        return found

    def adopt(
        self, environment: Environment, lock: Lock | None, archives: Mapping[Digest, Path], *, note: str
    ) -> EnvironmentVersion:
        """Return an anonymous version of ``environment`` that is pinned to exactly ``lock``, with its archives in the cache.

        Raises:   BadArchive: an archive is not what its digest says, or is hostile.
        """
        from wardian.package.archive import validate_archive

        version, _ = self._parts.environments.register(environment.content, lineage_note=note)
        if lock is None:
            return version
        pin = self._parts.locks.find_pin(version.id, lock.platform)
        if pin is not None and pin.lock_digest != lock.digest:
            version, _ = self._parts.environments.register(environment.content, lineage_note=note, always_new=True)
        for artifact in lock.artifacts:
            archive = archives.get(artifact.installed_sha256)
            if archive is None:
                continue
            kind = "wheel" if artifact.built else artifact.kind
            validate_archive(archive, kind)
            if artifact.built is not None or artifact.source == "workspace":
                self._parts.artifacts.keep(archive)
            self._parts.packages.ensure(
                artifact.installed_sha256, artifact.installed_file, _writer(archive), lambda _path: None
            )
        self._parts.locks.put(lock)
        self._parts.locks.pin(version.id, lock.platform, lock.digest, note)
        return version

    def with_packages(self, version: EnvironmentVersion, packages: Sequence[str]) -> EnvironmentVersion:
        """Return an anonymous version: ``version`` with further pip requirements."""
        return self.register(
            with_more(version.environment, packages).content, parent=version, note=f"with {', '.join(packages)}"
        )[0]

    def register_packages(self, packages: Sequence[str]) -> EnvironmentVersion:
        """Return an anonymous uv environment of these requirements."""
        from wardian.definition.environment import Environment, PythonSection

        return self.register(Environment(python=PythonSection(manager="uv", pip=tuple(packages))))[0]

    def usage(self, version: EnvironmentVersion) -> dict[str, list[str]]:
        """Return who uses a version: its labels, its runs (the newest hundred), and the versions that share its hash."""
        runs = self._parts.runs.list(version_id=version.id, limit=100)
        same = [one for one in self._parts.locks.users_of_hash(version.definition_hash) if one != str(version)]
        return {"labels": list(version.labels), "runs": [record.id for record in runs], "same_hash": same}

    def _registered(self, version: EnvironmentVersion, note: str) -> str:
        entries = self._parts.environments.history(version.name or "", limit=1).items
        difference = entries[0].difference if entries else None
        change = "" if difference is None else note if difference.same_content else difference.summary()
        return f"registered {version}" + (f": {change}" if change else "")

    # -- look up -------------------------------------------------------------------------------------------------------

    def get(self, reference: str) -> EnvironmentVersion:
        """Return the version that ``reference`` means; ``run:ID`` means what that run ran with, ``run:latest`` the newest.

        Raises:   NotFound, InvalidReference, Conflict (an ambiguous hash).
        """
        from wardian.definition.reference import Reference

        parsed = Reference.parse(reference)
        if parsed.run_id is not None:
            newest = self._parts.runs.list(limit=1).items if parsed.run_id == "latest" else ()
            record = newest[0] if newest else self._parts.runs.get(parsed.run_id)
            version_id = record.environment.version_id
            found = self.by_id(version_id) if version_id is not None else None
            if found is None:
                raise NotFound(f"run `{record.id}` has no environment in this workspace", code="environment_not_found")
            return found
        return self._parts.environments.get(parsed)

    def by_id(self, version_id: int) -> EnvironmentVersion:
        """Return the version with the records' own number.

        Raises:   NotFound: it was deleted.
        """
        return self._parts.environments.by_id(version_id)

    def find(self, reference: str) -> EnvironmentVersion | None:
        """Return the version that ``reference`` means, or None."""
        return self._parts.environments.find(reference)

    def list(
        self, *, limit: int = 50, after: str | None = None, include_archived: bool = False, kind: str | None = None
    ) -> Page[EnvironmentVersion]:
        """Return a page of the latest versions, by name."""
        return self._parts.environments.list(limit=limit, after=after, include_archived=include_archived, kind=kind)

    def versions(self, name: str, *, limit: int = 50, after: str | None = None) -> Page[EnvironmentVersion]:
        """Return a page of the versions of ``name``, the newest first."""
        return self._parts.environments.versions(name, limit=limit, after=after)

    def history(self, name: str, *, limit: int = 50, after: str | None = None) -> Page[HistoryEntry]:
        """Return a page of the versions of ``name`` with what each changed, the newest first."""
        return self._parts.environments.history(name, limit=limit, after=after)

    def lineage(self, reference: str) -> tuple[Ancestor, ...]:
        """Return what the version was made from, the nearest first."""
        return self._parts.environments.lineage(self._plain(reference))

    def source(self, version: EnvironmentVersion) -> tuple[str, str]:
        """Return format and text of a version: as it was read, comments kept, else as Wardian's YAML."""
        from wardian import formats

        return self._parts.environments.source(version) or ("wardian", formats.write(version.environment, "wardian"))

    # -- metadata ------------------------------------------------------------------------------------------------------

    def label(self, reference: str, label: str) -> EnvironmentVersion:
        """Move ``label`` to the version that ``reference`` means; where it was before stays in its history."""
        version = self.get(reference)
        return self._parts.environments.label(named(version), version.version or "", label)

    def remove_label(self, name: str, label: str) -> None:
        """Take a label away."""
        self._parts.environments.remove_label(name, label)

    def label_history(self, name: str, label: str) -> tuple[LabelMove, ...]:
        """Return where a label was, the newest move first."""
        return self._parts.environments.label_history(name, label)

    def update(
        self, reference: str, *, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> EnvironmentVersion:
        """Change description and tags; no new version."""
        return self._parts.environments.update(reference, description=description, tags=tags)

    def archive(self, reference: str) -> None:
        """Hide a name, or one version; it stays usable."""
        self._parts.environments.archive(reference)

    def restore(self, reference: str) -> None:
        """Show a name, or one version, again."""
        self._parts.environments.restore(reference)

    def delete(self, reference: str) -> None:
        """Delete a version, or a name with all of them, unless runs or labels refer to it."""
        self._parts.environments.delete(reference)

    def _plain(self, reference: str) -> str:
        return str(self.get(reference)) if reference.startswith("run:") else reference

    # -- lock, build, verify -------------------------------------------------------------------------------------------

    def lock(
        self, version: EnvironmentVersion | str, *, platforms: Sequence[str] = (), as_of: datetime | None = None
    ) -> dict[str, Lock]:
        """Return the version's locks by platform, finding or solving them first.

        Args:     platforms: these; none means this machine's and the configured ones.
                  as_of: nothing published later is used; only for a definition that nobody here has locked.
        Raises:   SolveFailed, BuildFailed, Unavailable, Denied, Conflict.
        """
        from wardian.definition.platform import get_platform, this_platform

        found = self.get(version) if isinstance(version, str) else version
        wanted = [get_platform(name) for name in platforms]
        self._parts.locker.ensure(found, wanted[0] if wanted else this_platform(), as_of=as_of, platforms=wanted)
        here = this_platform().name
        pins = sorted(self._parts.locks.pins(found.id), key=lambda pin: (pin.platform != here, pin.platform))
        return {
            pin.platform: self._parts.locks.get(pin.lock_digest, definition_hash=found.definition_hash)
            for pin in pins
            if not wanted or pin.platform in {p.name for p in wanted}
        }

    def find_lock(self, version: EnvironmentVersion, platform: Platform | None = None) -> Lock | None:
        """Return the lock that the version is pinned to on a platform (this machine's), or None; nothing is solved."""
        from wardian.definition.platform import this_platform

        locked = self._parts.locker.find(version, platform or this_platform())
        return self._parts.locks.get(locked.chosen.lock_digest, definition_hash=version.definition_hash) if locked else None

    def build(self, version: EnvironmentVersion | str, *, compile_now: bool = False) -> tuple[Prefix, Locked]:
        """Return the version's prefix on this machine, locking, fetching and installing what is missing.

        Args:     compile_now: byte-compile it before returning, unless the setting says never.

        With lock and prefix here, nothing is contacted, and neither solver nor reader is imported.
        """
        from wardian.definition.platform import this_platform

        found = self.get(version) if isinstance(version, str) else version
        if found.kind == "user":
            raise InvalidInput(f"{found} is user-managed: there is nothing to build", hint="run it: its interpreter is used as it is",
                               code="user_managed")  # fmt: skip
        installer = self._parts.installer  # before anything is solved: a prefix path that is too long is refused here
        locked = self._parts.locker.ensure(found, this_platform())
        chosen = locked.chosen
        host = chosen.python_version if chosen.python_source == "host" else ""
        prefix = installer.find(chosen.install_digest, host)
        if locked.origin in ("workspace", "machine"):
            self._tell_age(found, locked)
        if prefix is None:
            lock = self._parts.locks.get(chosen.lock_digest, definition_hash=found.definition_hash)
            environment = found.environment
            prefix = installer.ensure(lock, lambda artifacts: self._parts.fetch(environment, lock, artifacts), self._parts.listener,
                                                  link_scripts=environment.python.link_scripts)  # fmt: skip
        if not prefix.cached:
            from wardian.sdk.caches import Caches

            Caches(self._parts).make_room(prefix)
        byte_code = self._parts.settings.byte_code
        if (byte_code == "build" and not prefix.cached) or (compile_now and byte_code != "never"):
            from wardian.prefix.bytecode import compile_prefix

            self._parts.listener(Event("phase", "compiling modules"))
            compile_prefix(self._parts.prefixes, prefix.key[:32])
        return prefix, locked

    def _tell_age(self, version: EnvironmentVersion, locked: Locked) -> None:
        """Say once which versions an existing lock holds, and since when: unpinned packages are not the newest [S25]."""
        lock = self._parts.locks.get(locked.chosen.lock_digest, definition_hash=version.definition_hash)
        roots = [f"{a.name} {a.version}" for a in lock.artifacts if a.name in lock.provenance.roots]
        shown = ", ".join(roots[:4]) + (f" and {len(roots) - 4} more" if len(roots) > 4 else "")  # noqa: PLR2004
        where = "this workspace" if locked.origin == "workspace" else "this machine"
        text = f"{version} takes the lock that {where} has for it: {shown}, locked {lock.provenance.created[:10]}"
        self._parts.listener(Event("notice", text, data={"lock_digest": lock.digest, "origin": locked.origin}))

    def verify(self, version: EnvironmentVersion | str) -> tuple[Prefix, Findings]:
        """Compare the version's prefix on this machine with what was installed, file by file."""
        from wardian.prefix.verify import verify_prefix

        prefix, _ = self.build(version)
        return prefix, verify_prefix(prefix.path)

    # -- compare -------------------------------------------------------------------------------------------------------

    def compare(self, left: EnvironmentVersion | Environment, right: EnvironmentVersion | Environment) -> Comparison:
        """Return how two environments differ: definitions, and packages where both are locked for this machine.

        A definition that is no version is compared by the lock that its hash has in this workspace. Nothing is registered.
        """
        from wardian.definition.platform import this_platform
        from wardian.sdk.comparison import compare

        def lock_of(one: EnvironmentVersion | Environment) -> Lock | None:
            if isinstance(one, EnvironmentVersion):
                return self.find_lock(one)
            chosen = self._parts.locks.current(one.definition_hash, this_platform().name)
            return self._parts.locks.find(chosen.lock_digest, definition_hash=one.definition_hash) if chosen else None

        def name_of(one: EnvironmentVersion | Environment) -> str:
            return str(one) if isinstance(one, EnvironmentVersion) else one.name or f"@{one.definition_hash.short}"

        first, second = (one.environment if isinstance(one, EnvironmentVersion) else one for one in (left, right))
        return compare(first, second, (name_of(left), name_of(right)), (lock_of(left), lock_of(right)))

    # -- change --------------------------------------------------------------------------------------------------------

    def add(self, name: str, requirements: Sequence[str]) -> tuple[EnvironmentVersion, bool]:
        """Add requirements to the latest version of ``name``, comments kept; return the new version."""
        from wardian import formats

        return self._edited(
            name,
            lambda text, kind, manager: formats.add(text, kind, list(requirements), manager=manager),
            f"added {', '.join(requirements)}",
        )

    def remove(self, name: str, packages: Sequence[str]) -> tuple[EnvironmentVersion, bool]:
        """Remove packages from the latest version of ``name``, comments kept; return the new version."""
        from wardian import formats

        return self._edited(
            name, lambda text, kind, _manager: formats.remove(text, kind, list(packages)), f"removed {', '.join(packages)}"
        )

    def edit(self, name: str, text: str) -> tuple[EnvironmentVersion, bool]:
        """Replace the text of the latest version of ``name`` (in its own format); return the new version."""
        return self._edited(name, lambda _text, _kind, _manager: text, "edited")

    def _edited(self, name: str, change: Callable[[str, str, str], str], note: str) -> tuple[EnvironmentVersion, bool]:
        from wardian import formats

        version = self.get(name)
        named(version)
        kind, text = self.source(version)
        changed = change(text, kind, version.environment.python.manager)
        read = formats.read_text(changed, kind, file=f"{version}", local=version.environment.local_sources)
        environment = replace(read.environment, name=version.name, description=version.description, tags=version.tags,
                              variables=read.environment.variables or version.environment.variables)  # fmt: skip
        return self.register(environment, source=(kind, changed), parent=version, note=note)

    # -- upgrade -------------------------------------------------------------------------------------------------------

    def upgrade(self, name: str, packages: Sequence[str] = (), *, as_of: datetime | None = None) -> Upgrade:
        """Solve the latest version of ``name`` anew; return what would change. ``apply`` registers it.

        Args:     packages: only these move, with what they force; the rest stays where it can. ``PKG==1.2`` moves the pin
                  in the definition too.  as_of: as on a first solve.
        Raises:   SolveFailed: nothing satisfies the definition.  NotFound: a package that is not in the lock.
        """
        from wardian.sdk.upgrade import plan_upgrade

        return plan_upgrade(self._parts, self, self.get(name), packages, as_of)

    def apply(self, upgrade: Upgrade) -> EnvironmentVersion:
        """Register an upgrade as a new version with its own locks; the old version and its hash's lock stay."""
        version, _ = self.register(upgrade.environment.renamed(upgrade.version.name), source=upgrade.text, parent=upgrade.version,
                                   note=f"upgraded: {upgrade.difference.summary()}", always_new=True)  # fmt: skip
        for lock in upgrade.locks:
            self._parts.locks.put(lock)
            self._parts.locks.pin(version.id, lock.platform, lock.digest, "upgrade")
        return version

    # -- export --------------------------------------------------------------------------------------------------------

    def export(self, version: EnvironmentVersion, to: str) -> str:
        """Return the version in another format.

        Args:     to: ``requirements``, ``pylock``, ``pixi``, ``explicit`` or ``conda`` (pinned): the lock; ``source``: the
                  definition as written; ``wardian``: the definition in Wardian's own YAML.
        Raises:   InvalidInput: an unknown format, or one that cannot hold this environment.
        """
        if to == "source":
            return self.source(version)[1]
        if to == "wardian":
            from wardian import formats

            return formats.write(version.environment, "wardian")
        from wardian.sdk.exporting import export

        return export(self._parts, version.environment, self.lock(version), to)

    def export_archives(self, version: EnvironmentVersion, to: str) -> dict[str, Path]:
        """Return what has to lie beside an export: relative path → the archive on this machine."""
        from wardian.sdk.exporting import archives_beside

        return archives_beside(self._parts, version.environment, self.lock(version), to)


def with_more(environment: Environment, packages: Sequence[str]) -> Environment:
    """Return ``environment`` with further pip requirements; a requirement for a name that is there replaces it."""
    from wardian.definition.requirement import PipRequirement

    new = [PipRequirement.parse(text) for text in packages]
    names = {requirement.name for requirement in new if requirement.name}
    kept = [text for text in environment.python.pip if PipRequirement.parse(text).name not in names]
    if environment.python.manager == "user":
        raise Conflict(
            "a user-managed environment takes no further packages: nothing is installed into it", code="user_managed"
        )
    return environment.with_python(pip=(*kept, *(str(requirement) for requirement in new)))


def _writer(path: Path) -> Callable[[IO[bytes]], None]:
    def write(stream: IO[bytes]) -> None:
        with path.open("rb") as source:
            shutil.copyfileobj(source, stream)

    return write
