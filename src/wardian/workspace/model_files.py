"""The files of models, by content: whole or not there, on disk for good before a record names them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from wardian.tools.disk import FileLock, disk_errors, empty_trash, remove_tree, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.digest import Digest

_READ_ONLY, _WRITABLE = 0o555, 0o755


class ModelFiles:
    """``artifacts/models/<digest>/<name of the file or directory>`` of a workspace. Safe between processes.

    What a killed process leaves is in nobody's way: a copy that it had not finished goes with the next one that is begun, the next
    model that is deleted, or the next clean-up; one that it had, and no record names, is taken by who registers the same again.
    Nothing else takes that away: records may have been lost, and a model cannot be made again.

    Args:     artifacts: the workspace's directory of what cannot be fetched again.
    """

    def __init__(self, artifacts: Path) -> None:
        self.root = artifacts / "models"
        self._staging = artifacts / "tmp"
        self._trash = artifacts / "trash"

    def find(self, digest: Digest) -> Path | None:
        """Return the directory that holds the model's file or directory, and nothing else; None: it is not here."""
        path = self.root / digest
        return path if path.is_dir() else None

    @contextlib.contextmanager
    def stage(self) -> Iterator[Path]:
        """Yield an empty directory that ``place`` takes; removed afterwards with what is left in it.

        Raises:   DiskFull, Denied: it cannot be made.
        """
        with disk_errors(self._staging):
            self._staging.mkdir(parents=True, exist_ok=True)
            self._sweep_staging()
            name = f"model-{os.getpid()}.{os.urandom(4).hex()}"
            with self._held(FileLock(self._staging / f"{name}.lock")):
                place = self._staging / name
                place.mkdir()
                try:
                    yield place
                finally:
                    remove_tree(place, self._trash)

    def place(self, staged: Path, digest: Digest) -> None:
        """Make ``staged``, which is on disk for good, the model's files. Idempotent; inside the transaction that adds the record."""
        target = self.root / digest
        if target.is_dir():
            return
        with disk_errors(self.root):
            if not self.root.is_dir():
                self.root.mkdir(parents=True, exist_ok=True)
                sync_directory(self.root.parent)
            staged.rename(target)
            target.chmod(_READ_ONLY)
            sync_directory(self.root)

    def take_away(self, digest: Digest) -> None:
        """Take the files of a model away, inside the transaction that has found that no record names them. ``empty`` deletes them."""
        path = self.root / digest
        if path.is_dir():
            self._trash.mkdir(exist_ok=True)
            path.chmod(_WRITABLE)  # renaming a directory writes its `..`
            path.rename(self._trash / f"{digest}.{os.urandom(4).hex()}")

    def empty(self) -> None:
        """Delete what was taken away, and what killed processes had not finished."""
        self._sweep_staging()
        empty_trash(self._trash)

    def unfinished(self) -> list[Path]:
        """Return the copies whose process has ended before they were finished."""
        found = sorted(self._staging.glob("model-*.lock"))
        return [path.with_suffix("") for path in found if not FileLock(path).is_held()]

    def _sweep_staging(self) -> None:
        for left in self.unfinished():
            self.remove_unfinished(left)

    def remove_unfinished(self, path: Path) -> bool:
        """Remove one of ``unfinished``; return whether it is gone."""
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        if not lock.try_acquire():
            return False
        with self._held(lock):
            remove_tree(path, self._trash)
        return True

    @contextlib.contextmanager
    def _held(self, lock: FileLock) -> Iterator[None]:
        """Hold ``lock``, and leave no trace of it."""
        with lock:
            try:
                yield
            finally:
                lock.path.unlink(missing_ok=True)
