"""The lock of a version on a platform: one function for every journey (semantics §3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardian.definition.platform import get_platform, this_platform
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
    from wardian.lock.lock import Lock
    from wardian.lock.solver import Solver
    from wardian.tools.flight import Flight
    from wardian.workspace.builds import Builds, Recorder
    from wardian.workspace.lock_chain import LockChain
    from wardian.workspace.locks import ChosenLock, Locks
    from wardian.workspace.version import EnvironmentVersion


@dataclass(frozen=True, slots=True)
class Locked:
    """The lock that a version uses: which, and whether this call solved it, adopted it or found it pinned."""

    chosen: ChosenLock
    origin: str  # pinned | workspace | curated | machine | workspace registry | global registry | solved


class Locker:
    """Finds or makes the lock of a version.

    The first hit wins: the version's pin → the workspace's current lock of the hash → the catalogue → the machine's lock store → the workspace's
    registry → the global one → solve. Whatever is found is pinned to the version, with its origin; a pin never changes. A
    version that is pinned needs neither of ``chain``, ``solver`` and ``builds``, which are made when they are needed.

    Args:     chain: where a lock may be already.  builds: keeps a record of each solve.
              platforms: what is locked in one go beside the asked-for platform.
              flight: of those who want the same, one solves; the others see its log and share its error.
    """

    def __init__(
        self, *, locks: Locks, chain: Callable[[], LockChain], solver: Callable[[], Solver], builds: Callable[[], Builds],
        platforms: Sequence[str], offline: bool, flight: Callable[[str], Flight], listener: Listener = silent,
    ):  # fmt: skip
        self._locks = locks
        self._chain = chain
        self._solver = solver
        self._builds = builds
        self._platforms = platforms
        self._offline = offline
        self._flight = flight
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
        chain = self._chain()
        if as_of is None and all(chain.find_here(version, one) is not None for one in wanted):
            return self._lock_all(version, wanted, platform, platforms, None, {}, None)
        key = " ".join([version.definition_hash, str(as_of), *(one.name for one in wanted)])
        with self._flight(key).lead(self._listener, lambda: False) as listener, chain.single_flight(version.definition_hash):
            return self._lock_all(version, wanted, platform, platforms, as_of, sources or {}, listener)

    def _lock_all(
        self, version: EnvironmentVersion, wanted: Sequence[Platform], platform: Platform, asked: Sequence[Platform], as_of: datetime | None,
        sources: Mapping[Digest, Path], listener: Listener | None,
    ) -> Locked:  # fmt: skip
        known = {one.name: found for one in wanted if (found := self._chain().find(version, one)) is not None}
        for lock, _ in known.values():
            self._refuse_other_time_of(lock, as_of, version)
        result: Locked | None = None
        if len(known) == len(wanted):
            for one in wanted:
                pinned = self._adopt(version, known[one.name][0], one, known[one.name][1])[1]
                result = pinned if one == platform else result
        else:
            with self._builds().record("lock", str(version), version.definition_hash, listener or self._listener) as recorder:
                result = self._solve_all(version, wanted, platform, asked, known, as_of, sources, recorder)
        if result is None:
            raise SolveFailed(f"nothing was locked for {platform}")
        return result

    def _solve_all(
        self, version: EnvironmentVersion, wanted: Sequence[Platform], platform: Platform, asked: Sequence[Platform],
        known: Mapping[str, tuple[Lock, str]], as_of: datetime | None, sources: Mapping[Digest, Path], recorder: Recorder,
    ) -> Locked | None:  # fmt: skip
        """Lock ``wanted``, solving what is not ``known``; each is adopted when it is solved, so nothing of it is lost with the next."""
        earlier = next((lock for lock, _ in known.values()), None) or self._chain().find_any(version, wanted)
        first, solver, result = earlier, self._solver(), None
        for one in wanted:
            if one.name in known:
                lock, origin = known[one.name]
            else:
                try:
                    request = SolveRequest(version.for_new_use(), one, preferred=first.artifacts if first else (), jars=first.spark if first else (), as_of=as_of,
                                           sources=sources, offline=self._offline)  # fmt: skip
                    lock = self._solve_like(solver, request, earlier, recorder) if earlier else solver.solve(request, recorder)
                except WardianError as error:
                    if one == platform or one in asked or error.stable_code == "build_canceled":
                        raise
                    text = f"{one} is not locked: {error.message.splitlines()[0]}"
                    recorder(Event("warning", text, data={"platform": one.name, "error": error.as_document()}))
                    continue
                self._tell_differences(first, lock, recorder)
                origin = "solved"
            lock, pinned = self._adopt(version, lock, one, origin)
            recorder.outcome[one.name] = lock.digest
            first = first or lock
            if one == platform:
                result = pinned
        return result

    @staticmethod
    def _solve_like(solver: Solver, request: SolveRequest, earlier: Lock, listener: Listener) -> Lock:
        """Solve a platform that is added later: the versions of ``earlier`` are preferred, and its time is the as-of.

        An index that does not say when files were published knows no earlier time; then only the versions are preferred.
        """
        moment = _moment(earlier.provenance.as_of or earlier.provenance.created)
        try:
            return solver.solve(replace(request, as_of=moment), listener)
        except SolveFailed:
            found = solver.solve(request, listener)
        day = earlier.provenance.created[:10]
        listener(Event("notice", f"{request.platform} is locked as of now: as of {day} nothing fits there"))
        return found

    @staticmethod
    def _tell_differences(first: Lock | None, lock: Lock, listener: Listener) -> None:
        differing = _differences(first, lock) if first is not None else []
        if differing:
            text = f"{lock.platform} differs: {', '.join(differing[:8])}"
            listener(Event("notice", text, data={"platform": lock.platform, "differs": differing}))

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

    def _adopt(self, version: EnvironmentVersion, lock: Lock, platform: Platform, origin: str) -> tuple[Lock, Locked]:
        """Tell the others, keep what cannot be fetched again, then pin: the pin is written last."""
        lock, origin = self._chain().offer(lock, origin)
        self._locks.put(lock)
        self._locks.ensure_current(version.definition_hash, platform.name, lock.digest, origin)
        try:
            pin = self._locks.pin(version.id, platform.name, lock.digest, origin)
        except Conflict:  # another process pinned this version meanwhile
            there = self._locks.find_pin(version.id, platform.name)
            if there is None:
                raise
            pin, lock, origin = there, self._locks.get(there.lock_digest, definition_hash=version.definition_hash), "pinned"
        return lock, Locked(pin, origin)

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
