"""Makes room by itself: counts what installations add to the caches, and measures them only when that passes the limit."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wardian.events import Event
from wardian.prefix.cache import MARK, Ready
from wardian.prefix.evict import LEFTOVERS, evict, plan_eviction
from wardian.small_file import read_small
from wardian.tools.disk import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wardian.events import Listener
    from wardian.package.store import PackageStore
    from wardian.prefix.cache import PrefixCache
    from wardian.prefix.evict import Beside, Candidate

SPARED_S = 600.0  # what was used within this time stays


def make_room(
    prefixes: PrefixCache, packages: PackageStore, *, made: Sequence[str], limit_bytes: int, now: float, tools: Mapping[str, Path],
    clear_tool: Callable[[Path], bool], listener: Listener, added_bytes: int = 0, beside: Sequence[Beside] = (),
) -> int:  # fmt: skip
    """Keep the caches below ``limit_bytes`` after an installation; return the bytes freed.

    Cheap below the limit: what installations have added is counted, and the caches are measured only when that count passes it.
    What runs hold stays, and what was used within the last ten minutes: the new prefix, and those of others that are about to be
    held. Safe between processes.

    Args:     made: directory names of the prefixes that are new.  now: seconds since the epoch.
              added_bytes: what else was added.  beside: as of ``plan_eviction``.
    """
    memory = prefixes.root.parent / "size"
    added_bytes += sum(_added_bytes(prefixes.root / name / MARK) for name in made)
    with FileLock(prefixes.root / "locks" / "size"):
        counted = _counted_bytes(memory)
        if counted is not None and counted + added_bytes <= limit_bytes:
            _note_bytes(memory, counted + added_bytes)
            return 0
        plan = plan_eviction(
            prefixes, packages, limit_bytes=limit_bytes, now=now, tools=tools, spared_since=now - SPARED_S, beside=beside
        )
        gone: list[Candidate] = []
        freed = evict(plan, prefixes, packages, clear_tool=clear_tool, on_removed=gone.append, beside=beside)
        _note_bytes(memory, max(0, plan.used_bytes - freed))
    if any(candidate.kind not in LEFTOVERS for candidate in gone):
        listener(
            Event(
                "notice",
                f"the caches were larger than {limit_bytes:,} bytes: {freed:,} bytes that were not used lately are freed",
            )
        )
    return freed


def _added_bytes(mark: Path) -> int:
    try:
        ready = Ready.from_json(read_small(mark))
    except OSError:
        return 0
    return int(ready.facts.get("added_bytes", 0)) if ready is not None else 0


def _note_bytes(memory: Path, count: int) -> None:
    with contextlib.suppress(OSError):  # a full disk: the next installation measures
        memory.unlink(missing_ok=True)
        memory.write_text(str(count))


def _counted_bytes(memory: Path) -> int | None:
    try:
        return int(read_small(memory))
    except (OSError, ValueError):
        return None
