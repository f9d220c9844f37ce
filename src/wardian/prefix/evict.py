"""Keeps the caches below their limit: leftovers first, then what was used least recently; nothing that a run holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wardian.digest import Digest
from wardian.prefix.disk_use import DiskUse
from wardian.prefix.wheel_files import WHEEL_FILES, forget
from wardian.tools.disk import empty_trash, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from wardian.package.store import PackageStore
    from wardian.prefix.cache import PrefixCache

STALE_AFTER_S = 86_400.0  # a temporary file older than this belongs to nobody
LEFTOVERS = ("unfinished", "trash", "temporary", "staging", "flight", "unpacking", "unfinished-layer", "unfinished-model",
             "unfinished-agent")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that can be removed.

    Attributes:
        kind: ``unfinished`` (a prefix that nobody installs any more) | ``trash`` | ``temporary`` | ``tool`` (the cache of uv or
            rattler) | ``prefix`` | ``package``, or one of ``Beside``.
        name: directory name or digest.
        used: when it was used last, seconds since the epoch; 0: not known.
        size_bytes: what removing it gives back, after those that go before it.
        note: what it is, for people.
    """

    kind: str
    name: str
    path: Path
    used: float
    size_bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class EvictionPlan:
    """What would go, in that order.

    Attributes:
        kept: prefixes that runs hold now: they stay, whatever the limit.
        used_bytes: what the caches take now.
        installing: an installation is under way: archives and tool caches stay.
    """

    chosen: tuple[Candidate, ...]
    kept: tuple[str, ...]
    used_bytes: int
    limit_bytes: int
    installing: bool

    @property
    def freed_bytes(self) -> int:
        """What removing all of it gives back."""
        return sum(candidate.size_bytes for candidate in self.chosen)


class Beside(Protocol):
    """Something else on this machine that counts to the limit, and what of it can go. What cannot is ``kept``."""

    kinds: tuple[str, ...]

    def candidates(self) -> Iterable[Candidate]:
        """Return what can go, its size not measured yet; leftovers always go, the rest by last use."""
        ...

    def kept(self) -> Iterable[Path]:
        """Return the files that stay."""
        ...

    def remove(self, candidate: Candidate) -> bool:
        """Remove one, unless it is in use by now; return whether it is gone."""
        ...


def plan_eviction(
    prefixes: PrefixCache,
    packages: PackageStore,
    *,
    limit_bytes: int,
    now: float,
    tools: Mapping[str, Path] | None = None,
    trash: Sequence[Path] = (),
    spared_since: float | None = None,
    beside: Sequence[Beside] = (),
) -> EvictionPlan:
    """Return what would go. Nothing is changed.

    Leftovers of killed processes always go. If the rest takes more than ``limit_bytes``, the caches of the tools go, which only save
    time and keep the files of removed prefixes alive; then the least recently used prefixes and archives, until it fits. A
    standalone Python goes only after the prefixes that need it.

    Args:     now: seconds since the epoch.  tools: directories that uv and rattler keep for themselves, by name.
              trash: directories of removed trees that are still to be deleted.
              spared_since: prefixes and archives used at this time or later stay; None: only what runs hold.
              beside: what else there is.
    """
    found = _Found(prefixes, packages, now, spared_since)
    found.leftovers(trash)
    found.prefixes()
    found.packages()
    for one in beside:
        found.beside(one)
    found.tools(tools or {})  # last: what was found in one of them is measured there no more
    return found.plan(limit_bytes)


