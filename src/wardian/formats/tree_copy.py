"""Copies local code: exactly the files that its digest is taken of."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from wardian.formats.tree import list_tree

if TYPE_CHECKING:
    from pathlib import Path


def copy_tree(source: Path, target: Path) -> None:
    """Copy the file or directory at ``source`` to ``target``, which must not exist; its tree digest stays the same.

    Ignore files are copied with the rest, so the copy's own listing gives the same files.
    Raises:   as ``list_tree``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copyfile(source, target)
        return
    target.mkdir()
    for entry in list_tree(source):
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.target is not None:
            place.symlink_to(entry.target)
        else:
            shutil.copyfile(source / entry.path, place)
            place.chmod(0o755 if entry.executable else 0o644)
