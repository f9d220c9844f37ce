"""Which unpacked packages are as they were when their content was last compared: then it need not be read again (ADR 0016)."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

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

    def are_as_validated(self, packages: Iterable[tuple[Artifact, Path]]) -> bool:
        """Return whether every package, given with its archive, is here as it was when it was validated last."""
        for artifact, archive in packages:
            name = _directory(artifact, archive)
            try:
                if (self._notes / name).read_text() != _signature(self.root / name):
                    return False
            except OSError:
                return False
        return True

    def note_validated(self, packages: Iterable[tuple[Artifact, Path]]) -> None:
        """Remember that these packages were validated in full just now."""
        with disk_errors(self._notes):
            self._notes.mkdir(parents=True, exist_ok=True)
            for artifact, archive in packages:
                name = _directory(artifact, archive)
                with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                    signature = _signature(self.root / name)
                    temporary = self._notes / f".{name}.{os.getpid()}"
                    temporary.write_text(signature)
                    temporary.replace(self._notes / name)


def _directory(artifact: Artifact, archive: Path) -> str:
    """Return the name of the directory in which rattler unpacks an archive when it is told to tell origins apart."""
    origin = hashlib.sha256(os.fsencode(archive)).hexdigest()
    return f"{artifact.name}-{artifact.version}-{artifact.build}-{origin}"


def _signature(directory: Path) -> str:
    found: list[tuple[str, int, int, int]] = []
    pending = [os.fspath(directory)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.path, status.st_ino, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()
