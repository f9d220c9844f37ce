"""The snapshot: a run's own copy of its source directory, and the digest that names it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import InvalidInput, NotFound, Unavailable
from wardian.events import Event, silent
from wardian.formats.tree import IGNORE_FILES, SCHEME
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardian.events import Listener
    from wardian.tools.ignore_rules import IgnoreRules

LIMIT_BYTES = 300 << 20
LIMIT_FILES = 2000
OUTPUTS = "outputs"

_NEVER = frozenset({"__pycache__", ".git", ".hg", ".svn", ".bzr", "CVS", "_darcs", ".jj"})
_SHOWN = 5
_COUNTED_BEYOND = 50  # how much further than the limit a directory is counted before it is only "more than"
_LARGE_BYTES = 1 << 20
_LARGEST_IGNORE_FILE_BYTES = 1 << 20
_IGNORE_HINT = "name what the run does not need in a `.wardianignore` file, and give data with `--input NAME=PATH`"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file or link to copy: ``path`` below the source directory, ``target`` a link's text (None: a file)."""

    path: str
    size_bytes: int
    modified_ns: int
    mode: int
    target: str | None = None


@dataclass(frozen=True, slots=True)
class SourceTree:
    """What of a source directory goes into the snapshot."""

    root: Path
    files: tuple[SourceFile, ...]
    directories: tuple[str, ...]  # parents first
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copied source directory."""

    digest: Digest
    paths: frozenset[str]
    size_bytes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a snapshot may hold."""

    size_bytes: int = LIMIT_BYTES
    files: int = LIMIT_FILES


def scan(source: Path, limits: Limits = Limits(), *, leave_out: Sequence[Path] = (), home: Path | None = None) -> SourceTree:
    """Return what of ``source`` goes into a snapshot, without reading any content.

    Left out: what the ignore file of a directory names (``.wardianignore``, else ``.amlignore``, else ``.gitignore``; git's
    rules, in every directory), version control data, ``__pycache__``, virtual environments, sockets, pipes and devices, the
    top ``outputs/`` (it is the run's own), and ``leave_out``: Wardian's own directories. A link within the directory stays a
    link; one to a file elsewhere becomes a copy of that file; one to a directory elsewhere is an error. ``home``, the user's
    home directory, is no source directory.

    Raises:   NotFound: ``no_such_path``.  InvalidInput: ``bad_source``, ``snapshot_too_large``, ``link_leaves_tree``,
              ``bad_path``, ``bad_ignore_file``.  Unavailable: ``unreadable_file``.
    Source:   semantics §6
    """
    if not source.is_dir():
        raise NotFound(f"there is no directory {source}", code="no_such_path")
    root = Path(os.path.realpath(source))
    if root == Path("/") or (home is not None and root == Path(os.path.realpath(home))):
        raise InvalidInput(
            f"the source directory would be {root}: a run gets a copy of all that is in it",
            hint="change to the project's directory, or name it with `--source DIR`",
            code="bad_source",
        )
    walk = _Walk(root, limits, frozenset(os.path.realpath(path) for path in leave_out))
    walk.run()
    return SourceTree(root, tuple(sorted(walk.files, key=lambda file: file.path)), tuple(walk.directories), tuple(walk.notes))


