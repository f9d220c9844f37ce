"""New versions of environments: from values, files, other versions and locks."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.events import Event
from wardian.sdk.environment_lookup import EnvironmentLookup, derived
from wardian.small_file import read_small
from wardian.workspace.version import EnvironmentVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    from wardian.definition.environment import Environment
    from wardian.formats.read_definition import ReadDefinition
    from wardian.lock.lock import Lock

_MANIFESTS = ("pixi.toml", "pyproject.toml")
READER_VERSION = "4"  # changes with every change of the readers or of the rules of identity


class EnvironmentRegistering(EnvironmentLookup):
    """Adds versions; what is the same stays the version that it was."""

    def create(
        self, name: str, environment: Environment | EnvironmentVersion | None = None, *, path: str | PathLike[str] | None = None, format_name: str | None = None,
        extras: Sequence[str] = (), groups: Sequence[str] = (), read: ReadDefinition | None = None, version: str | None = None, variables: Mapping[str, str] | None = None,
        description: str | None = None, tags: Mapping[str, str] | None = None, change: Callable[[Environment], Environment] | None = None,
    ) -> tuple[EnvironmentVersion, bool]:  # fmt: skip
        """Register a version under ``name``, from a value, a file or a version that exists; return it and whether it is new.

        Args:     read: a definition that was read already (``read``, ``read_installed``).
                  change: what is to be changed in the definition on the way.
        Raises:   Conflict: that version exists with other content.  InvalidDefinition, InvalidInput: as they say.
        """
        parent: EnvironmentVersion | None = None
        source: tuple[str, str] | None = None
        sources: Mapping[Digest, Path] = {}
        if path is not None:
            read = self.read(path, format_name=format_name, extras=extras, groups=groups)
        if read is not None:
            definition, source, sources = read.environment, (read.format, read.text), read.sources
            self._keep_texts(read)
        elif environment is None:
            raise InvalidInput(
                "there is nothing to create from", hint="give a definition, a file or a version", code="nothing_given"
            )
        elif isinstance(environment, EnvironmentVersion):
            parent = environment
            definition = environment.for_new_use()
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
        found, created = self.register(definition.renamed(name), version=version, source=source, sources=sources, parent=parent,
                                       note=_made_from(parent, definition) if parent is not None else "")  # fmt: skip
        if not created:
            self._tell_archived(found)
        return found, created

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
            self._tell_archived(found)
            if parent is not None and parent.definition_hash == found.definition_hash and not always_new:
                self._parts.locks.copy_pins(parent.id, found.id, f"copy of {parent}")
                self._parts.images.records.copy_bases(parent.id, found.id)
        return found, created

    def _keep_texts(self, read: ReadDefinition) -> None:
        for digest, (name, text) in read.texts.items():
            self._parts.artifacts.keep_text(digest, name, text)

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

        A file whose bytes were read before, with those of the manifest that a lock file has beside it, and that depends on nothing
        else, is not parsed again.
        """
        key = "\n".join([format_name or "", *extras, "", *groups, *_beside(path)])
        digest = None
        with contextlib.suppress(OSError):  # a directory, a pipe, nothing: reading it says so
            digest = Digest.of(read_small(path))
        if not with_packages and digest is not None:
            known = self._parts.parsed.find(digest, key, READER_VERSION)
            if known is not None:
                found = self._parts.environments.find_current(known.name, known.content_key)
                if found is not None:
                    return found
        read = self.read(path, format_name=format_name, extras=extras, groups=groups)
        self._keep_texts(read)
        if with_packages:
            return self.register(with_more(read.environment, with_packages).renamed(None).content, sources=read.sources)[0]
        found, _ = self.register(read.environment, source=(read.format, read.text), sources=read.sources)
        if read.self_contained and digest is not None:
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
        for artifact in lock.everything:
            archive = archives.get(artifact.installed_sha256)
            if archive is None:
                continue
            kind = "wheel" if artifact.built else artifact.kind
            validate_archive(archive, kind)
            if artifact.is_in_no_index:
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
            with_more(version.for_new_use(), packages).content, parent=version, note=f"with {', '.join(packages)}"
        )[0]

    def register_packages(self, packages: Sequence[str]) -> EnvironmentVersion:
        """Return an anonymous uv environment of these requirements."""
        from wardian.definition.environment import Environment, PythonSection

        return self.register(Environment(python=PythonSection(manager="uv", pip=tuple(packages))))[0]

    def _tell_archived(self, version: EnvironmentVersion) -> None:
        """Say that what was asked for stays hidden: nobody would look for it in `env list --archived`."""
        if not version.archived:
            return
        latest = self._parts.environments.find(version.name or "")
        hidden = version.name if latest is None or latest.archived else str(version)
        text = f"`{hidden}` is archived: it stays out of lists until `wardian env restore {hidden}`"
        self._parts.listener(Event("notice", text, data={"archived": hidden}))

    def _registered(self, version: EnvironmentVersion, note: str) -> str:
        entries = self._parts.environments.history(version.name or "", limit=1).items
        difference = entries[0].difference if entries else None
        change = "" if difference is None else note if difference.same_content else difference.summary()
        return f"registered {version}" + (f": {change}" if change else "")


def _made_from(parent: EnvironmentVersion, definition: Environment) -> str:
    """Return how ``definition`` was made from ``parent``; of a curated one with all that differs, which nobody would look for."""
    return derived(str(parent), parent.environment, definition) if parent.kind == "curated" else f"copy of {parent}"


def _beside(path: Path) -> list[str]:
    """Return names and digests of the manifests beside a lock file: what is asked for may be in them."""
    found = []
    for name in _MANIFESTS if path.suffix == ".lock" else ():
        with contextlib.suppress(OSError):
            found.append(f"{name} {Digest.of(read_small(path.parent / name))}")
    return found


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
