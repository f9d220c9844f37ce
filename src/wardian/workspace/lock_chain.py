"""Where the lock of a definition may be already, the nearest first, and who is told of a new one (semantics §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.platform import PLATFORMS, get_platform
from wardian.errors import Denied
from wardian.events import Event, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.curated.catalogue import Catalogue
    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.lock import Lock
    from wardian.lock.store import LockStore, SharedLocks
    from wardian.workspace.artifacts import Artifacts
    from wardian.workspace.locks import Locks
    from wardian.workspace.version import EnvironmentVersion


class LockChain:
    """Asks one after the other: the version's pin → this workspace → the catalogue → this machine → the workspace's registry → the global one.

    A place that cannot say is an error, never "not there": else a definition would get two locks.

    Args:     catalogue: the curated environments; None: there are none.
              shared: the registries, made when they are first asked; none when offline, or where none is configured.
    """

    def __init__(
        self, *, locks: Locks, machine: LockStore, shared: Callable[[], Sequence[SharedLocks]], artifacts: Artifacts,
        catalogue: Callable[[], Catalogue] | None = None, listener: Listener = silent,
    ):  # fmt: skip
        self._locks = locks
        self._machine = machine
        self._shared = shared
        self._artifacts = artifacts
        self._catalogue = catalogue
        self._listener = listener

    # -- look ----------------------------------------------------------------------------------------------------------

    def find_here(self, version: EnvironmentVersion, platform: Platform) -> tuple[Lock, str] | None:
        """Return the version's lock and where it is from (``pinned`` | ``workspace`` | ``curated`` | ``machine``), or None; contacts nothing."""
        if (pin := self._locks.find_pin(version.id, platform.name)) is not None:
            return self._locks.get(pin.lock_digest, definition_hash=version.definition_hash), "pinned"
        if (current := self._locks.current(version.definition_hash, platform.name)) is not None:
            return self._locks.get(current.lock_digest, definition_hash=version.definition_hash), "workspace"
        if (
            self._catalogue is not None
            and (curated := self._catalogue().find_lock(version.definition_hash, platform)) is not None
        ):
            return curated[0], "curated"
        lock = self._machine.find_current(version.definition_hash, platform)
        return (lock, "machine") if lock is not None else None

    def find(self, version: EnvironmentVersion, platform: Platform) -> tuple[Lock, str] | None:
        """Return the version's lock and where it is from, asking the registries if it is not here; None: it is to be solved.

        Raises:   Unavailable, Denied: a registry cannot say.  InvalidImage: it holds something else under that tag.
        """
        if (found := self.find_here(version, platform)) is not None:
            return found
        for place in self._shared():
            if (lock := place.store.find_current(version.definition_hash, platform)) is not None:
                return lock, place.origin
        return None

    def find_any(self, version: EnvironmentVersion, but: Sequence[Platform]) -> Lock | None:
        """Return a lock of the same definition for whatever platform; ``but``: these were asked for already."""
        for pin in self._locks.pins(version.id):
            return self._locks.get(pin.lock_digest, definition_hash=version.definition_hash)
        others = [one for one in PLATFORMS.values() if one not in but]
        for look in (self.find_here, self.find):
            for one in others:
                if (found := look(version, one)) is not None:
                    return found[0]
        return None

    def single_flight(self, definition_hash: Digest) -> AbstractContextManager[object]:
        """Keep other processes of this machine from solving the same definition while the block runs; they wait."""
        return self._machine.single_flight(definition_hash, self._listener)

    # -- tell ----------------------------------------------------------------------------------------------------------

    def offer(self, lock: Lock, origin: str) -> tuple[Lock, str]:
        """Tell the workspace's registry, then this machine of a lock; return the one that holds now, and where it is from.

        What was solved is offered to the registry; where somebody was first, theirs holds. What was found somewhere is told to
        the places that are nearer. What was built for the lock goes with it, and stays in this workspace.

        Raises:   Unavailable: the registry does not answer; nobody was told anything then.
        """
        if origin == "solved":
            for place in self._shared():
                if place.takes:
                    winner = self._offer_to(place, lock)
                    if winner.digest != lock.digest:
                        lock, origin = winner, place.origin
        if origin not in ("pinned", "workspace", "curated", "machine"):
            nearer = self._machine.offer(lock, self._wheels(lock))
            if nearer.digest != lock.digest:
                lock, origin = nearer, "machine"
        self._keep_wheels(lock)
        return lock, origin

    def move(self, lock: Lock) -> None:
        """Make ``lock`` the current one of its definition everywhere but in this workspace: the registry first, then this machine.

        Raises:   Unavailable: the registry does not answer; nothing has moved then.
        """
        for place in self._shared():
            if place.takes:
                try:
                    place.store.move(lock, self._wheels(lock))
                except Denied as error:
                    self._not_shared(place, lock, error)
        self._machine.move(lock, self._wheels(lock))

    def _offer_to(self, place: SharedLocks, lock: Lock) -> Lock:
        try:
            return place.store.offer(lock, self._wheels(lock))
        except Denied as error:  # it may be read: it was, a moment ago
            self._not_shared(place, lock, error)
            return lock

    def _not_shared(self, place: SharedLocks, lock: Lock, error: Denied) -> None:
        text = f"the lock {lock.digest.short} is not shared: {place.name} may be read, not written: {error.message}"
        self._listener(Event("warning", text, data={"lock_digest": lock.digest, "error": error.as_document()}))

    def bring_wheel(self, lock: Lock, sha256: Digest, file: str) -> Path | None:
        """Return a wheel that was built for ``lock``, from wherever that lock is with it; None: nobody has it.

        Raises:   Unavailable, Denied: a registry cannot say.
        """
        if (kept := self._find_wheel(sha256, file)) is not None:
            return kept
        for place in self._shared():
            found = place.store.find_current(lock.provenance.definition_hash, get_platform(lock.platform))
            if found is not None and (path := place.store.find_wheel(sha256, file)) is not None:
                return path
        return None

    # -- wheels --------------------------------------------------------------------------------------------------------

    def _wheels(self, lock: Lock) -> list[Path]:
        found = (self._find_wheel(a.installed_sha256, a.installed_file) for a in lock.artifacts if a.is_in_no_index)
        return [path for path in found if path is not None]

    def _keep_wheels(self, lock: Lock) -> None:
        for path in self._wheels(lock):
            if not path.is_relative_to(self._artifacts.root):
                self._artifacts.keep(path)

    def _find_wheel(self, sha256: Digest, file: str) -> Path | None:
        if (kept := self._artifacts.find_file(sha256, file) or self._machine.find_wheel(sha256, file)) is not None:
            return kept
        return next((path for place in self._shared() if (path := place.store.find_wheel(sha256, file)) is not None), None)
