"""What the solvers need from the rooms after theirs, in their own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from wardian.digest import Digest


@dataclass(frozen=True, slots=True)
class Obtained:
    """An archive on this machine, verified: where, and what it is."""

    path: Path
    sha256: Digest
    size_bytes: int


class Archives(Protocol):
    """Verified archives on this machine, and where others are. Implemented by ``wardian.package``."""

    def obtain(
        self, urls: Sequence[str], file: str, *, kind: str, sha256: Digest | None, trusted: Collection[str] = ()
    ) -> Obtained:
        """Return the archive called ``file``, fetching it from the first of ``urls`` that has it.

        Args:     trusted: hosts (``HOST[:PORT]``) whose certificates are not checked.

        Raises:   BadArchive: not ``sha256``, or hostile.  NotFound, Denied, Unavailable: as ``Http.download``.
        """
        ...

    def note_location(self, sha256: Digest, url: str) -> None:
        """Remember where an archive was offered: a hint for a later fetch, never a truth."""
        ...


class WheelKeeper(Protocol):
    """Keeps what cannot be fetched again: wheels built here. Implemented by the workspace's artifacts."""

    def keep(self, path: Path) -> Digest:
        """Keep a copy of the file at ``path`` and return its digest. Idempotent, atomic."""
        ...


class Trees(Protocol):
    """Where the trees of local code lie."""

    def find(self, digest: Digest, origin: Mapping[Digest, Path]) -> Path | None:
        """Return the tree (or file) with this digest: one kept earlier, or the one at ``origin``; None if neither is there."""
        ...
