"""What link scripts change, as entries of a layer: they run once, in a prefix of their own that nothing else is made of."""

from __future__ import annotations

import contextlib
import filecmp
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.image.conda_staging import staging_prefix
from wardian.image.entry import ENVIRONMENT, ENVIRONMENT_PATH, Entry
from wardian.package.conda_linking import link_in_worker
from wardian.package.conda_worker import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.lock import Artifact

WHITEOUT = ".wh."
_APART = ("conda-meta", "__clobbers__", "CACHEDIR.TAG")


@dataclass(frozen=True, slots=True)
class ScriptLayer:
    """What link scripts did.

    Attributes:
        entries: files that they made or changed, and whiteouts for those that they removed; sorted by path.
        note: which scripts, and what about the result cannot be reproduced.
    """

    entries: tuple[Entry, ...]
    note: str


@contextlib.contextmanager
def run_link_scripts(
    artifacts: Sequence[Artifact],
    archives: Mapping[Digest, Path],
    scripted: Sequence[str],
    *,
    place: Path,
    package_cache: Path,
    listener: Listener,
) -> Iterator[ScriptLayer]:
    """Link the whole environment, let its link scripts run, and give what differs from the same without them.

    The scripts see the environment where it lies in the image, at ``/opt/env``, on this machine's system; nobody else sees it
    there. They cannot reach the package cache's files: theirs are copies. What they do elsewhere on the machine is not prevented.

    Args:     artifacts: all conda packages of the environment.  scripted: names of those that have link scripts.
              place, package_cache: as for ``staged``.
    Raises:   InstallFailed: codes ``link_script_failed``, ``link_scripts_need_mounts``, and those of ``staged``.  BadArchive, DiskFull.
    """
    paths = {str(a.sha256): str(archives[a.sha256].absolute()) for a in artifacts}
    cache = str(package_cache.absolute())
    with staging_prefix(place) as root:
        plain, ran = root / "plain", root / "ran"
        link_in_worker(
            Task(tuple(artifacts), paths, str(plain), cache, "ignore", copy=False, target=ENVIRONMENT_PATH), listener
        )
        task = Task(tuple(artifacts), paths, str(ran), cache, "run", copy=True, target=ENVIRONMENT_PATH, at_target=True)
        link_in_worker(task, listener)
        entries = tuple(_difference(plain, ran))
        yield ScriptLayer(entries, (
            f"the link scripts of {', '.join(scripted)} ran on the building machine and changed {len(entries)} files: "
            "another machine may make others, so this layer cannot be reproduced for certain"
        ))  # fmt: skip


def _difference(before: Path, after: Path) -> Iterator[Entry]:
    old, new = _files(before), _files(after)
    stale = {path for path in new if path.endswith(".pyc") and "__pycache__" in path and path not in old}
    for path in sorted({*old, *new} - stale, key=str.encode):
        if path not in new:
            directory, _, name = path.rpartition("/")
            yield Entry.of_bytes("/".join(filter(None, (ENVIRONMENT, directory, WHITEOUT + name))), b"")
        elif path not in old or not _same(before / path, after / path):
            status = (after / path).lstat()
            if stat.S_ISLNK(status.st_mode):
                yield Entry(f"{ENVIRONMENT}/{path}", "link", target=os.readlink(after / path))  # noqa: PTH115
            elif stat.S_ISREG(status.st_mode):
                runs = bool(status.st_mode & stat.S_IXUSR)
                yield Entry.of_file(f"{ENVIRONMENT}/{path}", after / path, size_bytes=status.st_size, executable=runs)


def _files(root: Path) -> set[str]:
    """Return the files and links below ``root`` that belong to the environment."""
    found: set[str] = set()
    for directory, names, files in os.walk(root):
        links = [name for name in names if (Path(directory) / name).is_symlink()]
        inside = os.path.relpath(directory, root)
        if inside == ".":
            names[:] = [name for name in names if name not in _APART]
            files = [name for name in files if name not in _APART]  # noqa: PLW2901
        found.update(os.path.normpath(f"{inside}/{name}") for name in [*files, *links])
    return found


def _same(one: Path, other: Path) -> bool:
    a, b = one.lstat(), other.lstat()
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode) or ((a.st_mode ^ b.st_mode) & stat.S_IXUSR and not one.is_symlink()):
        return False
    if stat.S_ISLNK(a.st_mode):
        return one.readlink() == other.readlink()
    return stat.S_ISREG(a.st_mode) and filecmp.cmp(one, other, shallow=False)
