"""The files of a model: a file or a directory, looked at, digested and copied; whatever stands in it, nothing outside of it is read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import Conflict, InvalidInput, NotFound, Unavailable, WardianError
from wardian.tools.disk import disk_errors, need_space, sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SCHEME = "wardian-model-1"
LIMIT_ENTRIES = 200_000
_LEFT_OUT = frozenset({"__pycache__", ".git", ".hg", ".svn"})
_PIECE = 1 << 20
_NO_LINKS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FILE, _EXECUTABLE, _DIRECTORY, _LINK = "file", "executable", "directory", "link"
_READ_ONLY = {_FILE: 0o444, _EXECUTABLE: 0o555, _DIRECTORY: 0o555}
_WRITABLE = {_FILE: 0o644, _EXECUTABLE: 0o755, _DIRECTORY: 0o755}
_COPY_HINT = "put copies in the place of links: `cp -rL {} COPY`, and register the copy"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One thing in a model: ``path`` below its root (empty: the model is this one file), ``target`` a link's text.

    ``stamp``: of a file, its number and when it was written last, which tell whether it is still the same.
    """

    path: str
    kind: str
    size_bytes: int = 0
    target: str = ""
    stamp: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class ModelTree:
    """What a model consists of, as it was seen; no content has been read.

    Attributes:
        root: the file or directory, links to it resolved.
        name: what it is called: part of what a model is, for a scoring script finds it by its name.
        entries: by path.
        left_out: what does not count: version control data, ``__pycache__``.
    """

    root: Path
    name: str
    is_directory: bool
    entries: tuple[ModelEntry, ...]
    left_out: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def files(self) -> int:
        """How many files there are, links not among them."""
        return sum(entry.kind in (_FILE, _EXECUTABLE) for entry in self.entries)


def scan_model(path: Path, *, within: Path | None = None, limit_entries: int = LIMIT_ENTRIES) -> ModelTree:
    """Return what the file or directory at ``path`` consists of. Links in it are listed, never followed.

    Args:     within: a directory that ``path`` must not lead out of.
    Raises:   NotFound: ``no_such_path``.  Unavailable: ``unreadable_file``.
              InvalidInput: ``link_leaves_tree``, ``broken_link``, ``special_file``, ``bad_path``, ``empty_model``, ``model_too_large``.
    """
    if "\0" in str(path):
        raise InvalidInput(f"the path {str(path)!r} holds a NUL character", code="bad_path")
    real = Path(os.path.realpath(path))
    if within is not None and not _is_inside(str(real), os.path.realpath(within)):
        raise InvalidInput(f"`{path}` leads out of {within}, to {real}", code="link_leaves_tree", hint=_COPY_HINT.format(path))
    name = path.name if path.name not in ("", ".", "..") else real.name
    _check_name(name, real.parent)
    try:
        found = real.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise NotFound(f"there is no file or directory `{path}`", code="no_such_path") from None
        raise _unreadable(path, error) from error
    if stat.S_ISREG(found.st_mode):
        return ModelTree(real, name, False, (_file("", found),))
    if not stat.S_ISDIR(found.st_mode):
        raise InvalidInput(f"`{path}` is neither a file nor a directory", code="special_file")
    if real == Path("/"):
        raise InvalidInput("the model would be all of this machine", code="bad_path", hint="name the model's own directory")
    walk = _Walk(real, limit_entries)
    walk.run()
    tree = ModelTree(real, name, True, tuple(sorted(walk.entries, key=lambda entry: entry.path)), tuple(walk.left_out))
    if not tree.files:
        raise InvalidInput(
            f"the directory `{path}` holds no file", code="empty_model", hint="name the directory that the model was saved in"
        )
    return tree


def digest_model(tree: ModelTree, *, note: Callable[[int], object] | None = None) -> Digest:
    """Return the digest of a model, read in pieces: of names, contents, link texts, and whether the owner may execute a file.

    Times, owners and where it stands don't count; what it is called does.

    Args:     note: told how many bytes each piece had.
    Raises:   Conflict: ``model_changed``: it is no longer what was seen.  Unavailable: ``unreadable_file``.
    """
    return digest_of_model(tree, lambda entry: _read(tree, entry, lambda piece: note and note(len(piece))))


