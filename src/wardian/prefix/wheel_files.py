"""Compares installed wheels with their archives: what uv unpacked before may have been changed since, and hard links share it."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from wardian.definition.requirement import canonical_name
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.digest import Digest

WHEEL_FILES = "wheel-files"  # beside the prefixes: what the files of a wheel were when they were last looked at
_WRITTEN_BY_INSTALLERS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_METADATA = ("METADATA", "WHEEL", "entry_points.txt")
_CHUNK = 1 << 20


def changed_wheels(prefix: Path, wheels: Mapping[Digest, Path], memory: Path) -> list[Digest]:
    """Return which of ``wheels`` are not in ``prefix`` as they are in their archives: a file is missing or has other bytes.

    Of several wheels with one file, it is any one's.

    What was unpacked for this installation is as the archive is. From the next one on, a wheel is read in full if one of its
    files has another inode, size or time of change than the last time: only a write that puts all three back goes unseen.

    Args:     wheels: the installed archives, whose own digests were compared, by digest.
              memory: a directory for what was found; that it can't be written is no error.
    """
    lists = {
        canonical_name(path.parent.name.removesuffix(".dist-info").rpartition("-")[0]): path
        for path in prefix.glob("lib/python*/site-packages/*.dist-info/RECORD")
    }
    suspect: list[tuple[Digest, Path, Path, str]] = []
    changed: list[Digest] = []
    for sha256, archive in wheels.items():
        record = lists.get(canonical_name(archive.name.partition("-")[0]))
        if record is None:
            changed.append(sha256)
            continue
        now, before = _fingerprint(record), _remembered(memory, sha256)
        if not before:
            _remember(memory, sha256, now)
        elif before != now:
            suspect.append((sha256, archive, record.parent.parent, now))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        same = pool.map(lambda one: _is_same(one[1], one[2], [*wheels.values()]), suspect)
        for (sha256, _, _, now), is_same in zip(suspect, same, strict=True):
            if is_same:
                _remember(memory, sha256, now)
            else:
                changed.append(sha256)
    return changed


def forget(memory: Path, sha256: str) -> None:
    """Forget what the files of a wheel were."""
    with contextlib.suppress(OSError):
        (memory / sha256).unlink()


def _fingerprint(record: Path) -> str:
    """Return what tells whether a file of the list was written to since."""
    site = os.fspath(record.parent.parent)
    hasher = hashlib.sha256()
    own = record.parent.name
    rows = csv.reader(io.StringIO(read_small(record).decode("utf-8", "replace"), newline=""))
    for path, *rest in filter(None, rows):
        # scripts, and what the installer notes beside the metadata, are made here, anew each time
        directory, _, name = path.rpartition("/")
        if path.startswith("../") or not rest or not rest[0] or (directory == own and name not in _METADATA):
            continue
        try:
            found = os.lstat(f"{site}/{path}")
            hasher.update(f"{path}\0{rest[0]}\0{found.st_ino}\0{found.st_mtime_ns}\0{found.st_size}\n".encode())
        except OSError:
            hasher.update(f"{path}\0missing\n".encode())
    return hasher.hexdigest()


def _is_same(archive: Path, site: Path, wheels: Sequence[Path]) -> bool:
    """Compare every file with its member of the archive. A wheel's own list of digests may be wrong from the beginning.

    A file that another one of ``wheels`` has too may be that one's: whichever was unpacked last is there.
    """
    with zipfile.ZipFile(archive) as members:
        for info in members.infolist():
            top, _, rest = info.filename.partition("/")
            own = top.endswith(".dist-info") and rest in _WRITTEN_BY_INSTALLERS
            if info.is_dir() or own or top.endswith(".data"):
                continue
            try:
                with (site / info.filename).open("rb") as here, members.open(info) as there:
                    is_own = _are_equal(here, there)
            except OSError:
                return False
            if not is_own and not any(_has(other, info.filename, site) for other in wheels if other != archive):
                return False
    return True


def _has(archive: Path, name: str, site: Path) -> bool:
    """Return whether the file ``name`` in ``site`` is the archive's."""
    with zipfile.ZipFile(archive) as members:
        if name not in members.namelist():
            return False
        with (site / name).open("rb") as here, members.open(name) as there:
            return _are_equal(here, there)


def _are_equal(one: IO[bytes], other: IO[bytes]) -> bool:
    while True:
        piece = other.read(_CHUNK)
        if one.read(len(piece) or 1) != piece:
            return False
        if not piece:
            return True


def _remembered(memory: Path, sha256: Digest) -> str:
    try:
        return read_small(memory / sha256).decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _remember(memory: Path, sha256: Digest, fingerprint: str) -> None:
    with contextlib.suppress(OSError):
        memory.mkdir(parents=True, exist_ok=True)
        temporary = memory / f"{sha256}.{os.getpid()}"
        temporary.write_text(fingerprint)
        temporary.replace(memory / sha256)
