"""The members of a tar archive, read where they lie: nothing is unpacked, and nothing in it is trusted."""

from __future__ import annotations

import os
import posixpath
import stat
import tempfile
from typing import IO, TYPE_CHECKING, Self, cast

from wardian.errors import InvalidInput, NotFound
from wardian.image.file_part import FilePart
from wardian.package.archive_paths import Limits, refuse, safe_path
from wardian.package.archive_streams import Bounded, damage, decompressed, open_tar
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = ((b"\x1f\x8b", "gz"), (b"\x28\xb5\x2f\xfd", "zst"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bz2"))
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}
_CHUNK = 1 << 20
_LINKS_FOLLOWED = 8


def compression_of(head: bytes) -> str:
    """Return how bytes that begin with ``head`` are compressed: ``gz``, ``zst``, ``xz``, ``bz2``; empty: not at all."""
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), "")


class TarIndex:
    """A tar's files by path, with links followed inside the archive alone. A compressed tar is expanded into a nameless file first.

    Args:     path: the archive.  scratch: a directory for that file.  limits: how many members, and how far it may expand.
    Raises:   NotFound: code ``no_such_archive``.  InvalidInput: code ``not_a_file``: a pipe or a device.  DiskFull.
              BadArchive: codes ``damaged_archive``, ``archive_bomb``, ``unsafe_path``, ``unsafe_link``, ``unsafe_member``,
                  ``duplicate_member``.
    """

    def __init__(self, path: Path, *, scratch: Path, limits: Limits = Limits()):  # noqa: B008 - frozen
        self.name = path.name
        self._links: dict[str, str] = {}
        self._files: dict[str, tuple[int, int]] = {}
        try:
            mode = path.stat().st_mode  # a pipe would be waited for
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise InvalidInput(f"an archive cannot be read from {path}: it is {KINDS.get(stat.S_IFMT(mode), 'no file')}", code="not_a_file",
                                   hint="write what comes out of it to a file, and name that")  # fmt: skip
            self._file: IO[bytes] = open(path, "rb", opener=_at_once)  # noqa: SIM115 - closed by `close`
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"there is no archive {path}", code="no_such_archive") from None
        try:
            kind = compression_of(self._file.read(8))
            self._file.seek(0)
            if kind:
                self._expand(kind, scratch, limits.allowed(path.stat().st_size))
            with damage(self.name):
                self._read(limits.members)
        except BaseException:
            self.close()
            raise

    def size_of(self, path: str) -> int | None:
        """Return the size of the file at ``path``, bytes; None: there is none."""
        place = self._place(path)
        return None if place is None else place[1]

    def open(self, path: str) -> IO[bytes]:
        """Open the file at ``path``. Several may be read at once, by several threads.

        Raises:   NotFound: code ``no_such_member``.
        """
        place = self._place(path)
        if place is None:
            raise NotFound(f"{self.name} has no file `{path[:200]}`", code="no_such_member")
        return cast("IO[bytes]", FilePart(self._file.fileno(), *place))

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """Return what is in the file at ``path``; None: there is none.

        Raises:   BadArchive: code ``archive_bomb``: it is longer than ``limit_bytes``.
        """
        place = self._place(path)
        if place is None:
            return None
        if place[1] > limit_bytes:
            refuse(self.name, path, f"is longer than {limit_bytes:,} bytes", code="archive_bomb")
        return os.pread(self._file.fileno(), place[1], place[0])

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expand(self, kind: str, scratch: Path, allowed_bytes: int) -> None:
        with disk_errors(scratch), self._file as packed:
            scratch.mkdir(parents=True, exist_ok=True)
            whole = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by `close`
            self._file = whole
            with damage(self.name):
                source = Bounded(decompressed(packed, kind), self.name, allowed_bytes)
                while piece := source.read(_CHUNK):
                    whole.write(piece)
            whole.flush()
            whole.seek(0)

    def _read(self, most: int) -> None:
        end = os.fstat(self._file.fileno()).st_size
        with open_tar(self._file, seekable=True) as tar:
            for number, member in enumerate(tar):
                tar.members = []  # type: ignore[attr-defined]  # forget them: there may be many
                if number >= most:
                    refuse(self.name, None, "has too many members", code="archive_bomb")
                path = safe_path(self.name, member.name)
                if member.isdir():
                    continue
                if path in self._files or path in self._links:
                    refuse(self.name, path, "is there twice", code="duplicate_member")
                if member.issym():
                    self._links[path] = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
                elif member.islnk():
                    self._links[path] = safe_path(self.name, member.linkname)
                elif member.isreg():
                    if member.offset_data + member.size > end:
                        refuse(self.name, path, "is cut off", code="damaged_archive")
                    self._files[path] = (member.offset_data, member.size)
                else:
                    refuse(self.name, path, "is no file, directory or link", code="unsafe_member")
        for path, target in self._links.items():
            if target.startswith(("/", "../")) or target == "..":
                refuse(self.name, path, "is a link that leads out of the archive", code="unsafe_link")

    def _place(self, path: str) -> tuple[int, int] | None:
        for _ in range(_LINKS_FOLLOWED):
            if path not in self._links:
                break
            path = self._links[path]
        return self._files.get(path)


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # it may have become a pipe since
