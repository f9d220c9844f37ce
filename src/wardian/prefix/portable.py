"""Prefixes as archives that can be unpacked anywhere: made once for each, kept beside the prefixes."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wardian.errors import InstallFailed
from wardian.events import Event
from wardian.prefix.cache import MARK, Ready
from wardian.prefix.evict import Candidate
from wardian.small_file import read_small
from wardian.tools.disk import FileLock, atomic_writer, disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wardian.events import Listener
    from wardian.prefix.cache import PrefixCache

DIRECTORY = "portable"  # below the cache
_LEVEL = 1  # of gzip: it is sent once, and unpacked once by each executor
_SUFFIX = ".tar.gz"


def ensure_portable(
    prefixes: PrefixCache, prefix: Path, place: Path, listener: Listener, *, leave_out: Callable[[str], bool] = lambda _path: False
) -> Path:  # fmt: skip
    """Return an archive of the installed ``prefix`` that holds its interpreter, too: ``bin/python`` runs wherever it is unpacked.

    A standalone Python and what is installed beside it become one tree; a conda prefix stays as it is: its programs find their
    libraries by where they are, while text in its files that names its old place does not change. Safe between processes, atomic.

    Args:     place: where archives are kept.  leave_out: says of a path below the prefix whether it stays out.
    Raises:   InstallFailed: ``not_portable``: its interpreter is this machine's own.  DiskFull.
    """
    target = place / f"{prefix.name}{_SUFFIX}"
    if target.exists():
        os.utime(target)
        return target
    with disk_errors(place):
        place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / "locks" / f"{prefix.name}.lock")
    lock.acquire(on_wait=lambda holder: listener(Event("phase", f"waiting for {holder}, which packs the same environment")))
    with lock:
        if not target.exists():
            trees = _trees(prefixes, prefix)
            listener(Event("phase", "packing the environment for other machines"))
            with disk_errors(place), atomic_writer(target) as stream:
                _write(stream, trees, leave_out)
    return target


def _trees(prefixes: PrefixCache, prefix: Path) -> list[tuple[Path, str]]:
    """Return which directories become the archive, and where each goes in it; what comes first stays."""
    ready = Ready.from_json(read_small(prefix / MARK))
    if (prefix / "conda-meta").is_dir():
        return [(prefix, "")]
    if ready is None or not ready.requires:
        raise InstallFailed("the environment cannot be sent to other machines: its Python is this machine's own", code="not_portable",
                            hint="`python.source: managed` with a reachable catalogue of Pythons, or a conda environment; or install it on each node")  # fmt: skip
    python = prefixes.root / ready.requires[0] / "python"
    packages = next(iter(sorted((prefix / "lib").glob("python3*/site-packages"))))
    below = packages.relative_to(prefix).as_posix()
    return [(packages, below), (python, "")]


def _write(stream: IO[bytes], trees: list[tuple[Path, str]], leave_out: Callable[[str], bool]) -> None:
    own = trees[0][1]  # packages that came with the interpreter are none of the environment's
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=_LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        names = set()
        for number, (root, below) in enumerate(trees):
            for path in _files(root):
                name = Path(below, path.relative_to(root)).as_posix()
                if leave_out(name) or name.startswith(".wardian/") or (number and own and name.startswith(f"{own}/")):
                    continue
                names.add(name)
                member = tar.gettarinfo(str(path), name)
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mtime = 0
                member.mode |= 0o200  # so that it can be removed where it was unpacked
                if member.islnk():
                    member.type, member.linkname = tarfile.REGTYPE, ""
                    member.size = path.stat().st_size
                if member.isreg():
                    with path.open("rb") as content:
                        tar.addfile(member, content)
                elif member.issym():
                    tar.addfile(member)
        if "bin/python" not in names:
            link = tarfile.TarInfo("bin/python")
            link.type, link.linkname = tarfile.SYMTYPE, "python3"
            tar.addfile(link)


def _files(root: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(root):
        directories.sort()
        here = Path(directory)
        yield from (here / name for name in sorted(files))
        yield from (here / name for name in directories if (here / name).is_symlink())


class PortableCleaning:
    """A ``wardian.prefix.evict.Beside`` over the archives: each can be made again."""

    kinds: tuple[str, ...] = ("portable",)

    def __init__(self, prefixes: PrefixCache, place: Path):
        self._prefixes = prefixes
        self.place = place

    def candidates(self) -> Iterator[Candidate]:
        """See ``Beside``."""
        for path in self._archives():
            if self._is_held(path):
                continue
            try:
                used = path.stat().st_mtime
            except FileNotFoundError:
                continue
            yield Candidate("portable", path.name, path, used, 0, "an environment packed for other machines")

    def kept(self) -> Iterable[Path]:
        """See ``Beside``."""
        return [path for path in self._archives() if self._is_held(path)]

    def _archives(self) -> list[Path]:
        return sorted(self.place.glob(f"*{_SUFFIX}"))

    def _is_held(self, path: Path) -> bool:
        """Return whether a run uses the prefix, and may be sending its archive."""
        return self._prefixes.use_lock(path.name.removesuffix(_SUFFIX)).is_held()

    def remove(self, candidate: Candidate) -> bool:
        """See ``Beside``."""
        try:
            if candidate.path.stat().st_mtime > candidate.used or self._is_held(candidate.path):
                return False
            candidate.path.unlink()
        except FileNotFoundError:
            return False
        return True
