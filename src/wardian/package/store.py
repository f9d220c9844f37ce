"""Fetched archives, by content: ``packages/<sha256>/<file>``."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import BadArchive
from wardian.tools.disk import FileLock, disk_errors, remove_tree, sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO


class PackageStore:
    """The archives on this machine. What is found here was complete and verified when it was put here.

    Safe between processes: one fetch per archive, the others wait for it. A killed process leaves a temporary file
    that is never taken for an archive and that the next clean-up removes.
    """

    def __init__(self, root: Path):
        self.root = root

    def path(self, sha256: Digest, file: str) -> Path:
        """Return where the archive ``file`` with this digest lies, or would lie."""
        return self.root / sha256 / _plain(file)

    def find(self, sha256: Digest, file: str) -> Path | None:
        """Return the archive's path, or None. Marks it as used."""
        path = self.path(sha256, file)
        if not path.exists():
            return None
        with contextlib.suppress(PermissionError, FileNotFoundError):
            # the directory's time, not the file's: uv tells by the file's change time whether it has unpacked it
            os.utime(path.parent)
        return path

    def verified(self, sha256: Digest, file: str) -> Path | None:
        """Return the archive's path after reading it all and comparing its digest; None if it is not here.

        Raises:   BadArchive: its bytes have changed on disk; the damaged file is moved away, so that it is fetched anew.
        """
        path = self.find(sha256, file)
        if path is None:
            return None
        actual = Digest.of_file(path)
        if actual != sha256:
            self.remove(sha256)
            raise BadArchive(f"the cached {file} has sha256 {actual}, not {sha256}: it was damaged on this disk and is removed",
                             hint="run it again: it is fetched anew", code="wrong_digest")  # fmt: skip
        return path

    def ensure(self, sha256: Digest, file: str, write: Callable[[IO[bytes]], None], check: Callable[[Path], None]) -> Path:
        """Return the archive's path, calling ``write`` to fill it only if it is not here.

        Args:     write: writes the bytes.  check: raises if the temporary file is not what it should be.
        Raises:   what ``write`` and ``check`` raise, unchanged; BadArchive: the bytes have another digest. Nothing is kept then.
        """
        path = self.path(sha256, file)
        if self.find(sha256, file):
            return path
        with self._lock(sha256):
            if self.find(sha256, file):
                return path
            with self.temporary(file) as temporary:
                with disk_errors(self.root), temporary.open("w+b") as stream:
                    write(stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                actual = Digest.of_file(temporary)
                if actual != sha256:
                    raise BadArchive(f"{file} has sha256 {actual}, not {sha256}", code="wrong_digest",
                                     hint="the server has another file under this name than when it was locked")  # fmt: skip
                check(temporary)
                self._put(temporary, path)
        return path

    def link(self, sha256: Digest, file: str, source: Path, check: Callable[[Path], None]) -> Path | None:
        """Return the archive's path, which becomes a hard link to ``source`` if it is not here; None: no such link can be made.

        Raises:   BadArchive: ``source`` has another digest. What ``check`` raises. Nothing is kept then.
        """
        path = self.path(sha256, file)
        with self._lock(sha256):
            if self.find(sha256, file):
                return path
            with self.temporary(file) as temporary:
                try:
                    if source.stat(follow_symlinks=False).st_uid != os.geteuid():  # whoever owns a file may change it
                        return None
                    os.link(source, temporary, follow_symlinks=False)
                except OSError:
                    return None
                if not temporary.is_file() or temporary.is_symlink():
                    return None
                actual = Digest.of_file(temporary)
                if actual != sha256:
                    raise BadArchive(f"{source} has sha256 {actual}, not {sha256}", code="wrong_digest",
                                     hint="remove it: it is brought there again")  # fmt: skip
                check(temporary)
                self._put(temporary, path)
        return path

    def adopt(self, temporary: Path, sha256: Digest, file: str) -> Path:
        """Move a verified temporary file into the store."""
        path = self.path(sha256, file)
        if not path.exists():
            with self._lock(sha256):
                self._put(temporary, path)
        return path

    def _put(self, temporary: Path, path: Path) -> None:
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.chmod(0o444)
            temporary.rename(path)
            sync_directory(path.parent)

    @contextlib.contextmanager
    def temporary(self, file: str) -> Iterator[Path]:
        """Yield a path for a file in the making, on the store's file system; removed afterwards unless moved."""
        name = _plain(file)
        place = self.root / "tmp" / f"{os.getpid()}.{os.urandom(6).hex()}"
        with disk_errors(self.root):
            place.mkdir(parents=True)
        try:
            yield place / name
        finally:
            (place / name).unlink(missing_ok=True)
            place.rmdir()

    def remove(self, sha256: Digest) -> None:
        """Remove an archive; harmless if it is not here."""
        remove_tree(self.root / sha256, self.root / "trash")

    def entries(self) -> Iterator[tuple[Digest, float]]:
        """Yield each archive's digest and time of last use (seconds since the epoch)."""
        for directory in self.root.iterdir() if self.root.is_dir() else ():
            if len(directory.name) == 64 and directory.is_dir():  # noqa: PLR2004
                with contextlib.suppress(FileNotFoundError):
                    used = directory.stat().st_mtime
                    yield Digest(directory.name), used

    def _lock(self, sha256: Digest) -> FileLock:
        return FileLock(self.root / "locks" / sha256[:2] / f"{sha256}.lock")


def _plain(file: str) -> str:
    """Return ``file`` if it is a name and no path: indexes and channels say what it is.

    Raises:   BadArchive: code ``unsafe_path``.
    """
    if file in ("", ".", "..") or "/" in file or "\\" in file or "\0" in file:
        raise BadArchive(
            f"an archive is called {file[:200]!a}: a path, not a name",
            code="unsafe_path",
            hint="do not use it; tell who publishes it",
        )
    return file
