"""A part of an open file as a stream of its own."""

from __future__ import annotations

import io
import os
from typing import Any


class FilePart(io.RawIOBase):
    """Reads a part of a file without moving the file's own position: threads do not disturb each other.

    Args:     descriptor: of the file, which stays open at least as long.  start, size: of the part, bytes.
    """

    def __init__(self, descriptor: int, start: int, size: int):
        super().__init__()
        self._descriptor = descriptor
        self._at = start
        self._end = start + size

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as one read goes; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        piece = os.pread(self._descriptor, min(len(view), self._end - self._at), self._at)
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
