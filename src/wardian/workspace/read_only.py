"""Records that this user may read and not write: on a read-only mount, or in somebody else's home."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from wardian.errors import Unavailable

_TRIES = 20
_WRITE_VERSION = 18  # of the header: 2 is a WAL, 1 a rollback journal


def is_read_only(path: Path) -> bool:
    """Return whether the records at ``path`` are there and cannot be changed: the file, or its directory, which holds the journal."""
    return path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def journal_of(path: Path) -> str:
    """Return ``wal`` or ``delete`` (rollback journal): what the file's header says, whoever has it open."""
    with path.open("rb") as stream:
        header = stream.read(_WRITE_VERSION + 1)
    return "wal" if header[_WRITE_VERSION:] == b"\2" else "delete"


def connect_read_only(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Open the records at ``path`` without writing anything beside them, and with every committed change in sight.

    A WAL that nobody has open cannot be shared by one who may not write: the records are read into memory then, as they are.

    Raises:   sqlite3.OperationalError: they cannot be read.  Unavailable: they change faster than they are read.
    Source:   https://www.sqlite.org/wal.html, "Read-Only Databases"; https://www.sqlite.org/uri.html
    """
    if journal_of(path) == "delete" or Path(f"{path}-shm").exists():
        return _open(path, "mode=ro", timeout_s)
    for _ in range(_TRIES):
        before = _state(path)
        found = _in_memory(path, timeout_s)
        if _state(path) == before:
            return found
        found.close()
    raise Unavailable(f"the records in {path} are being changed all the time", hint="try again", code="records_busy")


def _in_memory(path: Path, timeout_s: float) -> sqlite3.Connection:
    if not Path(f"{path}-wal").exists():
        return _copied(path, "immutable=1", timeout_s)
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="wardian-records-") as place:  # what was copied without its index: SQLite makes one
        copy = Path(place) / path.name
        for ending in ("", "-wal"):
            shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
        return _copied(copy, "mode=rw", timeout_s)


def _copied(path: Path, how: str, timeout_s: float) -> sqlite3.Connection:
    source = _open(path, how, timeout_s)
    memory = sqlite3.connect(":memory:", timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        source.backup(memory)
    except BaseException:
        memory.close()
        raise
    finally:
        source.close()
    return memory


def _open(path: Path, how: str, timeout_s: float) -> sqlite3.Connection:
    from urllib.parse import quote

    address = f"file:{quote(os.fsencode(path.absolute()))}?{how}"
    return sqlite3.connect(address, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _state(path: Path) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for ending in ("", "-wal", "-shm"):
        try:
            status = os.stat(f"{path}{ending}")  # noqa: PTH116
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((status.st_size, status.st_mtime_ns))
    return found
