"""What cannot be fetched again, by content: wheels built here, and the trees of local code."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.tools.disk import atomic_writer, disk_errors, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Artifacts:
    """The ``artifacts`` directory of a workspace. Safe between processes; nothing half-written is ever found.

    Implements ``wardian.lock.ports.WheelKeeper`` and ``Trees``.
    """

    def __init__(self, root: Path):
        self.root = root

    def keep(self, path: Path) -> Digest:
        """Keep a copy of the file at ``path``, under its name; return its digest. Idempotent."""
        digest = Digest.of_file(path)
        target = self.root / digest / path.name
        if not target.exists():
            with path.open("rb") as source, atomic_writer(target, 0o444) as stream:
                shutil.copyfileobj(source, stream)
        return digest

    def find_file(self, sha256: Digest, file: str) -> Path | None:
        """Return the kept file, or None."""
        path = self.root / sha256 / file
        return path if path.exists() else None

    def keep_tree(self, digest: Digest, origin: Path) -> None:
        """Keep a copy of the local code at ``origin``, whose tree digest is ``digest``. Idempotent.

        Raises:   Conflict: it has changed since its digest was taken.
        """
        from wardian.errors import Conflict
        from wardian.formats.tree import tree_digest
        from wardian.formats.tree_copy import copy_tree

        def fill(place: Path) -> None:
            copy = place / (origin.resolve().name or "tree")
            copy_tree(origin, copy)
            if tree_digest(copy) != digest:
                raise Conflict(
                    f"the local code {origin} has changed while it was read", hint="run it again", code="local_code_changed"
                )

        self._keep_directory(digest, fill)

    def keep_text(self, digest: Digest, name: str, text: str) -> None:
        """Keep a file called ``name`` that holds ``text``, whose digest is ``digest``; ``find`` gives it back. Idempotent."""
        self._keep_directory(digest, lambda place: (place / name).write_text(text, encoding="utf-8", newline="\n"))

    def _keep_directory(self, digest: Digest, fill: Callable[[Path], object]) -> None:
        target = self.root / "trees" / digest
        if target.is_dir():
            return
        with disk_errors(self.root):
            place = self.root / "tmp" / f"{digest[:16]}.{os.getpid()}.{os.urandom(4).hex()}"
            place.mkdir(parents=True)
            try:
                fill(place)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    place.rename(target)
                except OSError:
                    if not target.is_dir():  # else another process kept the same
                        raise
            finally:
                remove_tree(place, self.root / "trash")

    def find(self, digest: Digest, origin: Mapping[Digest, Path]) -> Path | None:
        """Return the tree with this digest: the one kept, or the one at ``origin``; None if neither is there."""
        kept = self.root / "trees" / digest
        if kept.is_dir():
            return next(kept.iterdir(), None)
        path = origin.get(digest)
        return path if path is not None and path.exists() else None
