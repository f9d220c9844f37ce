"""Reads zips and tars member by member with bounded memory, and refuses what two readers could understand differently."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from tarfile import GNUTYPE_SPARSE
from typing import IO, TYPE_CHECKING, Any

from wardian.errors import BadArchive
from wardian.package.archive_paths import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wardian.package.archive_paths import Tree

CHUNK = 256 << 10
TEXT_BYTES = 64 << 20  # the longest metadata file that is read: paths.json of 200,000 files
_HEADER_BYTES = 1 << 20  # the longest extended header; tarfile reads them whole
_DESCRIPTORS = (0, 12, 16, 20, 24)
_UNICODE_PATH = 0x7075
_ZIP64 = 0xFFFFFFFF
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error, UnicodeError, NotImplementedError,
    RuntimeError, ValueError, OverflowError,
)  # fmt: skip


@contextlib.contextmanager
def damage(archive: str) -> Iterator[None]:
    """Turn what the decoders raise for bytes that are no archive into ``BadArchive``; other errors of the system pass."""
    try:
        yield
    except BadArchive:
        raise
    except _RefusedError as error:
        refuse(archive, None, error.why, code=error.code)
    except _DAMAGE as error:
        refuse(archive, None, f"is damaged: {str(error) or type(error).__name__}", code="damaged_archive")
    except OSError as error:
        if error.errno is not None:  # bz2 and gzip say "Invalid data stream" without one
            raise
        refuse(archive, None, f"is damaged: {error}", code="damaged_archive")


# -- zip -----------------------------------------------------------------------------------------------------------


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip whose members lie one after the other from its first byte, exactly as its directory says.

    So a reader that streams from the front and one that uses the directory at the end see the same.

    Raises:   BadArchive: ``damaged_archive``, ``ambiguous_archive``, ``unsafe_member`` (encrypted).
    Source:   APPNOTE.TXT 4.3
    """
    with damage(path.name):
        archive = zipfile.ZipFile(path)
    try:
        with damage(path.name):
            _check_layout(archive, path)
    except BaseException:
        archive.close()
        raise
    return archive


def _check_layout(archive: zipfile.ZipFile, path: Path) -> None:
    name = path.name
    if b"PK" in archive.comment:
        refuse(name, None, "has a second zip directory in its comment", code="ambiguous_archive")
    position = 0
    with path.open("rb") as stream:
        for info in sorted(archive.infolist(), key=lambda i: i.header_offset):
            if info.flag_bits & 0x1:
                refuse(name, info.filename, "is encrypted", code="unsafe_member")
            if not info.orig_filename:
                refuse(name, "", "has no name", code="unsafe_path")
            if info.orig_filename != info.filename:  # zipfile cuts names at a NUL
                refuse(name, info.orig_filename, "has a NUL in its name", code="unsafe_path")
            if _UNICODE_PATH in _extra_ids(info.extra):
                refuse(name, info.filename, "has two names", code="ambiguous_archive")
            gap = info.header_offset - position
            if gap and (position == 0 or gap not in _DESCRIPTORS):
                refuse(name, info.filename, "does not follow the member before it", code="ambiguous_archive")
            stream.seek(info.header_offset)
            header = stream.read(30)
            if header[:4] != b"PK\3\4":
                refuse(name, info.filename, "has no header", code="damaged_archive")
            flags, _, _, _, _, packed, unpacked, name_length, extra_length = struct.unpack("<6xHHHHLLLHH", header)
            sizes_here = not flags & 0x8 and _ZIP64 not in (packed, unpacked)
            if sizes_here and (packed, unpacked) != (info.compress_size, info.file_size):
                refuse(name, info.filename, "has two sizes", code="ambiguous_archive")
            position = info.header_offset + 30 + name_length + extra_length + info.compress_size
    if archive.start_dir - position not in _DESCRIPTORS:
        refuse(name, None, "has bytes that are no member", code="ambiguous_archive")


def _extra_ids(extra: bytes) -> set[int]:
    found, at = set(), 0
    while at + 4 <= len(extra):
        number, length = struct.unpack_from("<HH", extra, at)
        found.add(number)
        at += 4 + length
    return found