class _Found:
    """What is there, measured once."""

    def __init__(self, prefixes: PrefixCache, packages: PackageStore, now: float, spared_since: float | None):
        self._spared_since = spared_since
        self._prefixes = prefixes
        self._packages = packages
        self._now = now
        self._use = DiskUse()
        self._installing = prefixes.is_installing()
        self._sure: list[Candidate] = []
        self._tools: list[Candidate] = []
        self._aging: list[Candidate] = []
        self._kept: list[str] = []
        self._busy = frozenset({"package"})  # kinds that installations may be about to read

    def _candidate(self, kind: str, path: Path, used: float, note: str = "") -> Candidate:
        self._use.add(os.fspath(path), path)
        return Candidate(kind, path.name, path, used, 0, note)

    def leftovers(self, trash: Sequence[Path]) -> None:
        for place in trash:
            if place.is_dir() and any(place.iterdir()):
                self._sure.append(self._candidate("trash", place, 0.0, f"of {place.parent}"))
        temporary = self._packages.root / "tmp"
        for path in sorted(temporary.iterdir()) if temporary.is_dir() else ():
            used = _changed(path)
            if used < self._now - STALE_AFTER_S:
                self._sure.append(self._candidate("temporary", path, used, "a download that was broken off"))
            else:
                self._use.add(os.fspath(path), path)

    def tools(self, directories: Mapping[str, Path]) -> None:
        for name, path in directories.items():
            if path.is_dir():
                self._tools.append(self._candidate("tool", path, _changed(path), f"cache of {name}"))

    def prefixes(self) -> None:
        rows = list(self._prefixes.entries())
        needed_since: dict[str, float] = {}
        for _, ready, used in rows:
            for name in ready.requires if ready else ():
                needed_since[name] = max(needed_since.get(name, 0.0), used)
        for name, ready, used in rows:
            path = self._prefixes.root / name
            if ready is None:
                candidate = self._candidate("unfinished", path, used, "an installation that was broken off")
                if not self._prefixes.installing(name):
                    self._sure.append(candidate)
                continue
            what = (
                f"Python {ready.facts['python']}" if "python" in ready.facts else f"{ready.facts.get('packages', '?')} packages"
            )
            candidate = self._candidate("prefix", path, max(used, needed_since.get(name, 0.0) + 1e-3), what)
            if self._prefixes.use_lock(name).is_held():
                self._kept.append(name)
            else:
                self._aging.append(candidate)

    def packages(self) -> None:
        for sha256, used in self._packages.entries():
            path = self._packages.root / sha256
            file = _first_name(path)
            self._aging.append(self._candidate("package", path, used, file))

    def beside(self, other: Beside) -> None:
        for path in other.kept():
            self._use.add(os.fspath(path), path)
        for candidate in other.candidates():
            self._use.add(os.fspath(candidate.path), candidate.path)
            (self._sure if candidate.kind in LEFTOVERS else self._aging).append(candidate)
            self._busy |= frozenset({candidate.kind}) - frozenset(LEFTOVERS)

    def plan(self, limit_bytes: int) -> EvictionPlan:
        total = left = self._use.total_bytes
        chosen: list[Candidate] = []
        optional = [*([] if self._installing else self._tools), *sorted(self._aging, key=lambda c: c.used)]
        for candidate in (*self._sure, *optional):
            if candidate.kind not in LEFTOVERS and left <= limit_bytes:
                break
            if candidate.kind in self._busy and self._installing:
                continue
            if (
                self._spared_since is not None
                and candidate.kind in ("prefix", *self._busy)
                and candidate.used >= self._spared_since
            ):
                continue
            freed = self._use.release(os.fspath(candidate.path))
            left -= freed
            chosen.append(Candidate(candidate.kind, candidate.name, candidate.path, candidate.used, freed, candidate.note))
        return EvictionPlan(tuple(chosen), tuple(self._kept), total, limit_bytes, self._installing)


def _changed(path: Path) -> float:
    """Return when ``path`` was changed; 0: another clean-up has removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _first_name(directory: Path) -> str:
    try:
        return next((entry.name for entry in directory.iterdir()), "")
    except FileNotFoundError:
        return ""


def evict(
    plan: EvictionPlan, prefixes: PrefixCache, packages: PackageStore, *, clear_tool: Callable[[Path], bool],
    on_removed: Callable[[Candidate], None], beside: Sequence[Beside] = (),
) -> int:  # fmt: skip
    """Remove what ``plan`` chose; return the bytes freed. What a run holds by now, or was used since, stays.

    Args:     clear_tool: removes a tool's cache; says whether it is gone.
    """
    freed = 0
    others = {kind: one for one in beside for kind in one.kinds}
    for candidate in plan.chosen:
        if other := others.get(candidate.kind):
            gone = other.remove(candidate)
        else:
            gone = _remove(candidate, prefixes, packages, clear_tool)
        if gone:
            freed += candidate.size_bytes
            on_removed(candidate)
    return freed


def _remove(candidate: Candidate, prefixes: PrefixCache, packages: PackageStore, clear_tool: Callable[[Path], bool]) -> bool:
    if candidate.kind in ("prefix", "unfinished"):
        return prefixes.remove(candidate.name)
    if candidate.kind == "trash":
        empty_trash(candidate.path)
        return True
    if candidate.kind == "temporary":
        remove_tree(candidate.path, packages.root / "trash")
        return True
    if prefixes.is_installing():  # it may be about to read archives or unpacked packages
        return False
    if candidate.kind == "tool":
        return clear_tool(candidate.path)
    try:
        if candidate.path.stat().st_mtime > candidate.used:  # somebody has found it since: it is about to be installed
            return False
    except FileNotFoundError:
        return False
    packages.remove(Digest(candidate.name))
    forget(prefixes.root.parent / WHEEL_FILES, candidate.name)
    return True
