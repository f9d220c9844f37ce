"""What a lock file of another tool says: exact versions with the digests of their files, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.digest import Digest


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One version of a distribution, wanted where ``marker`` holds (empty: everywhere).

    Attributes:
        index: URL of the index that it is from; None: the default one.
        files: what may be installed: file name → sha256.
        depends: names of the distributions that it needs, as far as the file says.
    """

    name: str
    version: str
    marker: str
    index: str | None
    files: Mapping[str, Digest]
    depends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LockedPython:
    """The interpreter that a lock of ours names for one platform."""

    version: str
    build: str
    file: str
    sha256: Digest
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class LockedInput:
    """A whole lock file.

    Attributes:
        environments: markers, one of which holds wherever the file is meant for; empty: everywhere.
        pythons: by platform, where the file is one of ours.
    """

    packages: tuple[LockedPackage, ...]
    requires_python: str
    environments: tuple[str, ...]
    pythons: Mapping[str, LockedPython]

    @property
    def roots(self) -> tuple[str, ...]:
        """Names of what no other package needs; all, where the file does not say who needs what."""
        names = dict.fromkeys(package.name for package in self.packages)
        needed = {name for package in self.packages for name in package.depends if name != package.name}
        return tuple(name for name in names if name not in needed) or tuple(names)


def read_locked(path: Path) -> LockedInput:
    """Return what the lock file at ``path`` says.

    Raises:   InvalidDefinition: all its faults.
    """
    from wardian.formats import pylock
    from wardian.formats.source_text import read_source

    return pylock.parse(read_source(path), str(path))
