"""The file system: atomic writes, locks between processes, removal that cannot be seen half done, free space."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import stat
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from wardian.errors import Denied, DiskFull, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_SAID_NO_SPACE = re.compile(r"os error (?:28|122)\b|No space left on device|Disk quota exceeded")
_PATHS = re.compile(r"(?<![\w.])/[^\s`'\":,]+")


@contextlib.contextmanager
def disk_errors(place: Path, needed_bytes: int | None = None) -> Iterator[None]:
    """Turn "no space left" into ``DiskFull`` and refused access into a clear error, for work below ``place``."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise disk_full(place, needed_bytes) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR) or (
            error.errno == errno.ENOENT and not place.exists()
        ):
            raise Denied(
                f"cannot write below {place}: {error.strerror} ({error.filename})",
                hint="check who owns it, or point WARDIAN_HOME and WARDIAN_CACHE elsewhere",
                code="not_writable",
            ) from error
        raise


def disk_full(place: Path, needed_bytes: int | None = None) -> DiskFull:
    """Return the error for "no space left" at ``place``; it says so if it is inodes that are missing."""
    disk = os.statvfs(_existing(place))
    where = f"{place} (no inodes are left)" if disk.f_files and not disk.f_favail else str(place)
    error = DiskFull(where, needed_bytes=needed_bytes, free_bytes=free_bytes(place))
    error.place = str(place)
    return error


def full_place(said: str, default: Path) -> Path | None:
    """Return where a tool ran out of space, by what it said; None: it said nothing of the kind.

    Of the paths that it names, the one with the least space; ``default`` if it names none.
    """
    if not _SAID_NO_SPACE.search(said):
        return None
    named = [_existing(Path(path)) for path in _PATHS.findall(said)]
    found = min(named, key=free_bytes, default=default)
    return found if found.is_dir() else found.parent


def free_bytes(place: Path) -> int:
    """Return the bytes free for this user on the file system that holds ``place`` (or its nearest existing parent)."""
    return shutil.disk_usage(_existing(place)).free


def _existing(place: Path) -> Path:
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def need_space(place: Path, needed_bytes: int) -> None:
    """Check that ``needed_bytes`` are free at ``place``.

    Raises:   DiskFull: fewer are free; names both figures.
    """
    free = free_bytes(place)
    if needed_bytes > free:
        raise DiskFull(str(place), needed_bytes=needed_bytes, free_bytes=free)


@contextlib.contextmanager
def atomic_writer(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Yield a stream whose content becomes ``path`` when the block ends without an error: all of it or nothing.

    Durable: data are flushed to disk before the rename, the rename before returning. Safe between processes: the
    last writer wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:100]}.{os.getpid()}.{time.monotonic_ns()}.tmp"
    with disk_errors(path.parent):
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write ``content`` to ``path``: all of it or nothing."""
    with atomic_writer(path, mode) as stream:
        stream.write(content)


def sync_directory(path: Path) -> None:
    """Make renames in ``path`` durable; a file system that cannot is left as it is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(descriptor)


_HOLDER_LOOKS, _HOLDER_LOOK_S = 5, 0.005


class FileLock:
    """A lock between processes, held on an open file; the kernel lets go when the holder ends, however it ends.

    Source:   ADR 0002
    """

    def __init__(self, path: Path):
        self.path = path
        self._descriptor: int | None = None

    def acquire(
        self, *, shared: bool = False, on_wait: Callable[[str], None] | None = None, timeout_s: float | None = None
    ) -> None:
        """Take the lock, waiting for it if need be.

        Args:     shared: several holders at once, none of them exclusive.
                  on_wait: called once, with who holds it, before waiting.
                  timeout_s: seconds to wait; None waits for ever.
        Raises:   Unavailable: ``timeout_s`` passed.
        """
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        told = False
        while True:
            descriptor = self._open(shared=shared)
            try:
                fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self._holder(descriptor)
                if on_wait and not told:
                    told = True
                    on_wait(holder)
                if deadline is not None:
                    os.close(descriptor)
                    if time.monotonic() >= deadline:
                        raise Unavailable(f"{self.path.name} is locked by {holder}", code="locked") from None
                    time.sleep(0.02)
                    continue
                try:
                    fcntl.flock(descriptor, mode)
                except BaseException:
                    os.close(descriptor)
                    raise
            if self._is_current(descriptor):
                break
            os.close(descriptor)  # deleted while we waited: take the new file
        self._descriptor = descriptor
        if not shared:
            owner = json.dumps(
                {"host": os.uname().nodename, "pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            )
            with contextlib.suppress(OSError):  # words for people only
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, owner.encode(), 0)

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free; return whether it was."""
        try:
            self.acquire(shared=shared, timeout_s=0)
        except Unavailable:
            return False
        return True

    def is_held(self) -> bool:
        """Return whether anybody holds the lock now, shared or not. Takes nothing and leaves no trace."""
        try:
            descriptor = self._open_existing()
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def keep_across_exec(self) -> None:
        """Let the program that this process becomes keep the lock, and the children that it leaves its files to."""
        if self._descriptor is not None:
            os.set_inheritable(self._descriptor, True)

    def release(self) -> None:
        """Let go; harmless when not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, *, shared: bool) -> int:
        if shared:  # who only reads a cache, because it is another user's or a read-only mount, can hold its locks too
            with contextlib.suppress(FileNotFoundError):
                return self._open_existing()
        with disk_errors(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _open_existing(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _holder(self, descriptor: int) -> str:
        for _ in range(_HOLDER_LOOKS):  # who has just taken it writes its name in a moment
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                owner = json.loads(os.pread(descriptor, 1000, 0))
                return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
            time.sleep(_HOLDER_LOOK_S)
        return "another process"

    def __enter__(self) -> Self:
        if self._descriptor is None:
            self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def make_writable(root: Path) -> None:
    """Give the owner write permission on every directory below ``root``, so that it can be removed."""
    for directory, _, _ in os.walk(root):
        mode = os.stat(directory).st_mode  # noqa: PTH116
        if not mode & stat.S_IWUSR:
            os.chmod(directory, stat.S_IMODE(mode) | stat.S_IRWXU)  # noqa: PTH101


def remove_tree(path: Path, trash: Path) -> None:
    """Remove the tree at ``path`` so that nobody sees it half removed: renamed into ``trash`` first, then deleted.

    ``trash`` is on the same file system. What a killed process leaves in it is removed by the next call. Safe between
    processes that remove the same tree.
    """
    if not os.path.lexists(path):
        return
    trash.mkdir(parents=True, exist_ok=True)
    grave = trash / f"{path.name[:80]}.{os.getpid()}.{time.monotonic_ns()}"
    with contextlib.suppress(FileNotFoundError):  # another process has removed it since
        if path.is_dir() and not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IRWXU)  # renaming a directory writes its `..`
        path.rename(grave)
    empty_trash(trash)


def empty_trash(trash: Path) -> None:
    """Delete everything in ``trash``; what another process is deleting at the same time is no error."""
    for entry in list(trash.iterdir()) if trash.is_dir() else []:
        if entry.is_dir() and not entry.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                make_writable(entry)
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def tree_size_bytes(path: Path) -> int:
    """Return the bytes allocated below ``path``, each inode counted once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    stack = [os.fspath(path)]
    while stack:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    stack.append(entry.path)
                elif (key := (found.st_dev, found.st_ino)) not in seen:
                    seen.add(key)
                    total += found.st_blocks * 512
    return total