def copy(tree: SourceTree, target: Path, listener: Listener = silent) -> Snapshot:
    """Copy ``tree`` into the new directory ``target`` and return the snapshot.

    The digest is of the copy, by the rule of ``wardian.formats.tree``: paths, contents, link texts, and whether the owner may
    execute a file. A file that changes meanwhile is copied as it was found; a note says so. File systems that can share blocks
    between copies do.

    Raises:   DiskFull.  WardianError: ``not_writable``.  Unavailable: ``unreadable_file``.
    """
    entries: list[list[str]] = []
    notes: list[str] = []
    size_bytes = 0
    with disk_errors(target, tree.size_bytes):
        target.mkdir(parents=True)
        for directory in tree.directories:
            os.mkdir(f"{target}/{directory}")  # noqa: PTH102 - thousands of paths
        for file in tree.files:
            name = unicodedata.normalize("NFC", file.path)
            place = f"{target}/{file.path}"
            if file.target is not None:
                os.symlink(file.target, place)  # noqa: PTH211
                entries.append([name, "link", file.target])
                continue
            copied = _copy_file(f"{tree.root}/{file.path}", place, file)
            if copied is None:
                notes.append(f"{file.path} vanished while the source directory was copied")
                continue
            digest, copied_bytes, is_steady = copied
            if not is_steady:
                notes.append(f"{file.path} changed while the source directory was copied")
            size_bytes += copied_bytes
            entries.append([name, "executable" if file.mode & stat.S_IXUSR else "file", digest])
    for note in notes:
        listener(Event("warning", note))
    digest = Digest.of_document({"scheme": SCHEME, "entries": sorted(entries)})
    return Snapshot(digest, frozenset(file.path for file in tree.files), size_bytes, (*tree.notes, *notes))


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


class _Walk:
    def __init__(self, root: Path, limits: Limits, leave_out: frozenset[str]) -> None:
        self.root = str(root)
        self.limits = limits
        self.leave_out = leave_out
        self.files: list[SourceFile] = []
        self.directories: list[str] = []
        self.notes: list[str] = []
        self.size_bytes = 0

    def run(self) -> None:
        pending: list[tuple[str, list[tuple[str, IgnoreRules]]]] = [("", [])]
        while pending:
            prefix, rules = pending.pop()
            with _readable(self.root, prefix), os.scandir(f"{self.root}/{prefix}") as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            names = {entry.name for entry in found}
            if prefix:
                if "pyvenv.cfg" in names:
                    continue
                self.directories.append(prefix.rstrip("/"))
            if ignore_file := next((name for name in IGNORE_FILES if name in names), None):
                rules = [*rules, (prefix, _rules_of(f"{self.root}/{prefix}{ignore_file}"))]
            inner = [path for entry in found if (path := self._take(prefix, entry, rules)) is not None]
            pending += [(f"{path}/", rules) for path in reversed(inner)]
        if self._is_too_large():
            raise self._too_large()

    def _take(self, prefix: str, entry: os.DirEntry[str], rules: list[tuple[str, IgnoreRules]]) -> str | None:
        """Note a file or link; return the path of a directory that is to be walked."""
        name = entry.name
        path = prefix + name
        is_directory = entry.is_dir(follow_symlinks=False)
        if name in _NEVER or _is_ignored(path, rules, is_directory=is_directory) or f"{self.root}/{path}" in self.leave_out:
            return None
        if path == OUTPUTS and is_directory:
            self.notes.append(f"{OUTPUTS}/ is left out of the snapshot: the run has its own")
            return None
        if not _is_text(path):
            raise InvalidInput(f"the file name {path!a} in {self.root} is not UTF-8", hint="rename it", code="bad_path")
        if is_directory:
            return path
        with _readable(self.root, path):
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                self._take_link(path)
            elif stat.S_ISREG(found.st_mode):
                self._add(path, found)
            else:
                self.notes.append(f"{path} is left out of the snapshot: it is neither a file nor a directory")
        return None

    def _take_link(self, path: str) -> None:
        place = f"{self.root}/{path}"
        text = os.readlink(place)  # noqa: PTH115 - the text as it is
        here = os.path.realpath(os.path.dirname(place))  # noqa: PTH120
        real = os.path.realpath(place)
        if real == self.root or real.startswith(self.root.rstrip("/") + "/"):
            joined = os.path.normpath(os.path.join(os.path.dirname(path), text))  # noqa: PTH118, PTH120
            if os.path.isabs(text) or joined == ".." or joined.startswith("../"):  # noqa: PTH117
                text = os.path.relpath(real, here)  # the same place, said in a way that holds in a copy
            if not _is_text(text):
                raise InvalidInput(f"the link {path} in {self.root} points at {text!a}, which is not UTF-8", code="bad_path")
            self.files.append(SourceFile(path, 0, 0, 0, text))
            return
        try:
            found = os.stat(place)  # noqa: PTH116
        except OSError:
            self.notes.append(f"{path} is left out of the snapshot: it points at {text}, which is not there")
            return
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInput(
                f"{path} in {self.root} is a link to a directory elsewhere: {text}",
                hint="give data with `--input NAME=PATH`, or name the link in a `.wardianignore` file", code="link_leaves_tree",
            )  # fmt: skip
        self._add(path, found)

    def _add(self, path: str, found: os.stat_result) -> None:
        self.files.append(SourceFile(path, found.st_size, found.st_mtime_ns, stat.S_IMODE(found.st_mode)))
        self.size_bytes += found.st_size
        if len(self.files) > self.limits.files * _COUNTED_BEYOND:
            raise self._too_large()

    def _is_too_large(self) -> bool:
        return self.size_bytes > self.limits.size_bytes or len(self.files) > self.limits.files

    def _too_large(self) -> InvalidInput:
        top: dict[str, tuple[int, int]] = {}
        for file in self.files:
            name = file.path.partition("/")[0] + ("/" if "/" in file.path else "")
            count, size = top.get(name, (0, 0))
            top[name] = (count + 1, size + file.size_bytes)
        by_files = self.size_bytes <= self.limits.size_bytes
        largest = sorted(top.items(), key=lambda item: item[1] if by_files else item[1][::-1], reverse=True)[:_SHOWN]
        shown = ", ".join(f"{name} ({count:,} files, {size:,} bytes)" for name, (count, size) in largest)
        more = "more than " if len(self.files) > self.limits.files * _COUNTED_BEYOND else ""
        return InvalidInput(
            f"the source directory {self.root} holds {more}{len(self.files):,} files, {self.size_bytes:,} bytes; a snapshot holds up to"
            f" {self.limits.files:,} files, {self.limits.size_bytes:,} bytes. The largest: {shown}",
            hint=_IGNORE_HINT, code="snapshot_too_large",
        )  # fmt: skip


