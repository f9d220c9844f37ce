"""Which unpacked packages are as they were when their content was last compared: then it need not be read again (ADR 0016)."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from wardian.small_file import read_small
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wardian.lock.lock import Artifact


class Unpacked:
    """rattler's cache of unpacked packages in ``root``, with a signature for each that was validated in full.

    A signature is taken of path, inode, size and time of change of content of every file: a write through a hard link, a
    deletion, an addition and a new unpacking all change it. Who sets a file's time back on purpose is not found out.
    Safe between processes: a signature that is missing or doesn't fit costs a full validation, nothing else.
    """

    def __init__(self, root: Path):
        self.root = root
        self._notes = root.parent / "validated"

    def as_validated(self, packages: Iterable[tuple[Artifact, Path]]) -> list[list[str]] | None:
        """Return the paths in each package, given with its archive; None unless all are as they were when validated last."""
        found = []
        for artifact, archive in packages:
            directory = self.root / _directory(artifact, archive)
            try:
                signature, paths = _look(directory)
                if read_small(self._notes / directory.name) != f"{artifact.sha256} {signature}".encode():
                    return None
            except OSError:
                return None
            found.append(paths)
        return found

    def note_validated(self, packages: Iterable[tuple[Artifact, Path]]) -> None:
        """Remember that these packages were validated in full just now."""
        with disk_errors(self._notes):
            self._notes.mkdir(parents=True, exist_ok=True)
            for artifact, archive in packages:
                name = _directory(artifact, archive)
                with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                    signature, _ = _look(self.root / name)
                    temporary = self._notes / f".{name}.{os.getpid()}"
                    temporary.write_text(f"{artifact.sha256} {signature}")
                    temporary.replace(self._notes / name)


def _directory(artifact: Artifact, archive: Path) -> str:
    """Return the name of the directory in which rattler unpacks an archive when it is told to tell origins apart."""
    origin = hashlib.sha256(os.fsencode(archive)).hexdigest()
    return f"{artifact.name}-{artifact.version}-{artifact.build}-{origin}"


def _look(directory: Path) -> tuple[str, list[str]]:
    """Return the signature of an unpacked package, and the paths of its files in it."""
    found: list[tuple[str, int, int, int]] = []
    top = os.fspath(directory)
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.path[len(top) + 1 :], status.st_ino, status.st_size, status.st_mtime_ns))
    found.sort()
    return hashlib.sha256(repr(found).encode()).hexdigest(), [path for path, *_ in found]
