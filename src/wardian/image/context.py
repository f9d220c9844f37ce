"""A build context as builders get it: exactly what its digest covers, in a directory of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from wardian.errors import NotFound
from wardian.formats.tree import list_tree

EPOCH_S = 315532800  # 1980-01-01: the same times everywhere, so that the builders' caches are met
IGNORE_FILES = (".containerignore", ".dockerignore")  # the first that a context has decides


def stage_context(source: Path, target: Path, *, dockerfile: str = "Dockerfile") -> Path:
    """Copy the build context ``source`` to ``target``, which must not exist; return the Dockerfile in there.

    What the context's digest leaves out (version control data, what ``.gitignore`` names) is left out here too, so that nothing else can
    get into an image. Modes are 644 and 755, times fixed. ``.containerignore`` is handed on as ``.dockerignore``, which every builder
    knows, and the Dockerfile's own (``NAME.dockerignore``) as it is.

    Raises:   NotFound: ``no_such_path``: no such directory, or no such Dockerfile among what counts.  InvalidInput, Unavailable: as
              ``list_tree``.
    """
    entries = list_tree(source)
    root = Path(os.path.realpath(source))
    if dockerfile not in {entry.path for entry in entries}:
        raise NotFound(
            f"there is no `{dockerfile}` in the build context `{source}`, or an ignore file names it", code="no_such_path"
        )
    target.mkdir(parents=True)
    for entry in entries:
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.target is not None:
            place.symlink_to(entry.target)
            os.utime(place, (EPOCH_S, EPOCH_S), follow_symlinks=False)
            continue
        shutil.copyfile(root / entry.path, place)
        place.chmod(0o755 if entry.executable else 0o644)
        os.utime(place, (EPOCH_S, EPOCH_S))
    _hand_on_ignore_file(target)
    for directory in [target, *(path for path in target.rglob("*") if path.is_dir() and not path.is_symlink())]:
        directory.chmod(0o755)
        os.utime(directory, (EPOCH_S, EPOCH_S))
    return target / dockerfile


def _hand_on_ignore_file(target: Path) -> None:
    first = next((target / name for name in IGNORE_FILES if (target / name).is_file()), None)
    if first is not None and first.name != ".dockerignore":
        shutil.copyfile(first, target / ".dockerignore")
        os.utime(target / ".dockerignore", (EPOCH_S, EPOCH_S))