def walk_zip(archive: zipfile.ZipFile, tree: Tree, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Add every member to ``tree``, read each to its end, and return the content of those whose path is ``wanted``.

    Raises:   BadArchive: anything that ``Tree`` refuses; ``damaged_archive``: a checksum or a size is wrong.
    """
    contents: dict[str, bytes] = {}
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            tree.add_directory(info.filename)
            continue
        if kind == stat.S_IFLNK:
            with damage(tree.archive), archive.open(info) as stream:
                tree.add_symlink(info.filename, stream.read(4096).decode())
            continue
        if kind not in (0, stat.S_IFREG):
            refuse(tree.archive, info.filename, "is no file, directory or link", code="unsafe_member")
        path = tree.add_file(info.filename, info.file_size)
        with damage(tree.archive), archive.open(info) as stream:
            size = _drain(stream, contents, path if wanted(path) else None, tree)
        if size != info.file_size:
            refuse(tree.archive, info.filename, f"has {size:,} bytes, not {info.file_size:,}", code="damaged_archive")
    return contents


def _drain(stream: IO[bytes], contents: dict[str, bytes], path: str | None, tree: Tree) -> int:
    size, pieces = 0, []
    while piece := stream.read(CHUNK):
        size += len(piece)
        if path is not None:
            pieces.append(piece)
            if size > TEXT_BYTES:
                refuse(tree.archive, path, f"is longer than {TEXT_BYTES:,} bytes", code="archive_bomb")
    if path is not None:
        contents[path] = b"".join(pieces)
    return size


# -- tar -----------------------------------------------------------------------------------------------------------


class Bounded:
    """A stream that gives at most ``allowed_bytes`` of what ``source`` decompresses to, and remembers how it ended."""

    def __init__(self, source: Any, archive: str, allowed_bytes: int):
        self._source = source
        self._archive = archive
        self._left = allowed_bytes
        self._tail = b""

    def read(self, size: int = CHUNK) -> bytes:
        """Read as ``io.RawIOBase.read`` does."""
        piece = bytes(self._source.read(size))
        self._left -= len(piece)
        if self._left < 0:
            refuse(self._archive, None, "expands to more than its size allows", code="archive_bomb")
        self._tail = (self._tail + piece)[-512:]
        return piece

    def finish(self) -> None:
        """Read what is left. A tar ends in blocks of NULs; without them it was cut between two members."""
        while self.read():
            pass
        if self._tail.strip(b"\0") or len(self._tail) < 512:  # noqa: PLR2004
            refuse(self._archive, None, "is damaged: it ends too early, or with something else", code="damaged_archive")


class _RefusedError(ValueError):
    def __init__(self, why: str, code: str):
        super().__init__(why)
        self.why, self.code = why, code


class _Header(tarfile.TarInfo):
    """A tar header that asks for little memory: tarfile reads names, PAX records and maps of sparse files as a whole."""

    def _proc_member(self, tarfile: tarfile.TarFile) -> Any:  # the place that tarfile means for subclasses
        if self.type == GNUTYPE_SPARSE:
            self._refuse_sparse()
        if not self.isreg() and self.type not in _PLAIN and self.size > _HEADER_BYTES:
            raise _RefusedError(f"has a header of {self.size:,} bytes", code="archive_bomb")
        return super()._proc_member(tarfile)  # type: ignore[misc]

    def _refuse_sparse(self, *_: object) -> None:
        raise _RefusedError("holds a sparse file, which no packaging tool makes", code="unsafe_member")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


_PLAIN = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


def walk_tar(stream: IO[bytes], compression: str, tree: Tree, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Add every member of the tar in ``stream`` to ``tree`` and return the content of the files whose path is ``wanted``.

    Reads to the end, so that the checksums of the compression and of what is around it are checked too.

    Args:     compression: ``zst``, ``gz``, ``bz2``, ``xz``.
    Raises:   BadArchive: anything that ``Tree`` refuses; ``unsafe_member``, ``archive_bomb``, ``damaged_archive``.
    """
    contents: dict[str, bytes] = {}
    # headers and padding are no more than 3 blocks a member; a bomb made of them is stopped by the count of members
    bounded = Bounded(decompressed(stream, compression), tree.archive, tree.allowed_bytes + (64 << 20))
    with damage(tree.archive), open_tar(bounded) as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # a stream never goes back: forget them
            if member.isdir():
                tree.add_directory(member.name)
            elif member.issym():
                tree.add_symlink(member.name, member.linkname)
            elif member.islnk():
                tree.add_hard_link(member.name, member.linkname)
            elif member.type in _REGULAR and not member.issparse():
                path = tree.add_file(member.name, member.size)
                if wanted(path) and (content := tar.extractfile(member)) is not None:
                    _drain(content, contents, path, tree)
            else:
                refuse(tree.archive, member.name, "is no file, directory or link", code="unsafe_member")
        if tar.pax_headers.keys() & {"path", "linkpath", "size"}:
            refuse(tree.archive, None, "names all its members at once", code="ambiguous_archive")
        bounded.finish()
    return contents


def open_tar(source: Any, *, seekable: bool = False) -> tarfile.TarFile:
    """Open an uncompressed tar with bounded headers: as a stream, or, if it is ``seekable``, without reading what lies between them."""
    return tarfile.open(
        fileobj=source,
        mode="r:" if seekable else "r|",
        bufsize=CHUNK,
        tarinfo=_Header,
        encoding="utf-8",
        errors="surrogateescape",
    )


def decompressed(stream: IO[bytes], compression: str) -> Any:
    """Return a reader of what ``stream`` decompresses to; memory stays bounded."""
    if compression == "gz":
        return gzip.GzipFile(fileobj=stream)
    if compression == "bz2":
        return bz2.BZ2File(stream)
    if compression == "xz":
        return lzma.LZMAFile(stream)
    import zstandard

    return _Zstd(zstandard, stream)


class _Zstd:
    """zstd with the errors of the other decoders."""

    def __init__(self, zstandard: Any, stream: IO[bytes]):
        self._error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False)

    def read(self, size: int) -> bytes:
        try:
            return bytes(self._reader.read(size))
        except self._error as error:
            raise EOFError(str(error)) from error
