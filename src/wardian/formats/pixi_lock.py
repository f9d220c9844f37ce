"""``pixi.lock`` as a definition: one of its environments, exactly as it was locked; nothing is solved anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.requirement import PipRequirement
from wardian.definition.well_known import channel_identity
from wardian.digest import Digest
from wardian.errors import InvalidInput
from wardian.formats import pylock
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.local_code import LocalCode
from wardian.formats.locked_input import index_options
from wardian.formats.mlflow_model import kept_as_wardian
from wardian.formats.pixi_lock_text import SELECTION, PixiLock
from wardian.formats.read_definition import ReadDefinition
from wardian.formats.source_text import plain_text, read_source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource
    from wardian.formats.locked_input import LockedInput, LockedPackage

FORMAT = "pixi-lock"
_MANIFESTS = ("pixi.toml", "pyproject.toml")

add = pylock.add
remove = pylock.remove


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    environment: str = "default",
) -> ReadDefinition:
    """Return the conda environment that ``text`` locks under the name ``environment``; it is kept as Wardian's own YAML.

    What it asks for, its variables and its system requirements are those of the manifest beside the file. Without one it asks for
    what no other package in it needs.

    Raises:   InvalidDefinition: every fault of the file, or of the manifest.
    Source:   rattler_lock, file format versions 4 to 7; semantics §1
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "a pixi.lock")
    faults.raise_if_any()
    text = plain_text(text)
    lock = PixiLock(text, faults)
    name = lock.selected if environment == "default" else environment
    locked = lock.input(name)
    faults.raise_if_any()
    if name != lock.selected:
        text = f"{text.rstrip()}\n{SELECTION}:\n  environment: {name}\n"
    manifest = _manifest(base, name)
    reading = _Locked(lock, locked, name, LocalCode(base, local), faults, Ledger(file))
    digest = Digest.of(text.encode())
    section = reading.section(manifest, digest)
    found = Environment()
    with faults.wrap():
        asked = manifest.environment if manifest else Environment()
        found = Environment(python=section, accelerators=asked.accelerators, variables=asked.variables)
    faults.raise_if_any()
    losses = (*(manifest.losses if manifest else ()), *reading.ledger.losses)
    read_it = ReadDefinition(found, FORMAT, text, reading.local.places, False, faults.warnings, losses, texts={digest: ("pixi.lock", text)})  # fmt: skip
    return replace(kept_as_wardian(read_it), self_contained=not section.local and PurePath(file).suffix == ".lock")


def write(env: Environment) -> str:
    """Raise: a definition says less than a lock file."""
    del env
    raise InvalidInput(
        "a definition is no lock file", hint="`wardian env export NAME --to pixi` writes one", code="not_expressible"
    )


def _manifest(base: Path | None, environment: str) -> ReadDefinition | None:
    """Return what the manifest beside the file asks for; None if there is none."""
    from wardian.formats import pixi_manifest

    for name in _MANIFESTS if base is not None else ():
        place = base / name if base is not None else None
        if place is None or not place.is_file():
            continue
        text = plain_text(read_source(place))
        if name == "pixi.toml" or pixi_manifest.is_manifest(text):
            return pixi_manifest.read_manifest(text, file=str(place), base=base, environment=environment)
    return None


class _Locked:
    """One environment of a lock file on its way to a definition."""

    def __init__(
        self, lock: PixiLock, locked: LockedInput, name: str, local: LocalCode, faults: Faults, ledger: Ledger
    ) -> None:
        self.lock = lock
        self.locked = locked
        self.name = name
        self.local = local
        self.faults = faults
        self.ledger = ledger

    def section(self, manifest: ReadDefinition | None, digest: Digest) -> PythonSection:
        """Return the Python section: what ``manifest`` asks for, else the roots; from the channels and indexes of the file."""
        asked = manifest.environment.python if manifest else None
        conda = asked.conda if asked else self._conda_roots()
        pip = asked.pip if asked else self._pip_roots()
        direct = {package.name for package in self.locked.packages if package.address}
        pip = tuple(text for text in pip if PipRequirement.parse(text).name not in direct)
        pip += tuple(dict.fromkeys(self._direct(package) for package in self.locked.packages if package.address))
        self._note_environments()
        indexes = self.locked.indexes or tuple(dict.fromkeys(p.index for p in self.locked.packages if p.index))
        return PythonSection(manager="conda", channels=self._channels(), conda=conda, pip=pip, pip_options=index_options(indexes),
                             local=self.local.sources, locked_input=digest)  # fmt: skip

    def _channels(self) -> tuple[str, ...]:
        """Return the environment's channels, then any other that a package of it is from, by the names that everybody knows."""
        found = [channel_identity(url) for url in self.lock.urls(self.name, "channels")]
        for platform in (self.locked.platforms or {}).values():
            found += [channel_identity(package.channel) for package in platform.conda]
        return tuple(dict.fromkeys(found))

    def _conda_roots(self) -> tuple[str, ...]:
        versions: dict[str, set[str]] = {}
        needed: set[str] = set()
        for platform in (self.locked.platforms or {}).values():
            for package in platform.conda:
                versions.setdefault(package.name, set()).add(package.version)
                needed |= {text.split()[0].lower() for text in package.depends if text.split()} - {package.name}
        roots = [name for name in versions if name not in needed] or list(versions)
        if self.locked.packages and "python" in versions and "python" not in roots:
            roots.append("python")
        return tuple(f"{name}=={next(iter(versions[name]))}" if len(versions[name]) == 1 else name for name in sorted(roots))

    def _pip_roots(self) -> tuple[str, ...]:
        versions: dict[str, set[str]] = {}
        for package in self.locked.packages:
            versions.setdefault(package.name, set()).add(package.version)
        direct = {package.name for package in self.locked.packages if package.address}
        names = [name for name in self.locked.roots if name not in direct]
        return tuple(f"{name}=={next(iter(versions[name]))}" if len(versions[name]) == 1 else name for name in sorted(names))

    def _direct(self, package: LockedPackage) -> str:
        """Return the requirement of a package that is on no index; its code, if it lies here, is taken."""
        with self.faults.wrap(field="packages"):
            requirement = PipRequirement.parse(f"{package.name} @ {package.address}")
            if requirement.path is not None:
                self.local.take(requirement.path)
                found = next(source.digest for source in self.local.sources if source.path == requirement.path)
                if package.files and found not in package.files.values():
                    raise InvalidInput(f"`{requirement.path}` has the sha256 {found}, but {next(iter(package.files.values()))} in the lock file",
                                       code="locked_hash_differs", hint="`pixi lock` takes it as it is now, if that is meant")  # fmt: skip
            return str(requirement)
        return package.name

    def _note_environments(self) -> None:
        if others := [name for name in self.lock.environments if name != self.name]:
            self.ledger.note("dropped", "environments", f"this is `{self.name}`; the others are left out: {', '.join(others)}",
                             hint="`--environment NAME` takes one")  # fmt: skip
