"""The lock of a version on a platform: one function for every journey (semantics §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.definition.platform import get_platform, this_platform
from wardian.errors import Conflict, SolveFailed, WardianError
from wardian.events import Event, silent
from wardian.lock.solver import SolveRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.lock import Artifact, Lock
    from wardian.lock.solver import Solver
    from wardian.lock.store import LockStore
    from wardian.workspace.artifacts import Artifacts
    from wardian.workspace.locks import ChosenLock, Locks
    from wardian.workspace.version import EnvironmentVersion


@dataclass(frozen=True, slots=True)
class Locked:
    """The lock that a version uses: which, and whether this call solved it, adopted it or found it pinned."""

    chosen: ChosenLock
    origin: str  # pinned | workspace | machine | solved


class Locker:
    """Finds or makes the lock of a version.

    The first hit wins: the version's pin → the workspace's current lock of the hash → the machine's lock store →
    solve. Whatever is found is pinned to the version, with its origin; a pin never changes.

    Args:     solver: made when it comes to solving.  platforms: what is locked in one go beside the asked-for platform.
    """

    def __init__(
        self, *, locks: Locks, store: LockStore, solver: Callable[[], Solver], artifacts: Artifacts, platforms: Sequence[str], offline: bool,
        listener: Listener = silent,
    ):  # fmt: skip
        self._locks = locks
        self._store = store
        self._solver = solver
        self._artifacts = artifacts
        self._platforms = platforms
        self._offline = offline
        self._listener = listener

    def find(self, version: EnvironmentVersion, platform: Platform) -> Locked | None:
        """Return the lock that the version is pinned to, or None; contacts nothing, writes nothing."""
        chosen = self._locks.find_pin(version.id, platform.name)
        return Locked(chosen, "pinned") if chosen else None

    def ensure(
        self, version: EnvironmentVersion, platform: Platform, *, as_of: datetime | None = None, sources: Mapping[Digest, Path] | None = None,
        platforms: Sequence[Platform] = (),
    ) -> Locked:  # fmt: skip
        """Return the version's lock on ``platform``, solving only if nobody on this machine has.

        Args:     as_of: nothing published after this; only for a hash that has no lock yet.
                  sources: where local code lies.  platforms: instead of the configured ones, locked in the same go.
        Raises:   Conflict: ``as_of`` is given, but the hash has a lock already.  What ``Solver.solve`` raises.
        """
        pinned = self.find(version, platform)
        if pinned is not None and not self._missing(version, platforms):
            self._refuse_other_time(pinned.chosen, as_of, version)
            return pinned
        wanted = self._wanted(platform, platforms)
        first: Lock | None = None
        solver: Solver | None = None
        result: Locked | None = pinned
        for one in wanted:
            if (found := self._known(version, one)) is not None:
                lock, origin = found
                self._refuse_other_time_of(lock, as_of, version)
            else:
                solver = solver or self._solver()
                try:
                    lock = self._solve(solver, version.environment, one, first, as_of, sources or {})
                except WardianError as error:
                    if one == platform or one in platforms:
                        raise
                    self._listener(
                        Event(
                            "warning",
                            f"{one} is not locked: {error.message.splitlines()[0]}",
                            data={"platform": one.name, "error": error.as_document()},
                        )
                    )
                    continue
                origin = "solved"
            lock, pin, origin = self._adopt(version, lock, one, origin)
            if first is None:
                first = lock
            if one == platform and result is None:
                result = Locked(pin, origin)
        if result is None:
            raise SolveFailed(f"nothing was locked for {platform}")
        return result

    def _missing(self, version: EnvironmentVersion, platforms: Sequence[Platform]) -> bool:
        return any(self.find(version, one) is None for one in platforms)

    def _wanted(self, platform: Platform, platforms: Sequence[Platform]) -> list[Platform]:
        """Return the platforms to lock, this machine's first: what is solved first sets the versions of the others."""
        names = (
            [platform.name, *(p.name for p in platforms)]
            if platforms
            else [platform.name, this_platform().name, *self._platforms]
        )
        return [get_platform(name) for name in dict.fromkeys(names)]

    def _known(self, version: EnvironmentVersion, platform: Platform) -> tuple[Lock, str] | None:
        if (pin := self._locks.find_pin(version.id, platform.name)) is not None:
            return self._locks.get(pin.lock_digest, definition_hash=version.definition_hash), "pinned"
        if (current := self._locks.current(version.definition_hash, platform.name)) is not None:
            return self._locks.get(current.lock_digest, definition_hash=version.definition_hash), "workspace"
        lock = self._store.find_current(version.definition_hash, platform)
        return (lock, "machine") if lock is not None else None

    def _solve(self, solver: Solver, environment: Environment, platform: Platform, first: Lock | None, as_of: datetime | None,
               sources: Mapping[Digest, Path]) -> Lock:  # fmt: skip
        preferred: tuple[Artifact, ...] = first.artifacts if first else ()
        if first is not None and as_of is None:
            as_of = _moment(first.provenance.as_of or first.provenance.created)
        request = SolveRequest(environment, platform, preferred=preferred, as_of=as_of if first is None or first.provenance.as_of else None,
                               sources=sources, offline=self._offline)  # fmt: skip
        lock = solver.solve(request, self._listener)
        if first is not None:
            differing = _differences(first, lock)
            if differing:
                self._listener(
                    Event(
                        "notice",
                        f"{platform} differs: {', '.join(differing[:8])}",
                        data={"platform": platform.name, "differs": differing},
                    )
                )
        return lock

    def _adopt(self, version: EnvironmentVersion, lock: Lock, platform: Platform, origin: str) -> tuple[Lock, ChosenLock, str]:
        """Keep what cannot be fetched again, offer the lock to the machine, then pin: the pin is written last."""
        if origin == "solved":
            wheels = [
                p for a in lock.artifacts if (p := self._artifacts.find_file(a.installed_sha256, a.installed_file)) is not None
            ]
            winner = self._store.offer(lock, wheels)
            if winner.digest != lock.digest:  # another process was first: the loser adopts
                lock, origin = winner, "machine"
        for artifact in lock.artifacts:
            if artifact.built is not None or artifact.source == "workspace":
                self._keep_wheel(artifact)
        self._locks.put(lock)
        self._locks.ensure_current(version.definition_hash, platform.name, lock.digest, origin)
        pin = self._locks.pin(version.id, platform.name, lock.digest, origin)
        return lock, pin, origin

    def _keep_wheel(self, artifact: Artifact) -> None:
        if self._artifacts.find_file(artifact.installed_sha256, artifact.installed_file) is None:
            path = self._store.find_wheel(artifact.installed_sha256, artifact.installed_file)
            if path is not None:
                self._artifacts.keep(path)

    @staticmethod
    def _refuse_other_time(chosen: ChosenLock, as_of: datetime | None, version: EnvironmentVersion) -> None:
        if as_of is not None:
            raise Conflict(f"{version} is locked already, on {chosen.created[:10]}: a version is pinned for ever", code="already_locked",
                           hint=f"`wardian env upgrade {version.name or 'NAME'} --as-of …` adds a version with its own lock")  # fmt: skip

    @staticmethod
    def _refuse_other_time_of(lock: Lock, as_of: datetime | None, version: EnvironmentVersion) -> None:
        if as_of is not None and lock.provenance.as_of != as_of.strftime("%Y-%m-%dT%H:%M:%SZ"):
            raise Conflict(
                f"this definition is locked already (@{version.definition_hash.short}, {lock.provenance.created[:10]}), and everybody with it gets that lock",
                hint="`wardian env upgrade NAME --as-of …` adds a version with its own lock", code="already_locked",
            )  # fmt: skip


def _moment(text: str) -> datetime | None:
    from datetime import datetime as _datetime

    return _datetime.fromisoformat(text) if text else None


def _differences(first: Lock, second: Lock) -> list[str]:
    """Return the packages whose versions differ between two platforms, as `name 1.0 → 1.1`."""
    ours = {(a.kind == "conda", a.name): a.version for a in first.artifacts}
    theirs = {(a.kind == "conda", a.name): a.version for a in second.artifacts}
    return [f"{key[1]} {ours[key]} → {theirs[key]}" for key in sorted(ours.keys() & theirs.keys()) if ours[key] != theirs[key]]
