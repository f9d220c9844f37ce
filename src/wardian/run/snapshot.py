"""The snapshot: a run's own copy of its source directory, the digest that names it, and what a run changed in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import Unavailable
from wardian.formats.tree import SCHEME
from wardian.run.file_names import from_text, to_document, to_text
from wardian.run.source_tree import IGNORE_HINT
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from wardian.run.source_tree import SourceFile, SourceTree

_LARGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or link of a snapshot: ``kind`` is ``file``, ``executable`` or ``link``; ``value`` its digest, or the link's text."""

    path: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copied source directory, as it was before the run: what is in it, by path."""

    entries: tuple[Entry, ...]
    directories: tuple[str, ...]  # parents first
    size_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> Digest:
        """The identity of the copy, by the rule of ``wardian.formats.tree``: paths, contents, link texts, and whether the owner
        may execute a file. Names that are not UTF-8 are as in ``as_document``.
        """
        entries = [
            [unicodedata.normalize("NFC", to_text(entry.path)), entry.kind, to_text(entry.value)] for entry in self.entries
        ]
        return Digest.of_document({"scheme": SCHEME, "entries": sorted(entries)})

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        entries = [[e.path, e.kind, e.value] for e in self.entries]
        return {"entries": to_document(entries), "directories": to_document(self.directories)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot that ``as_document`` wrote, without its size and notes."""
        entries = tuple(
            Entry(from_text(str(path)), str(kind), from_text(str(value))) for path, kind, value in document["entries"]
        )
        return cls(entries, tuple(from_text(str(name)) for name in document["directories"]))


def copy(tree: SourceTree, target: Path) -> Snapshot:
    """Copy ``tree`` into the new directory ``target`` and return the snapshot.

    A file that changes meanwhile is copied as it was found; a note says so. File systems that can share blocks between copies
    do.

    Raises:   DiskFull.  Denied: ``not_writable``.  Unavailable: ``unreadable_file``.
    """
    entries: list[Entry] = []
    notes: list[str] = []
    size_bytes = 0
    with disk_errors(target, tree.size_bytes), _gone_if_broken_off(target):
        target.mkdir(parents=True)
        for directory in tree.directories:
            os.mkdir(f"{target}/{directory}")  # noqa: PTH102 - thousands of paths
        for file in tree.files:
            place = f"{target}/{file.path}"
            if file.target is not None:
                os.symlink(file.target, place)  # noqa: PTH211
                entries.append(Entry(file.path, "link", file.target))
                continue
            copied = _copy_file(f"{tree.root}/{file.path}", place, file)
            if copied is None:
                notes.append(f"{file.path} vanished while the source directory was copied")
                continue
            digest, copied_bytes, is_steady = copied
            if not is_steady:
                notes.append(f"{file.path} changed while the source directory was copied")
            size_bytes += copied_bytes
            entries.append(Entry(file.path, "executable" if file.mode & stat.S_IXUSR else "file", digest))
    return Snapshot(tuple(entries), tree.directories, size_bytes, (*tree.notes, *notes))


@contextlib.contextmanager
def _gone_if_broken_off(target: Path) -> Iterator[None]:
    """Remove half a copy: on a full disk its room is what the record of the failure is written to."""
    try:
        yield
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def new_and_changed(directory: Path, before: frozenset[str], since_ns: int) -> tuple[list[tuple[str, int]], list[str]]:
    """Return what a run made and changed below ``directory``: (path, size) of new files, and paths of changed ones, sorted.

    ``__pycache__`` does not count. Links that are new count as files of size 0.

    Args:     before: the paths that were there.  since_ns: when the run began, by the clock of the file system.
    """
    new: list[tuple[str, int]] = []
    changed: list[str] = []
    stack = [""]
    while stack:
        prefix = stack.pop()
        with contextlib.suppress(PermissionError, FileNotFoundError), os.scandir(directory / prefix) as entries:
            for entry in entries:
                path = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        stack.append(f"{path}/")
                    continue
                found = entry.stat(follow_symlinks=False)
                if path not in before:
                    new.append((path, found.st_size if stat.S_ISREG(found.st_mode) else 0))
                elif found.st_mtime_ns > since_ns:
                    changed.append(path)
    return sorted(new), sorted(changed)


def _copy_file(source: str, target: str, file: SourceFile) -> tuple[Digest, int, bool] | None:
    """Copy a file; return its digest, its size, and whether it stayed as it was when it was listed. None: it is gone."""
    try:
        reader = os.open(source, os.O_RDONLY | os.O_NONBLOCK)  # not blocking: it may have become a pipe since
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Unavailable(f"{source} cannot be read: {error.strerror}", hint=IGNORE_HINT, code="unreadable_file") from error
    try:
        if not stat.S_ISREG(os.fstat(reader).st_mode):
            return None
        # the owner's permissions stay, so what was private is; he can always write
        writer = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, file.mode & 0o777 | stat.S_IRUSR | stat.S_IWUSR)
        try:
            digest, size_bytes = _copy_content(reader, writer, file.size_bytes)
        finally:
            os.close(writer)
        after = os.fstat(reader)
    finally:
        os.close(reader)
    return (
        digest,
        size_bytes,
        (after.st_size, after.st_mtime_ns, size_bytes) == (file.size_bytes, file.modified_ns, file.size_bytes),
    )


def _copy_content(reader: int, writer: int, expected_bytes: int) -> tuple[Digest, int]:
    if expected_bytes > _LARGE_BYTES and _share(reader, writer):
        os.lseek(writer, 0, os.SEEK_SET)
        with os.fdopen(os.dup(writer), "rb") as stream:
            return Digest.of_stream(stream), os.fstat(writer).st_size
    hasher = hashlib.sha256()
    size_bytes = 0
    while chunk := os.read(reader, _LARGE_BYTES):
        hasher.update(chunk)
        size_bytes += len(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(writer, view) :]
    return Digest(hasher.hexdigest()), size_bytes


def _share(reader: int, writer: int) -> bool:
    """Copy all of ``reader`` inside the kernel, sharing blocks where the file system can; False: it cannot, nothing was copied."""
    offset = 0
    while True:
        try:
            copied = os.copy_file_range(reader, writer, 1 << 30, offset, offset)
        except OSError:
            if offset:
                raise
            return False
        if copied == 0:
            return offset > 0
        offset += copied
