"""What a lock file of another tool says: exact versions with the digests of their files, as plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.digest import Digest

LIMIT_BYTES = 16 << 20  # of a lock file's text: they are longer than what people write


@dataclass(frozen=True, slots=True)
class Need:
    """That a package is wanted: its place among ``LockedInput.packages``, its extras, and where (``marker``, empty: everywhere)."""

    package: int
    extras: tuple[str, ...] = ()
    marker: str = ""


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One version of a distribution, wanted where ``marker`` holds (empty: everywhere).

    Attributes:
        index: URL of the index that it is from; None: the default one.
        files: what may be installed: file name → sha256; empty for source code that is no archive.
        depends: names of the distributions that it needs, as far as the file says.
        address: what stands behind the ``@`` of its requirement, if it is on no index.
        is_installed: false for what only stands for its dependencies.
        needs, of_extras: what it needs, and what each of its extras adds, where the file says it as a graph.
    """

    name: str
    version: str
    marker: str
    index: str | None
    files: Mapping[str, Digest]
    depends: tuple[str, ...]
    address: str = ""
    is_installed: bool = True
    needs: tuple[Need, ...] = ()
    of_extras: Mapping[str, tuple[Need, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LockedPython:
    """The interpreter that a lock of ours names for one platform."""

    version: str
    build: str
    file: str
    sha256: Digest
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class LockedConda:
    """One conda package of a lock file: what its channel's repodata said of it. ``milliseconds``: when it was made, since 1970."""

    name: str
    version: str
    build: str
    build_number: int
    subdir: str
    file: str
    channel: str
    sha256: Digest
    size_bytes: int | None = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: str = ""
    license: str = ""
    milliseconds: int | None = None
    site_packages_path: str = ""


@dataclass(frozen=True, slots=True)
class LockedPlatform:
    """What a lock file wants on one platform."""

    conda: tuple[LockedConda, ...]
    packages: tuple[LockedPackage, ...]


@dataclass(frozen=True, slots=True)
class LockedInput:
    """A whole lock file.

    Attributes:
        environments: markers, one of which holds wherever the file is meant for; empty: everywhere.
        pythons: by platform, where the file is one of ours.
        start: what is asked for, where the file is a graph; None: the markers of ``packages`` say what is wanted.
        platforms: what is wanted by platform, where the file lists that; ``packages`` are those of all then.
        indexes: URLs of the indexes that packages may be from that do not say which.
    """

    packages: tuple[LockedPackage, ...]
    requires_python: str
    environments: tuple[str, ...]
    pythons: Mapping[str, LockedPython]
    start: tuple[Need, ...] | None = None
    platforms: Mapping[str, LockedPlatform] | None = None
    indexes: tuple[str, ...] = ()

    @property
    def roots(self) -> tuple[str, ...]:
        """Names of what is asked for; where the file does not say: of what no other package needs, else of all."""
        if self.start is not None:
            return tuple(dict.fromkeys(self.packages[need.package].name for need in self.start))
        names = dict.fromkeys(package.name for package in self.packages)
        needed = {name for package in self.packages for name in package.depends if name != package.name}
        return tuple(name for name in names if name not in needed) or tuple(names)

    def reachable(self) -> tuple[int, ...]:
        """Return the places of the packages that are wanted anywhere, whatever markers say; in the order of the graph."""
        if self.start is None:
            return tuple(range(len(self.packages)))
        seen: dict[tuple[int, str], None] = {}
        todo = [*reversed(self.start)]
        while todo:
            need = todo.pop()
            package = self.packages[need.package]
            for extra in ("", *need.extras):
                if (need.package, extra) not in seen:
                    seen[need.package, extra] = None
                    todo += reversed(package.of_extras.get(extra, ()) if extra else package.needs)
        return tuple(dict.fromkeys(place for place, _ in seen))


def index_options(indexes: Sequence[str | None]) -> tuple[str, ...]:
    """Return pip's options for the indexes of locked packages, in order; None and the default one by its usual URL need none."""
    from wardian.definition.well_known import is_default_index

    named = list(dict.fromkeys(None if url is None or is_default_index(url) else url for url in indexes))
    first = "--extra-index-url" if None in named else "--index-url"
    urls = [url for url in named if url is not None]
    return tuple(f"{'--extra-index-url' if i else first} {url}" for i, url in enumerate(urls))


def not_edited(names: Sequence[str]) -> InvalidInput:
    """Return the error for packages that are to be added to a lock file, or taken out of one."""
    return InvalidInput(f"{', '.join(names)}: the packages of this environment are those of a lock file", code="locked_input",
                        hint="lock anew with the tool that wrote it, and create from the new file")  # fmt: skip


def read_locked(path: Path) -> LockedInput:
    """Return what the lock file at ``path`` says.

    Raises:   InvalidDefinition: all its faults.
    """
    from wardian.formats import pixi_lock_text, pylock, uv_lock_graph
    from wardian.formats.source_text import read_source

    text = read_source(path, limit_bytes=LIMIT_BYTES)
    if re.search(r"^lock-version\s*=", text, re.MULTILINE):
        return pylock.parse(text, str(path))
    if re.search(r"^version:", text, re.MULTILINE):
        return pixi_lock_text.parse(text, str(path))
    return uv_lock_graph.parse(text, str(path))