def copy_model(tree: ModelTree, target: Path, *, read_only: bool = True, note: Callable[[int], object] | None = None) -> Digest:
    """Copy a model into the directory ``target``, under its own name; return the digest of what was written.

    When this returns, all of it is on disk for good.

    Args:     read_only: nobody may write to the copy; else its owner may.  note: told how many bytes each piece had.
    Raises:   as ``digest_model``; DiskFull: the copy may be there in parts; the space is looked for first.
    """
    need_space(target, tree.size_bytes)
    top = target / tree.name
    with disk_errors(target):
        directories = (
            [top, *(top / entry.path for entry in tree.entries if entry.kind == _DIRECTORY)] if tree.is_directory else []
        )
        for directory in directories:
            directory.mkdir()
    modes = _READ_ONLY if read_only else _WRITABLE
    digest = digest_of_model(tree, lambda entry: _copied(tree, entry, top / entry.path if entry.path else top, modes, note))
    with disk_errors(target):
        for entry in tree.entries:
            if entry.kind == _LINK:
                (top / entry.path).symlink_to(entry.target)
        for directory in reversed(directories):
            directory.chmod(modes[_DIRECTORY])
            sync_directory(directory)
        sync_directory(target)
    return digest


def check_unchanged(tree: ModelTree) -> None:
    """Look whether a model is still what was seen, after it was read: one that is being written is a mixture of two.

    Raises:   Conflict: ``model_changed``: a file, directory or link was added, taken away or written to.
    """
    try:
        now = {entry.path: entry for entry in scan_model(tree.root).entries}
    except WardianError as error:
        raise _changed(tree.root) from error
    before = {entry.path: entry for entry in tree.entries}
    for path in sorted(before.keys() | now.keys()):
        if before.get(path) != now.get(path):
            raise _changed(tree.root / path if path else tree.root)


def digest_of_model(tree: ModelTree, content: Callable[[ModelEntry], str]) -> Digest:
    """Return the digest of a model whose files have these contents.

    Args:     content: gives the sha256 of a file; ``""`` for a directory.
    """
    entries = [[entry.path, entry.kind, entry.target if entry.kind == _LINK else content(entry)] for entry in tree.entries]
    kind = _DIRECTORY if tree.is_directory else _FILE
    return Digest.of_document({"scheme": SCHEME, "name": tree.name, "kind": kind, "entries": entries})


def _copied(
    tree: ModelTree, entry: ModelEntry, place: Path, modes: Mapping[str, int], note: Callable[[int], object] | None
) -> str:
    if entry.kind == _DIRECTORY:
        return ""
    with disk_errors(place.parent), place.open("xb") as out:

        def write(piece: bytes) -> None:
            out.write(piece)
            if note is not None:
                note(len(piece))

        digest = _read(tree, entry, write)
        os.fchmod(out.fileno(), modes[entry.kind])
        out.flush()
        os.fsync(out.fileno())
    return digest


def _read(tree: ModelTree, entry: ModelEntry, take: Callable[[bytes], object]) -> str:
    """Return the sha256 of a file's content, handing it to ``take`` piece by piece."""
    if entry.kind == _DIRECTORY:
        return ""
    hasher = hashlib.sha256()
    left = entry.size_bytes
    shown = tree.root / entry.path if entry.path else tree.root
    descriptor = _opened(tree, entry, shown)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _changed(shown)
        while left >= 0:
            with _readable(shown):
                piece = os.read(descriptor, _PIECE)
            if not piece:
                break
            left -= len(piece)
            hasher.update(piece)
            take(piece)
    finally:
        os.close(descriptor)
    if left:
        raise _changed(shown)
    return hasher.hexdigest()


