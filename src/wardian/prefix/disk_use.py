"""What trees take on disk where files have several names: a hard-linked file is given back when its last name goes."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 512  # st_blocks counts in these, whatever the file system's own blocks are


class DiskUse:
    """Measures trees of one cache, and what removing them one after the other gives back.

    Prefixes share files with each other and with the caches of uv and rattler: the sum of their sizes says little.
    """

    def __init__(self) -> None:
        self.total_bytes = 0
        self._own: dict[str, int] = {}
        self._shared: dict[str, list[list[int]]] = {}
        self._links: dict[tuple[int, int], list[int]] = {}  # device and inode → bytes, names that are left

    def add(self, name: str, path: Path) -> None:
        """Measure the tree or file at ``path`` under ``name``; what vanishes meanwhile counts nothing.

        A tree below it that was added under its own path before counts there alone.
        """
        self._own.setdefault(name, 0)
        self._shared.setdefault(name, [])
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                self._count(name, found)
                return
        stack = [os.fspath(path)]
        while stack:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError),
                os.scandir(stack.pop()) as entries,
            ):
                for entry in entries:
                    if entry.path in self._own:
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        stack.append(entry.path)
                    else:
                        self._count(name, found)

    def _count(self, name: str, found: os.stat_result) -> None:
        size_bytes = found.st_blocks * _BLOCK
        if found.st_nlink == 1:
            self._own[name] += size_bytes
            self.total_bytes += size_bytes
            return
        key = (found.st_dev, found.st_ino)
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = [size_bytes, found.st_nlink]
            self.total_bytes += size_bytes
        self._shared[name].append(link)

    def release(self, name: str) -> int:
        """Return the bytes that the disk gets back when ``name`` is removed after all that were released before it."""
        freed = self._own.pop(name, 0)
        for link in self._shared.pop(name, ()):
            link[1] -= 1
            if link[1] == 0:
                freed += link[0]
        return freed
