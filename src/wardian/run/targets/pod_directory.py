"""A shared directory whose runs belong to the user that pods run as, if that is another: root sends, and no pod is root."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wardian.run.node.sheet import CACHE, RUNS
from wardian.run.targets.shared_directory import SharedDirectory

if TYPE_CHECKING:
    from collections.abc import Mapping


class PodDirectory(SharedDirectory):
    """Gives what it sends for a run, the cache that pods install in, and the directories that lead there to ``uid`` and ``gid``. See ``Carrier``."""

    def __init__(self, root: Path, uid: int, gid: int) -> None:
        super().__init__(root)
        self._owner = uid, gid

    def send(self, files: Mapping[str, str], *, private: bool = False) -> None:
        """See ``Carrier.send``. Links are not followed: a run that is on already may have put some there."""
        super().send(files, private=private)
        with self._errors():
            cache = Path(self.root, CACHE)
            cache.mkdir(mode=0o700, exist_ok=True)
            above = {str(parent) for path in files for parent in PurePosixPath(path).parents if parent.parts}
            for place in (self.root, str(cache), *(self._place(path) for path in above)):
                self._give(place)
            for path in files:
                self._give_all(self._place(path), with_files=PurePosixPath(path).parts[0] == RUNS)

    def _give_all(self, place: str, *, with_files: bool) -> None:
        """Give what lies there. Without files: those of all runs are only read, by anybody, and may be one with a cache of this machine."""
        if with_files or os.path.isdir(place):  # noqa: PTH112
            self._give(place)
        for parent, directories, names in os.walk(place):  # which follows no links
            for name in (*directories, *(names if with_files else ())):
                self._give(f"{parent}/{name}")

    def _give(self, place: str) -> None:
        os.chown(place, *self._owner, follow_symlinks=False)
