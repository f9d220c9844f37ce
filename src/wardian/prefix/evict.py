"""Keeps the caches below their limit: least recently used first, nothing that a run holds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.tools.disk import empty_trash, tree_size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wardian.package.store import PackageStore
    from wardian.prefix.cache import PrefixCache


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that can be removed: what, since when it was not used (seconds since the epoch), bytes on disk."""

    kind: str  # prefix | unfinished | package
    name: str
    used: float
    size_bytes: int

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": self.kind, "name": self.name, "used": int(self.used), "size_bytes": self.size_bytes}


def plan_eviction(prefixes: PrefixCache, packages: PackageStore, *, limit_bytes: int) -> tuple[list[Candidate], int]:
    """Return what would go, in that order, and the bytes in use now. Nothing is changed.

    Unfinished prefixes go first, then the least recently used prefixes and archives until the rest is at most
    ``limit_bytes``. A standalone Python goes only after the prefixes that need it.
    """
    candidates: list[Candidate] = []
    needed_since: dict[str, float] = {}
    total = 0
    rows = list(prefixes.entries())
    for _, ready, used, _ in rows:
        for name in ready.requires if ready else ():
            needed_since[name] = max(needed_since.get(name, 0.0), used)
    for name, ready, used, size in rows:
        total += size
        if ready is None:
            candidates.append(Candidate("unfinished", name, 0.0, size))
        else:
            candidates.append(Candidate("prefix", name, max(used, needed_since.get(name, 0.0) + 1e-3), size))
    for sha256, used, size in packages.entries():
        total += size
        candidates.append(Candidate("package", sha256, used, size))
    chosen: list[Candidate] = []
    left = total
    for candidate in sorted(candidates, key=lambda c: c.used):
        if candidate.kind != "unfinished" and left <= limit_bytes:
            break
        chosen.append(candidate)
        left -= candidate.size_bytes
    return chosen, total


def evict(chosen: list[Candidate], prefixes: PrefixCache, packages: PackageStore, on_removed: Callable[[Candidate], None]) -> int:
    """Remove ``chosen``; return the bytes freed. What a run holds, or another process installs, stays."""
    freed = 0
    for candidate in chosen:
        if candidate.kind == "package":
            from wardian.digest import Digest

            packages.remove(Digest(candidate.name))
        elif not prefixes.remove(candidate.name):
            continue
        freed += candidate.size_bytes
        on_removed(candidate)
    prefixes.empty_trash()
    empty_trash(packages.root / "trash")
    return freed


def clear_tool_cache(directory: Path) -> int:
    """Remove a tool's own cache (uv's, rattler's); return the bytes freed. Prefixes keep their files: they are links."""
    size = tree_size_bytes(directory) if directory.is_dir() else 0
    shutil.rmtree(directory, ignore_errors=True)
    return size