def _copy_file(source: str, target: str, file: SourceFile) -> tuple[Digest, int, bool] | None:
    """Copy a file; return its digest, its size, and whether it stayed as it was when it was listed. None: it is gone."""
    try:
        reader = os.open(source, os.O_RDONLY | os.O_NONBLOCK)  # not blocking: it may have become a pipe since
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Unavailable(f"{source} cannot be read: {error.strerror}", hint=_IGNORE_HINT, code="unreadable_file") from error
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


def _is_ignored(path: str, rules: list[tuple[str, IgnoreRules]], *, is_directory: bool) -> bool:
    for prefix, of_file in reversed(rules):  # the nearest ignore file that says something decides
        decision = of_file.decide(path[len(prefix) :], is_directory=is_directory)
        if decision is not None:
            return decision
    return False


def _rules_of(path: str) -> IgnoreRules:
    from wardian.tools.ignore_rules import IgnoreRules

    with _readable(path, ""):
        if not os.path.isfile(path):  # noqa: PTH113
            return IgnoreRules("")
        with open(path, "rb") as stream:  # noqa: PTH123
            content = stream.read(_LARGEST_IGNORE_FILE_BYTES + 1)
    try:
        if len(content) <= _LARGEST_IGNORE_FILE_BYTES:
            return IgnoreRules(content.decode())
    except UnicodeDecodeError:
        pass
    raise InvalidInput(f"the ignore file {path} is not a UTF-8 text of at most 1 MiB", code="bad_ignore_file")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _readable(root: str, path: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        where = f"{root}/{path}".rstrip("/")
        raise Unavailable(f"{where} cannot be read: {error.strerror}", hint=_IGNORE_HINT, code="unreadable_file") from error
