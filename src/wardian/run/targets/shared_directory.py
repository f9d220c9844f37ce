"""The carrier of nodes that see a directory of this machine: files are put there, and taken from there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wardian.errors import Denied, DiskFull, InvalidInput, NotFound, Unavailable, WardianError
from wardian.run.node.sheet import AGENTS, IMAGES, PACKAGES
from wardian.run.targets.bring_home import leads_astray
from wardian.tools.disk import NO_SPACE, disk_full, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DIRECTORY, _PRIVATE = 0o700, 0o600
_PRIVILEGES = stat.S_ISUID | stat.S_ISGID
_UNCHANGING = (PACKAGES, AGENTS, IMAGES)  # what lies there is only read: a hard link does for a copy
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


class SharedDirectory:
    """Brings files to nodes by putting them into a directory that nodes see at the same path. See ``Carrier``."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def have(self, paths: Sequence[str]) -> set[str]:
        """Return which of ``paths`` are there already."""
        with self._errors():
            found = {path for path in paths if os.path.lexists(self._place(path))}
            for kept in {
                "/".join(PurePosixPath(path).parts[:2]) for path in found if PurePosixPath(path).parts[0] in _UNCHANGING
            }:
                with contextlib.suppress(OSError):  # whoever cleans sees that somebody has asked for it
                    os.utime(f"{self.root}/{kept}", follow_symlinks=False)
            return found

    def send(self, files: Mapping[str, str], *, private: bool = False) -> None:
        """Bring files and directories there, each whole or not at all. See ``Carrier.send``."""
        with self._errors():
            Path(self.root).mkdir(mode=_DIRECTORY, parents=True, exist_ok=True)
            for path, here in files.items():
                self._put(self._place(path), here, private=private, links=PurePosixPath(path).parts[0] in _UNCHANGING)

    def read(self, path: str, offset: int, limit: int) -> bytes | None:
        """Return a piece of a file; None: there is no such file."""
        with self._errors():
            place = self._place(path)
            descriptor = _open(place)
            if descriptor is None:
                return None
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise Unavailable(f"{place} is no regular file", code="bad_node_file")
                return _read(descriptor, offset, limit)
            finally:
                os.close(descriptor)

    def fetch(self, path: str, place: str, *, limit_bytes: int | None = None) -> Sequence[str]:
        """Bring a directory home; return what stays behind. See ``Carrier.fetch``."""
        with self._errors():
            source = self._place(path)
            if not stat.S_ISDIR(_mode(source)):
                raise NotFound(f"there is no directory {source}", code="node_directory_missing")
            half = Path(f"{place}.{os.getpid()}.{time.monotonic_ns()}.tmp")
            try:
                behind = _bring(source, half, limit_bytes)
                half.rename(place)
            except BaseException:
                shutil.rmtree(half, ignore_errors=True)
                raise
            return behind

    def remove(self, path: str) -> None:
        """Remove a file or a directory."""
        with self._errors():
            remove_tree(Path(self._place(path)), Path(self.root, ".trash"))

    def _place(self, path: str) -> str:
        """Return where ``path`` lies. Nothing leads out of the root, links neither.

        Raises:   InvalidInput: ``path_escapes``.
        """
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\0" in path:
            raise InvalidInput(f"`{path[:200]}` is no path below {self.root}", code="path_escapes")
        place = self.root
        for part in parts[:-1]:
            place = f"{place}/{part}"
            if stat.S_ISLNK(_mode(place)):
                raise InvalidInput(f"`{place}` is a link, and would lead out of {self.root}", code="path_escapes")
        return f"{place}/{parts[-1]}"

    def _put(self, place: str, here: str, *, private: bool, links: bool) -> None:
        if os.path.lexists(place):
            return
        parent = os.path.dirname(place)  # noqa: PTH120 - thousands of paths
        os.makedirs(parent, mode=_DIRECTORY, exist_ok=True)  # noqa: PTH103
        half = f"{parent}/.{os.path.basename(place)[:80]}.{os.uname().nodename}.{os.getpid()}.{time.monotonic_ns()}"  # noqa: PTH119
        try:
            if os.path.isdir(here):  # noqa: PTH112
                _copy_tree(here, half, links=links)
                with contextlib.suppress(FileExistsError):
                    _rename_new(half, place)
            elif not (links and not private and _linked(here, place)):
                _copy_file(here, half, _PRIVATE if private else None)
                os.rename(half, place)  # noqa: PTH104
        except BaseException:
            _discard(half)
            raise
        _discard(half)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except WardianError:
            raise
        except OSError as error:
            where = error.filename or self.root
            if error.errno in NO_SPACE:
                full = disk_full(Path(os.path.dirname(where)))  # noqa: PTH120
                full.hint = "free some space there, or name another directory that nodes share: `--option directory=…`"
                raise full from error
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
                raise Denied(f"{where} cannot be used: {error.strerror}", code="node_directory_denied",
                             hint=f"the directory {self.root} that nodes share must be yours to write; `--option directory=…` names another") from error  # fmt: skip
            raise Unavailable(f"the directory that nodes share does not answer: {where}: {error.strerror}", code="node_directory_unavailable",
                              hint=f"is {self.root} mounted here?") from error  # fmt: skip


