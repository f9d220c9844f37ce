"""The log of an endpoint: what its replicas write goes straight into it, the keeper adds what it does."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wardian.serving.directory import EndpointDirectory

LIMIT_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_TRACEBACK = b"Traceback (most recent call last)"
_SHORTEST_S, _LONGEST_S = 0.02, 0.5


class EndpointLog:
    """Writes of several processes, each in one piece; kept below ``limit_bytes``, and as much of what was before.

    Args:     now: the time, seconds since the epoch.
    """

    def __init__(
        self, directory: EndpointDirectory, *, limit_bytes: int = LIMIT_BYTES, now: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._now = now
        self.descriptor = os.open(directory.log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def tell(self, text: str) -> None:
        """Write a line of the keeper's."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now()))
        with contextlib.suppress(OSError):  # on a full disk it goes on serving
            os.write(self.descriptor, f"{moment} wardian: {text}\n".encode(errors="replace"))

    @property
    def size_bytes(self) -> int:
        """How much is in it."""
        return os.fstat(self.descriptor).st_size

    def since(self, offset: int, limit_bytes: int = 1 << 16) -> str:
        """Return what was written from ``offset`` on, at most ``limit_bytes``."""
        return os.pread(self.descriptor, limit_bytes, offset).decode(errors="replace")

    def traceback_line(self, offset: int) -> int | None:
        """Return the number of the line in which the last traceback after ``offset`` begins; None: there is none."""
        position, found, lines, before = offset, None, self._lines(offset), b""
        while piece := os.pread(self.descriptor, _PIECE_BYTES, position):
            whole = before + piece
            *ended, before = whole.split(b"\n")
            for line in ended:
                lines += 1
                if _TRACEBACK in line:
                    found = lines
            position += len(piece)
        return lines + 1 if _TRACEBACK in before else found

    def _lines(self, end: int) -> int:
        count, position = 0, 0
        while position < end and (piece := os.pread(self.descriptor, min(_PIECE_BYTES, end - position), position)):
            count += piece.count(b"\n")
            position += len(piece)
        return count

    def shorten(self) -> bool:
        """Move what there is to the older log, if it is more than the limit; return whether it was.

        Who writes goes on at the new end; what is written in just that moment may be missing.
        """
        if self.size_bytes <= self._limit_bytes:
            return False
        with contextlib.suppress(OSError):
            shutil.copyfile(self._directory.log, self._directory.older_log)
            self._directory.older_log.chmod(0o600)
            os.ftruncate(self.descriptor, 0)
            return True
        return False

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def follow(path: Path, goes_on: Callable[[], bool]) -> Iterator[bytes]:
    """Yield a log piece by piece as it grows, from its beginning, as long as ``goes_on``; one that was shortened, from its new beginning."""
    position, pause_s = 0, _SHORTEST_S
    while True:
        on = goes_on()  # before reading: what is there when it ends is all there will be
        with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size < position:
                position = 0
            stream.seek(position)
            while piece := stream.read(_PIECE_BYTES):
                position += len(piece)
                pause_s = _SHORTEST_S
                yield piece
        if not on:
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_S)
