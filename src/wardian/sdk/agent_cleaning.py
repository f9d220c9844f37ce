"""What a clean-up may take of the agents that are sent to nodes: those of other Wardians, and halves of new ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.prefix.evict import STALE_AFTER_S, Candidate
from wardian.run.python_copy import HALF
from wardian.tools.disk import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}")
_SPARED_S = 3600.0  # one that was asked for so recently may be on its way to a node


class AgentCleaning:
    """A ``wardian.prefix.evict.Beside`` over the agents of this machine. Each is made anew, within seconds, when it is needed.

    Args:     root: where they lie.  now: seconds since the epoch.
    """

    kinds: tuple[str, ...] = ("agent", "unfinished-agent")

    def __init__(self, root: Path, now: Callable[[], float]):
        self._root = root
        self._now = now

    def candidates(self) -> Iterator[Candidate]:
        """See ``Beside``."""
        for path in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            used = path.lstat().st_mtime
            if path.name.startswith(HALF):
                if used < self._now() - STALE_AFTER_S:
                    yield Candidate("unfinished-agent", path.name, path, used, 0, "of a process that was killed")
            elif _NAME.fullmatch(path.name) and used < self._now() - _SPARED_S:
                yield Candidate("agent", path.name, path, used, 0, "what is sent to nodes")

    def kept(self) -> Iterable[Path]:
        """See ``Beside``."""
        named = (path for path in (self._root.iterdir() if self._root.is_dir() else ()) if _NAME.fullmatch(path.name))
        return [path for path in named if path.lstat().st_mtime >= self._now() - _SPARED_S]

    def remove(self, candidate: Candidate) -> bool:
        """See ``Beside``."""
        try:
            if candidate.path.lstat().st_mtime > candidate.used:  # somebody has asked for it since
                return False
        except FileNotFoundError:
            return False
        remove_tree(candidate.path, self._root / ".trash")
        return True