def _mode(place: str) -> int:
    try:
        return os.lstat(place).st_mode
    except FileNotFoundError:
        return 0


def _open(place: str) -> int | None:
    """Open a file; a file server may have told us a moment ago that it is not there: then its directory is read anew."""
    for again in (True, False):
        try:
            return os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            if again:
                with contextlib.suppress(OSError):
                    os.listdir(os.path.dirname(place))  # noqa: PTH120, PTH208
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link; a socket
                raise
            raise Unavailable(f"{place} is no regular file", code="bad_node_file") from error
    return None


def _read(descriptor: int, offset: int, limit: int) -> bytes:
    pieces, left = [], limit
    while left and (piece := os.pread(descriptor, min(left, 1 << 20), offset)):
        pieces.append(piece)
        offset += len(piece)
        left -= len(piece)
    return b"".join(pieces)


def _linked(here: str, place: str) -> bool:
    try:
        os.link(here, place)
    except FileExistsError:
        return True
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _copy_file(here: str, place: str, mode: int | None = None) -> None:
    """Copy content, moments and mode; the kernel shares blocks where the file system can."""
    source = os.open(here, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(source)
        target = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode or _PRIVATE)
        try:
            _copy_content(source, target)
            os.fchmod(target, stat.S_IMODE(found.st_mode) & 0o777 if mode is None else mode)
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_content(source: int, target: int) -> None:
    copied = False
    with contextlib.suppress(OSError):
        while os.copy_file_range(source, target, 1 << 30):
            copied = True
        return
    if copied:
        os.lseek(source, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
        os.lseek(target, 0, os.SEEK_SET)
    while piece := os.read(source, 1 << 20):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view) :]


def _copy_tree(here: str, place: str, *, links: bool) -> None:
    os.mkdir(place, _DIRECTORY)  # noqa: PTH102
    with os.scandir(here) as entries:
        for entry in entries:
            target = f"{place}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), target)  # noqa: PTH115, PTH211
            elif entry.is_dir(follow_symlinks=False):
                _copy_tree(entry.path, target, links=links)
            elif not (links and _linked(entry.path, target)):
                _copy_file(entry.path, target)


def _rename_new(half: str, place: str) -> None:
    try:
        os.rename(half, place)  # noqa: PTH104
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise


def _discard(half: str) -> None:
    if os.path.isdir(half) and not os.path.islink(half):  # noqa: PTH112, PTH114
        shutil.rmtree(half, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(half)  # noqa: PTH108


def _bring(source: str, place: Path, limit_bytes: int | None) -> list[str]:
    behind: list[str] = []
    links: dict[str, str] = {}
    left = limit_bytes
    place.mkdir(mode=_DIRECTORY)
    stack = [""]
    while stack:
        prefix = stack.pop()
        with os.scandir(f"{source}/{prefix}") as entries:
            for entry in entries:
                path, target = prefix + entry.name, f"{place}/{prefix}{entry.name}"
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    links[path] = os.readlink(entry.path)  # noqa: PTH115
                elif stat.S_ISDIR(found.st_mode):
                    os.mkdir(target, stat.S_IMODE(found.st_mode) | stat.S_IRWXU)  # noqa: PTH102
                    stack.append(f"{path}/")
                elif not stat.S_ISREG(found.st_mode):
                    behind.append(f"{path}: neither a file nor a directory nor a link")
                else:
                    if left is not None:
                        left -= found.st_size
                        if left < 0:
                            raise DiskFull(str(place.parent), needed_bytes=limit_bytes, free_bytes=limit_bytes or 0)
                    if found.st_mode & _PRIVILEGES or not _linked(entry.path, target):  # a copy has none
                        _copy_file(entry.path, target)
    for path, text in links.items():  # where one leads is known when all are
        if astray := leads_astray(path, links):
            behind.append(f"{path}: a link to {text}, which {astray}")
        else:
            os.symlink(text, f"{place}/{path}")  # noqa: PTH211
    return sorted(behind)