def _opened(tree: ModelTree, entry: ModelEntry, shown: Path) -> int:
    """Open a file below the root without following any link: one may have been put in a directory's place since."""
    try:
        at = os.open(tree.root if entry.path else tree.root.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        parts = entry.path.split("/") if entry.path else [tree.root.name]
        try:
            for part in parts[:-1]:
                inner = os.open(part, _NO_LINKS | os.O_DIRECTORY, dir_fd=at)
                os.close(at)
                at = inner
            return os.open(parts[-1], _NO_LINKS, dir_fd=at)
        finally:
            os.close(at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENXIO):
            raise _changed(shown) from error
        raise _unreadable(shown, error) from error


class _Walk:
    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit
        self.entries: list[ModelEntry] = []
        self.left_out: list[str] = []

    def run(self) -> None:
        pending = [""]
        while pending:
            prefix = pending.pop()
            with _readable(self.root / prefix), os.scandir(self.root / prefix) as entries:
                for entry in entries:
                    if entry.name in _LEFT_OUT:
                        self.left_out.append(prefix + entry.name)
                    elif (inner := self._take(prefix + entry.name, entry)) is not None:
                        pending.append(f"{inner}/")

    def _take(self, path: str, entry: os.DirEntry[str]) -> str | None:
        """Note an entry; return the path of a directory that is to be walked."""
        _check_name(path, self.root)
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            self._add(ModelEntry(path, _DIRECTORY))
            return path
        if stat.S_ISLNK(found.st_mode):
            self._add(ModelEntry(path, _LINK, target=self._checked_link(path)))
        elif stat.S_ISREG(found.st_mode):
            self._add(_file(path, found))
        else:
            raise InvalidInput(f"`{path}` in {self.root} is neither a file nor a directory: a device, a socket or a pipe", code="special_file",
                               hint="delete it, or register a copy without it")  # fmt: skip
        return None

    def _add(self, entry: ModelEntry) -> None:
        self.entries.append(entry)
        if len(self.entries) > self.limit:
            raise InvalidInput(f"{self.root} holds more than {self.limit:,} files and directories", code="model_too_large",
                               hint="name the model's own directory; many small files belong into one archive")  # fmt: skip

    def _checked_link(self, path: str) -> str:
        place = self.root / path
        target = os.readlink(place)  # noqa: PTH115 - the text as it is
        hint = _COPY_HINT.format(self.root)
        if os.path.isabs(target) or not _is_text(target):  # noqa: PTH117
            raise InvalidInput(
                f"the link `{path}` in {self.root} leads out of it, to {target!a}", hint=hint, code="link_leaves_tree"
            )
        # both ways: neither the text must lead out, for a reader who only joins paths, nor the link on this disk
        joined = os.path.normpath(os.path.join(os.path.dirname(path), target))  # noqa: PTH118, PTH120
        if joined == ".." or joined.startswith("../") or not _is_inside(os.path.realpath(place), str(self.root)):
            raise InvalidInput(
                f"the link `{path}` in {self.root} leads out of it, to {target!a}", hint=hint, code="link_leaves_tree"
            )
        if not place.exists():
            raise InvalidInput(
                f"the link `{path}` in {self.root} leads nowhere: {target!a}", hint="remove it", code="broken_link"
            )
        return target


def _kind(found: os.stat_result) -> str:
    return _EXECUTABLE if found.st_mode & stat.S_IXUSR else _FILE


def _file(path: str, found: os.stat_result) -> ModelEntry:
    return ModelEntry(path, _kind(found), found.st_size, stamp=(found.st_ino, found.st_mtime_ns))


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _check_name(path: str, root: Path) -> None:
    if not _is_text(path):
        raise InvalidInput(f"the file name {path!a} in {root} is not UTF-8", hint="rename it", code="bad_path")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _changed(path: Path) -> Conflict:
    return Conflict(
        f"{path} has changed while it was read",
        hint="wait until whoever writes there is done, then try again",
        code="model_changed",
    )


def _unreadable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"{path} cannot be read: {error.strerror}", code="unreadable_file")


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error
