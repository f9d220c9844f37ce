"""The machine's locks: found by definition hash and platform, shared by every workspace on it (ADR 0012)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wardian.digest import Digest
from wardian.errors import InvalidDigest
from wardian.events import Event
from wardian.lock.lock import Lock, UnreadableLock
from wardian.small_file import NoSmallFile, read_small
from wardian.tools.disk import FileLock, atomic_writer, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.definition.platform import Platform
    from wardian.events import Listener


class LockStore(Protocol):
    """Locks by digest, and the current one of each (definition hash, platform). Contract: tests/contracts/test_lock_store.py."""

    def find_current(self, definition_hash: Digest, platform: Platform) -> Lock | None:
        """Return the lock that a newcomer with this hash gets, or None."""
        ...

    def offer(self, lock: Lock, wheels: Iterable[Path]) -> Lock:
        """Make ``lock`` the current one of its hash and platform if there is none; return the one that is current now.

        Atomic between processes: one of several offers wins, the others get the winner. ``wheels`` (built here, in no
        index) are kept beside it first.
        """
        ...

    def move(self, lock: Lock, wheels: Iterable[Path] = ()) -> None:
        """Make ``lock`` the current one, whatever was. ``wheels`` as of ``offer``."""
        ...

    def find_wheel(self, sha256: Digest, file: str) -> Path | None:
        """Return a built wheel that came with a lock, or None."""
        ...

    def single_flight(self, definition_hash: Digest, listener: Listener) -> AbstractContextManager[object]:
        """Keep other processes from solving the same definition while the block runs; they wait."""
        ...


@dataclass(frozen=True, slots=True)
class SharedLocks:
    """A lock store outside of this machine.

    Attributes:
        origin: what a pin says of a lock that was found there: ``workspace registry``, ``global registry``.
        name: the place, for people.  takes: whether what is solved here is offered to it.
    """

    store: LockStore
    origin: str
    name: str
    takes: bool


class DirectoryLockStore:
    """Locks in a directory: ``blobs/sha256/<sha256 of the file>`` and ``tags/d-<hash>-<os>-<arch>``, which holds such a digest."""

    def __init__(self, root: Path):
        self._root = root

    def find_current(self, definition_hash: Digest, platform: Platform) -> Lock | None:
        """See ``LockStore``. A damaged entry counts as none: the solve that follows replaces it."""
        try:
            digest = Digest(read_small(self._tag(definition_hash, platform)).decode().strip())
            content = read_small(self._root / "blobs" / "sha256" / digest)
            if Digest.of(content) != digest:
                return None
            return Lock.from_json(content.decode())
        except (FileNotFoundError, NoSmallFile):
            return None
        except (UnreadableLock, InvalidDigest, ValueError) as error:
            if isinstance(error, UnreadableLock) and error.stable_code == "newer_lock_schema":
                raise
            return None

    def offer(self, lock: Lock, wheels: Iterable[Path]) -> Lock:
        """See ``LockStore``."""
        from wardian.definition.platform import get_platform

        platform = get_platform(lock.platform)
        with FileLock(self._root / "locks" / f"{lock.provenance.definition_hash}.lock"):
            current = self.find_current(lock.provenance.definition_hash, platform)
            if current is not None:
                return current
            for wheel in wheels:
                self._keep(wheel)
            self._write(lock, platform)
        return lock

    def move(self, lock: Lock, wheels: Iterable[Path] = ()) -> None:
        """See ``LockStore``."""
        from wardian.definition.platform import get_platform

        with FileLock(self._root / "locks" / f"{lock.provenance.definition_hash}.lock"):
            for wheel in wheels:
                self._keep(wheel)
            self._write(lock, get_platform(lock.platform))

    def find_wheel(self, sha256: Digest, file: str) -> Path | None:
        """See ``LockStore``."""
        path = self._root / "wheels" / sha256 / file
        return path if path.exists() else None

    def single_flight(self, definition_hash: Digest, listener: Listener) -> AbstractContextManager[object]:
        """See ``LockStore``."""
        lock = FileLock(self._root / "locks" / f"{definition_hash}.solve")
        lock.acquire(on_wait=lambda holder: listener(Event("phase", f"waiting for {holder}, which solves the same definition")))
        return lock

    def _keep(self, wheel: Path) -> None:
        target = self._root / "wheels" / Digest.of_file(wheel) / wheel.name
        if not target.exists():
            with wheel.open("rb") as source, atomic_writer(target) as stream:
                shutil.copyfileobj(source, stream)

    def _write(self, lock: Lock, platform: Platform) -> None:
        # by its content, not by its lock_digest: two definitions may have one lock, each with a provenance of its own
        content = lock.to_json().encode()
        digest = Digest.of(content)
        # written even if it is there: what is there may be damaged, and was taken for none
        write_atomically(self._root / "blobs" / "sha256" / digest, content)
        write_atomically(self._tag(lock.provenance.definition_hash, platform), digest.encode())

    def _tag(self, definition_hash: Digest, platform: Platform) -> Path:
        return self._root / "tags" / f"d-{definition_hash}-{platform.name.replace('/', '-')}"

    def wheels(self) -> list[str]:
        """Return the digests of the built wheels that are kept."""
        place = self._root / "wheels"
        return sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
