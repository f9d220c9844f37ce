"""What a clean-up may take of uv's cache while the rest of it stays: what killed processes of uv left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.prefix.evict import Candidate
from wardian.tools.uv_leftovers import remove_uv_leftover, uv_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class UvCleaning:
    """A ``wardian.prefix.evict.Beside`` over uv's temporary trees. None goes while a uv is at work.

    Args:     cache: Wardian's; uv's own is ``uv`` below it.
    """

    kinds: tuple[str, ...] = ("unpacking",)

    def __init__(self, cache: Path):
        self._uv = cache / "uv"
        self._trash = cache / "trash"

    def candidates(self) -> Iterator[Candidate]:
        """See ``Beside``."""
        for path in uv_leftovers(self._uv):
            yield Candidate("unpacking", path.name, path, 0.0, 0, "of a uv that was broken off")

    def kept(self) -> Iterable[Path]:
        """See ``Beside``."""
        return ()

    def remove(self, candidate: Candidate) -> bool:
        """See ``Beside``."""
        return remove_uv_leftover(self._uv, candidate.path, self._trash)
