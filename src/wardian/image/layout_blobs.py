"""The blobs of a layout as files: put there whole, read against their digests, healed when damaged, cleaned up."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
from typing import IO, TYPE_CHECKING, cast

from wardian.digest import Digest
from wardian.errors import InvalidDigest, NotFound
from wardian.image.blob import CHUNK, VerifyingReader, copy_verified
from wardian.small_file import read_small
from wardian.tools.disk import FileLock, disk_errors, need_space, sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.image.oci import Descriptor

_FICLONE = 0x40049409  # linux/fs.h


class BlobDirectory:
    """``blobs/sha256`` of a layout, and what keeps it safe between processes, in ``.wardian`` beside it.

    A blob gets its name when all of it is on disk. ``.wardian`` holds a lock, what is on its way, and a note for each blob that
    was put here: the file as it was when its digest was last compared, so that it is hashed again only if something touched it.

    Args:     root: the layout's directory.
              link_from: below these directories files are never changed in place: blobs are hard links to them.
    """

    def __init__(self, root: Path, link_from: Sequence[Path]):
        self._root = root
        self._blobs = root / "blobs" / "sha256"
        self._own = root / ".wardian"
        self._link_from = tuple(link_from)

    def prepare(self) -> None:
        """Make the directories."""
        with disk_errors(self._root):
            for place in (self._blobs, self._own / "incoming", self._own / "notes"):
                place.mkdir(parents=True, exist_ok=True)

    def is_prepared(self) -> bool:
        """Return whether something was ever put here."""
        return (self._own / "notes").is_dir()

    def lock(self) -> FileLock:
        """Return the lock between processes for the layout; held for moments only."""
        return FileLock(self._own / "lock")

    def size_of(self, digest: Digest) -> int | None:
        """Return the size of a blob's file, bytes; None: there is none."""
        try:
            found = (self._blobs / digest).stat()
            return found.st_size if stat.S_ISREG(found.st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, digest: Digest, limit_bytes: int) -> tuple[bytes, os.stat_result] | None:
        """Return a blob's content, unchecked, and the file that it came from; None: it is not here, or longer than ``limit_bytes``."""
        try:
            with _open_file(self._blobs / digest) as stream:
                content, seen = stream.read(limit_bytes + 1), os.fstat(stream.fileno())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return (content, seen) if len(content) <= limit_bytes else None

    @contextlib.contextmanager
    def open(self, blob: Descriptor) -> Iterator[IO[bytes]]:
        """Open a blob; reading its end compares it. One that is damaged is removed, so that it can be put anew.

        Raises:   NotFound: code ``no_such_blob``.  BadArchive: by a read.
        """
        path = self._blobs / blob.digest
        try:
            stream = _open_file(path)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{self._root} has no blob sha256:{blob.digest}", code="no_such_blob") from None
        with stream:
            seen = os.fstat(stream.fileno())
            yield cast("IO[bytes]", VerifyingReader(stream, blob, str(self._root), lambda: self.drop(blob.digest, seen)))

    def put(self, blob: Descriptor, open_content: Callable[[], AbstractContextManager[IO[bytes]]]) -> str:
        """Bring a blob here; return ``present`` or ``sent``. What is here is compared if something touched it, and replaced.

        Raises:   BadArchive: the content is not the blob; nothing is kept.  DiskFull.
        """
        path = self._blobs / blob.digest
        if self._is_whole(path, blob):
            return "present"
        with open_content() as stream, disk_errors(self._root, blob.size_bytes), self._incoming(blob.digest) as temporary:
            self._fill(temporary, stream, blob)
            self._place(temporary, path)
        return "sent"

    def drop(self, digest: Digest, seen: os.stat_result) -> None:
        """Remove a blob that is damaged, unless it was replaced since it was ``seen``. Not to be called with ``lock`` held."""
        path = self._blobs / digest
        with contextlib.suppress(OSError), self.lock():
            if os.path.samestat(path.stat(), seen):
                path.unlink()

    def collect(self, reachable: Collection[str], grace_s: float, now_s: Callable[[], float]) -> int:
        """Remove the blobs that were put here, are not in ``reachable``, and were not asked for lately; return the bytes freed.

        To be called with ``lock`` held.
        """
        freed = 0
        for note in list((self._own / "notes").iterdir()):
            with contextlib.suppress(FileNotFoundError):
                if note.name in reachable or now_s() - note.stat().st_mtime < grace_s:
                    continue
                path = self._blobs / note.name
                if path.exists():
                    found = path.stat()
                    freed += found.st_blocks * 512 if found.st_nlink == 1 else 0
                    path.unlink()
                note.unlink(missing_ok=True)
        return freed

    def noted(self) -> list[tuple[Digest, Path, float]]:
        """Return the blobs that were put here: digest, file, and when each was asked for last (seconds since 1970)."""
        found = []
        notes = self._own / "notes"
        for note in list(notes.iterdir()) if notes.is_dir() else []:
            with contextlib.suppress(FileNotFoundError, InvalidDigest):
                found.append((Digest(note.name), self._blobs / note.name, note.stat().st_mtime))
        return found

    def remove(self, digest: Digest, unless_since: float) -> bool:
        """Remove a blob unless it was asked for later than ``unless_since``. To be called with ``lock`` held."""
        note = self._own / "notes" / digest
        with contextlib.suppress(FileNotFoundError):
            if note.stat().st_mtime > unless_since:
                return False
        (self._blobs / digest).unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        return True

    def sweep(self, grace_s: float, now_s: Callable[[], float]) -> int:
        """Remove what killed processes were writing; return the bytes freed."""
        freed = 0
        place = self._own / "incoming"
        for entry in list(place.iterdir()) if place.is_dir() else []:
            with contextlib.suppress(OSError), entry.open("rb") as stream:
                state = os.fstat(stream.fileno())
                if now_s() - state.st_ctime < grace_s:  # a hard link's mtime is old
                    continue
                fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                entry.unlink()
                freed += state.st_blocks * 512 if state.st_nlink == 1 else 0
        return freed

    def _is_whole(self, path: Path, blob: Descriptor) -> bool:
        """Return whether the blob is here as it should be; note that it was asked for."""
        try:
            with _open_file(path) as stream:
                state = os.fstat(stream.fileno())
                if state.st_size != blob.size_bytes:
                    return False
                if self._noted(blob.digest) != _signature(state) and Digest.of_stream(stream) != blob.digest:
                    return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._note(blob.digest, state)
        return True

    def _fill(self, temporary: Path, stream: IO[bytes], blob: Descriptor) -> None:
        source = _file_below(stream)
        place = "what was to be stored"
        if source is not None and (_clone(source, temporary) or self._link(source, temporary)):
            with temporary.open("rb") as copy:
                reader = VerifyingReader(copy, blob, place)
                while reader.read(CHUNK):
                    pass
                os.fsync(copy.fileno())
            return
        need_space(self._root, blob.size_bytes)
        with temporary.open("r+b") as target:
            copy_verified(stream, blob, target, place)
            target.flush()
            os.fsync(target.fileno())

    def _link(self, source: Path, temporary: Path) -> bool:
        if not any(source.is_relative_to(place) for place in self._link_from):
            return False
        link = temporary.with_name(f"{temporary.name}.link")
        try:
            os.link(source, link, follow_symlinks=False)
        except OSError:  # another file system, too many links, none at all
            return False
        link.replace(temporary)
        return True

    def _place(self, temporary: Path, path: Path) -> None:
        state = temporary.stat()
        with self.lock():  # `drop` looks and removes under it
            temporary.replace(path)
        sync_directory(path.parent)
        self._note(Digest(path.name), state)

    @contextlib.contextmanager
    def _incoming(self, digest: Digest) -> Iterator[Path]:
        """Yield an empty file for a blob in the making; who sweeps sees by its lock that somebody is at it."""
        self.prepare()
        temporary = self._own / "incoming" / f"{digest}.{os.getpid()}.{os.urandom(6).hex()}"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield temporary
        finally:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)

    def _noted(self, digest: Digest) -> str:
        try:
            return read_small(self._own / "notes" / digest).decode("utf-8", "replace")
        except OSError:
            return ""

    def _note(self, digest: Digest, state: os.stat_result) -> None:
        with contextlib.suppress(OSError):  # not durable, and not needed: without a note the blob is hashed
            (self._own / "notes" / digest).write_text(_signature(state))


def _open_file(path: Path) -> IO[bytes]:
    """Open a regular file; what else stands there (a pipe would be waited for) is as if nothing did.

    Raises:   FileNotFoundError, NotADirectoryError.
    """
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise FileNotFoundError(path)
    return stream


def _signature(state: os.stat_result) -> str:
    return f"{state.st_ino} {state.st_size} {state.st_mtime_ns}"


def _file_below(stream: IO[bytes]) -> Path | None:
    """Return the regular file that ``stream`` reads, bytes as they are, from its beginning; None: it is something else."""
    from pathlib import Path

    raw = getattr(stream, "raw", stream)
    if type(raw) is not io.FileIO or not isinstance(raw.name, str) or stream.tell():
        return None
    path = Path(raw.name)
    with contextlib.suppress(OSError):
        state = path.lstat()
        if stat.S_ISREG(state.st_mode) and os.path.samestat(state, os.fstat(raw.fileno())):
            return path
    return None


def _clone(source: Path, temporary: Path) -> bool:
    """Let ``temporary`` share the blocks of ``source``, where the file system can."""
    with source.open("rb") as old, temporary.open("r+b") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
    return True
