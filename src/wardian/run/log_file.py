"""The log of a run while it is written: a disk that is full costs the rest of the log, never the run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FOR_THE_RECORD_BYTES = 1 << 20  # given back by a log that has filled the disk


class LogFile:
    """The file at ``path``, to which everything is added.

    Attributes:
        began_ns: when it was opened, by the file system's clock, which may be another machine's.
        note: what a reader should know of it; empty: it is whole.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(OSError):
            os.utime(self._descriptor)
        self.began_ns = os.fstat(self._descriptor).st_mtime_ns
        self.note = ""

    def write(self, chunk: bytes) -> None:
        """Add ``chunk``, unless something could not be added before."""
        if self.note:
            return
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:  # the disk is full: the script is not to suffer for it, and its record needs room
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, max(0, os.fstat(self._descriptor).st_size - FOR_THE_RECORD_BYTES))
            self.note = f"log.txt is not complete: {error.strerror}"

    def touch(self) -> None:
        """Give a sign of life, for whoever finds this process gone."""
        with contextlib.suppress(OSError):
            os.utime(self._descriptor)

    def close(self, *, durable: bool = False) -> None:
        """Close it; ``durable``: what was written is on the disk then, where it can be."""
        if durable:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
        os.close(self._descriptor)
