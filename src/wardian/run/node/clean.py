"""What a node directory could give back: agents, archives, images and prefixes that no run needs, and that nobody has asked for lately."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.errors import WardianError
from wardian.lock.lock import Lock
from wardian.run.node.sheet import AGENTS, ENDED, IMAGES, LOCK, PACKAGES, RUNS, SHEET, USES, read_uses
from wardian.small_file import read_small
from wardian.tools.disk import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.prefix.evict import Candidate, EvictionPlan
    from wardian.run.node.prepare import NodeParts

SHORTEST_S = 3600.0  # between what a submitter finds there, and the run that says that it needs it, this much may lie
_KINDS = {AGENTS: "agent", PACKAGES: "archive", IMAGES: "image"}
_TRASH = ".trash"


@dataclass
class Live:
    """Runs that have not ended, by what lies in the node directory.

    Attributes:
        names: of their directories.  silent: of those that do not say what they need: while there is one, nothing goes.
        uses: paths below the root.  since: when the first of them was submitted.
    """

    names: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    since: float | None = None


def live_runs(root: Path) -> Live:
    """Look at all runs of a node directory: those of every workspace that submits there."""
    found = Live()
    directory = root / RUNS
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir() or (path / ENDED).exists():
            continue
        began = _changed(path / SHEET) or _changed(path)
        found.names.append(path.name)
        found.since = began if found.since is None else min(found.since, began)
        try:
            found.uses.update(read_uses(path / USES))
            if (path / LOCK).exists():
                lock = Lock.from_json(read_small(path / LOCK).decode())
                found.uses.update(f"{PACKAGES}/{one.installed_sha256}" for one in lock.artifacts)
        except (OSError, WardianError, UnicodeDecodeError):
            if path.is_dir():  # else it came home meanwhile
                found.silent.append(path.name)
    return found


def clean(root: Path, parts: NodeParts, *, older_than_s: float, now: float, apply: bool) -> dict[str, Any]:
    """Return what could go, or has gone, as JSON values. Nothing that a run needs goes, whoever submitted it.

    Args:     parts: of the cache of this node.  older_than_s: what was asked for since stays.  apply: False: nothing is changed.
    """
    live = live_runs(root)
    items: list[dict[str, Any]] = []
    if not live.silent:
        before = now - older_than_s
        for path, kind in _unused(root, live, before):
            size_bytes = _size_bytes(path)
            used = _changed(path)
            if apply and not _removed(root, path, before):
                continue
            items.append({"kind": kind, "name": path.name, "last_used": used, "size_bytes": size_bytes})
        items += _of_cache(parts, min(before, live.since or before), now, apply=apply, alone=not live.names)
    freed = sum(item["size_bytes"] for item in items)
    return {"items": items, "freed_bytes": freed, "live": live.names, "silent": live.silent}


def _unused(root: Path, live: Live, before: float) -> Iterator[tuple[Path, str]]:
    for name, kind in _KINDS.items():
        directory = root / name
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if f"{name}/{path.name}" not in live.uses and _changed(path) < before:
                yield path, kind


def _removed(root: Path, path: Path, before: float) -> bool:
    """Remove ``path``, unless somebody has asked for it since it was chosen, or a run says that it needs it."""
    live = live_runs(root)
    if live.silent or f"{path.parent.name}/{path.name}" in live.uses or _changed(path) >= before:
        return False
    remove_tree(path, root / _TRASH)
    return True


def _of_cache(parts: NodeParts, before: float, now: float, *, apply: bool, alone: bool) -> list[dict[str, Any]]:
    """Return what of a node's cache could go, or has gone: prefixes that were not used since ``before``, and archives."""
    from wardian.prefix.evict import evict, plan_eviction

    if not parts.cache.is_dir():
        return []
    # uv and rattler keep what only saves time; while runs go on, on whatever node, one of them may be at work
    tools = {"uv": parts.cache / "uv", "rattler": parts.cache / "conda-packages"} if alone else {}
    plan: EvictionPlan = plan_eviction(parts.prefixes, parts.packages, limit_bytes=0, now=now, tools=tools, spared_since=before)
    gone: list[Candidate] = []
    if apply:

        def clear(path: Path) -> bool:
            remove_tree(path, parts.cache / "trash")
            return True

        evict(plan, parts.prefixes, parts.packages, clear_tool=clear, on_removed=gone.append)
    chosen = gone if apply else plan.chosen
    return [{"kind": one.kind, "name": one.name, "last_used": one.used, "size_bytes": one.size_bytes} for one in chosen]


def _changed(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


def _size_bytes(path: Path) -> int:
    """Return what removing a tree gives back: files that lie elsewhere, too, count nothing."""
    total, stack = 0, [os.fspath(path)]
    while stack:
        place = stack.pop()
        with contextlib.suppress(OSError):
            found = os.lstat(place)
            if stat.S_ISDIR(found.st_mode):
                stack += (entry.path for entry in os.scandir(place))
            elif found.st_nlink == 1:
                total += found.st_size
    return total
