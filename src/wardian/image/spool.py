"""Bytes that wait on disk, in a file without a name, until they are written into a layer."""

from __future__ import annotations

import hashlib
import io
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self, cast

from wardian.digest import Digest
from wardian.image.entry import Entry
from wardian.image.file_part import FilePart
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Spooled:
    """Some of a spool's bytes. They can be opened as often as needed, while the spool is."""

    spool: Spool
    start: int
    size_bytes: int
    sha256: Digest

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Open them for reading."""
        return cast("IO[bytes]", FilePart(self.spool.descriptor, self.start, self.size_bytes))

    def entry(self, path: str, *, executable: bool = False) -> Entry:
        """Return the file ``path`` with these bytes."""
        return Entry(path, "file", self.size_bytes, executable, "", self.open)


class Spool:
    """Keeps bytes on disk; whatever ends the process, nothing is left. Not for several writers at once.

    Args:     directory: on the disk that they are to lie on; made if it is not there.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by `close`
        self._size = 0

    @property
    def descriptor(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def add(self, content: bytes | IO[bytes]) -> Spooled:
        """Keep ``content``, read in pieces.

        Raises:   DiskFull.
        """
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        hasher, start = hashlib.sha256(), self._size
        with disk_errors(self._directory):
            while piece := stream.read(_CHUNK):
                hasher.update(piece)
                self._size += len(piece)
                self._file.write(piece)
            self._file.flush()
        return Spooled(self, start, self._size - start, Digest(hasher.hexdigest()))

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
