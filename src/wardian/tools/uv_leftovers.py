"""What killed processes of uv left in its cache: trees that wheels were unpacked or built in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.tools.disk import FileLock, remove_tree

if TYPE_CHECKING:
    from pathlib import Path


def uv_leftovers(cache: Path) -> list[Path]:
    """Return the temporary trees in uv's ``cache``, and in its buckets; none while a uv is at work there: they may be its own.

    Source:   uv holds ``.lock`` in its cache, shared, as long as it works (`uv cache clean` takes it alone)
    """
    if _lock(cache).is_held():
        return []
    return sorted([*cache.glob(".tmp*"), *cache.glob("*/.tmp*")])


def remove_uv_leftover(cache: Path, path: Path, trash: Path) -> bool:
    """Remove one of ``uv_leftovers`` unless a uv is at work; return whether it is gone. ``trash``: on the same file system."""
    lock = _lock(cache)
    if not lock.try_acquire():
        return False
    with lock:
        remove_tree(path, trash)
    return True


def _lock(cache: Path) -> FileLock:
    return FileLock(cache / ".lock")
