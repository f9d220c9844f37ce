"""The lock of a version on a platform: one function for every journey (semantics §3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardian.definition.platform import PLATFORMS, get_platform, this_platform
from wardian.errors import Conflict, SolveFailed, WardianError
from wardian.events import Event, silent
from wardian.lock.solver import SolveRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

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
        if as_of is None and all(self._known(version, one) is not None for one in wanted):
            return self._lock_all(version, wanted, platform, platforms, None, {})
        with self._store.single_flight(version.definition_hash, self._listener):
            return self._lock_all(version, wanted, platform, platforms, as_of, sources or {})

    def _lock_all(
        self, version: EnvironmentVersion, wanted: Sequence[Platform], platform: Platform, asked: Sequence[Platform], as_of: datetime | None,
        sources: Mapping[Digest, Path],
    ) -> Locked:  # fmt: skip
        known = {one.name: found for one in wanted if (found := self._known(version, one)) is not None}
        for lock, _ in known.values():
            self._refuse_other_time_of(lock, as_of, version)
        earlier = next((lock for lock, _ in known.values()), None) or self._any_lock(version)
        first = earlier
        solver: Solver | None = None
        result: Locked | None = None
        for one in wanted:
            if one.name in known:
                lock, origin = known[one.name]
            else:
                solver = solver or self._solver()
                request = SolveRequest(version.environment, one, preferred=first.artifacts if first else (), as_of=as_of, sources=sources,
                                       offline=self._offline)  # fmt: skip
                try:
                    lock = self._solve_like(solver, request, earlier) if earlier else solver.solve(request, self._listener)
                except WardianError as error:
                    if one == platform or one in asked:
                        raise
                    text = f"{one} is not locked: {error.message.splitlines()[0]}"
                    self._listener(Event("warning", text, data={"platform": one.name, "error": error.as_document()}))
                    continue
                self._tell_differences(first, lock)
                origin = "solved"
            lock, pin, origin = self._adopt(version, lock, one, origin)
            first = first or lock
            if one == platform:
                result = Locked(pin, origin)
        if result is None:
            raise SolveFailed(f"nothing was locked for {platform}")
        return result

    def _solve_like(self, solver: Solver, request: SolveRequest, earlier: Lock) -> Lock:
        """Solve a platform that is added later: the versions of ``earlier`` are preferred, and its time is the as-of.

        An index that does not say when files were published knows no earlier time; then only the versions are preferred.
        """
        moment = _moment(earlier.provenance.as_of or earlier.provenance.created)
        try:
            return solver.solve(replace(request, as_of=moment), self._listener)
        except SolveFailed:
            found = solver.solve(request, self._listener)
        self._listener(
            Event(
                "notice", f"{request.platform} is locked as of now: as of {earlier.provenance.created[:10]} nothing fits there"
            )
        )
        return found

    def _any_lock(self, version: EnvironmentVersion) -> Lock | None:
        """Return a lock of the same definition on whatever platform, if there is one."""
        for pin in self._locks.pins(version.id):
            return self._locks.get(pin.lock_digest, definition_hash=version.definition_hash)
        for one in PLATFORMS.values():
            if (found := self._known(version, one)) is not None:
                return found[0]
        return None

    def _tell_differences(self, first: Lock | None, lock: Lock) -> None:
        differing = _differences(first, lock) if first is not None else []
        if differing:
            text = f"{lock.platform} differs: {', '.join(differing[:8])}"
            self._listener(Event("notice", text, data={"platform": lock.platform, "differs": differing}))

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
        try:
            pin = self._locks.pin(version.id, platform.name, lock.digest, origin)
        except Conflict:  # another process pinned this version meanwhile
            there = self._locks.find_pin(version.id, platform.name)
            if there is None:
                raise
            pin, lock, origin = there, self._locks.get(there.lock_digest, definition_hash=version.definition_hash), "pinned"
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
