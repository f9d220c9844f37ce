"""The one SQLite connection of a workspace in a process: opening, journal, transactions, and errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import Bug, Conflict, Denied, DiskFull, NotFound, Unavailable, WardianError
from wardian.events import Event, silent
from wardian.workspace.file_system import MOUNTINFO, network_file_system
from wardian.workspace.migrations import MIGRATIONS, migrate, newest_migration, refuse_strangers
from wardian.workspace.read_only import connect_read_only, is_read_only, journal_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.events import Listener

_MEMORY = Path(":memory:")
_NO_SPACE_BYTES = 64 << 10  # SQLite grows its files by pages and 32 KiB blocks of shared memory


class DamagedRecords(WardianError):
    """The file that holds a workspace's records is damaged, or is no such file."""

    code = "damaged_records"


class Database:
    """Records of one workspace in SQLite. Safe across threads, processes and forks.

    On a local file system the journal is a WAL: readers never wait. On a network file system, where a WAL would lose
    records, it is a rollback journal, and one warning event says so when the journal is chosen. A committed write survives
    ``kill -9``.

    Reads see the last commit. A write waits up to ``timeout_s`` for others. Records that this user may not write can be read;
    nothing appears beside them then.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self.journal = ""  # what SQLite says: wal, delete, memory
        self.read_only = is_read_only(path)
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        self._depth = 0
        self._process = os.getpid()
        self._inherited: list[sqlite3.Connection] = []
        self._connection = self._connect()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        journal: str | None = None,
        listener: Listener = silent,
        timeout_s: float = 60.0,
        migrations: Path = MIGRATIONS,
        mountinfo: Path = MOUNTINFO,
    ) -> Database:
        """Open the records at ``path``; make or migrate them first where that is needed, in one transaction.

        Any number of processes may open a fresh file at once: one makes it, the others wait.

        Args:
            path: the file; its directory exists.
            journal: ``wal`` or ``delete`` (rollback journal); None: by the file system that ``path`` lies on.
            listener: gets the warning.
            timeout_s: how long a write waits for another process's, seconds.
            migrations: a directory of ``NNNN_subject.sql`` files.
            mountinfo: where the kernel lists this process's mounts.
        Raises:   WardianError: code ``newer_workspace``, written by a newer Wardian.  DamagedRecords: not a sound database.
                  Denied: it may not be read or written.  DiskFull.  Unavailable: held by another process for too long.
        """
        database = cls(path, timeout_s)
        network = None if journal or database.read_only else network_file_system(path.parent, mountinfo)
        try:
            with database._held():
                if database.read_only:
                    database._check_readable(migrations)
                    return database
                chosen = database._prepare(migrations, "delete" if network else journal)
        except BaseException:
            database.close()
            raise
        if network and chosen:
            text = (
                f"{path.parent} is on a network file system ({network}): records there use a rollback journal, which is slower"
            )
            listener(Event("warning", text, data={"file_system": network, "path": str(path)}))
        return database

    @classmethod
    def in_memory(cls) -> Database:
        """Return empty records that vanish with the object."""
        database = cls(_MEMORY, 0.0)
        database._prepare(MIGRATIONS, None)
        return database

    # -- reading and writing -----------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._held() as connection:
            return connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a query; None: it has none."""
        with self._held() as connection:
            found: sqlite3.Row | None = connection.execute(sql, values).fetchone()
            return found

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement that changes records, inside ``write``.

        Raises:   Bug: outside of ``write``.  Conflict: code ``deleted_meanwhile``: what the record is to refer to is no longer there.
                  sqlite3.IntegrityError: the change breaks another constraint of the schema.
        """
        with self._held() as connection:
            if not self._depth:
                raise Bug("a record is changed outside of a transaction")
            try:
                return connection.execute(sql, values)
            except sqlite3.IntegrityError as error:  # a version was found, then locked for minutes; others may delete it then
                if error.sqlite_errorname != "SQLITE_CONSTRAINT_FOREIGNKEY" or sql.startswith("DELETE"):
                    raise
                raise Conflict("the version that this is about was deleted meanwhile, by another process", code="deleted_meanwhile",
                               hint="`wardian env list` shows what there is") from error  # fmt: skip

    @contextmanager
    def write(self) -> Iterator[None]:
        """All changes inside are committed together at the end, or none if anything is raised. May be nested.

        Holds the workspace's write lock from the start, so what is read inside cannot be changed by others.

        Raises:   Denied: code ``records_denied``: this user may only read them.
        """
        if self.read_only:
            raise _denied(self.path, "they can only be read")
        with self._held() as connection:
            level = self._depth
            connection.execute(f"SAVEPOINT level_{level}" if level else "BEGIN IMMEDIATE")
            self._depth = level + 1
            try:
                yield
                connection.execute(f"RELEASE level_{level}" if level else "COMMIT")
            except BaseException:
                if connection.in_transaction:  # else SQLite itself rolled back: disk full, damaged
                    for sql in (f"ROLLBACK TO level_{level}", f"RELEASE level_{level}") if level else ("ROLLBACK",):
                        connection.execute(sql)
                raise
            finally:
                self._depth = level

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this process, for inspection and backups."""
        self._notice_fork()
        return self._connection

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        self._notice_fork()
        with self._lock:
            try:
                yield self._connection
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                    raise
                raise _explained(error, self.path) from error

    def _notice_fork(self) -> None:
        if self._process == os.getpid() or self.path == _MEMORY:
            return
        # SQLite's locks belong to the parent. Its connection is kept, unused: closing it here would end them
        self._inherited.append(self._connection)
        self._process, self._lock, self._depth = os.getpid(), threading.RLock(), 0
        self._connection = self._connect()
        self._tune()

    def close(self) -> None:
        """Close the connection. The last process to do so tidies the journal away."""
        if self._process == os.getpid():
            self._connection.close()

    def __del__(self) -> None:
        if hasattr(self, "_connection"):  # it may have failed to connect
            self.close()

    def faults(self) -> list[str]:
        """Return what is unsound in the file, one sentence each; empty: nothing. Reads all of it."""
        with self._held() as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check")]
            dangling = [
                f"{row[0]} row {row[1]} refers to a missing row of {row[2]}"
                for row in connection.execute("PRAGMA foreign_key_check")
            ]
        return [text for text in found if text != "ok"] + dangling

    # -- opening -----------------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        try:
            if self.read_only:
                connection = connect_read_only(self.path, self._timeout_s)
            else:
                connection = sqlite3.connect(self.path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False)
        except sqlite3.DatabaseError as error:
            raise _explained(error, self.path) from error
        except PermissionError as error:
            raise _denied(self.path, str(error.strerror)) from error
        connection.row_factory = sqlite3.Row
        return connection

    def _prepare(self, migrations: Path, wanted: str | None) -> bool:
        """Bring journal and schema up to date; return whether the journal was chosen now, not by an earlier opening."""
        connection = self._connection
        chosen = self._leave_wal() if wanted == "delete" else False
        newest = newest_migration(migrations)
        version = refuse_strangers(connection, self.path, newest)
        # A sound file keeps its rollback journal: the network may see the same file from another machine
        if wanted == "wal":
            self._insist("PRAGMA journal_mode = WAL")
        if version < newest:
            chosen = chosen or version == 0
            if version == 0 and wanted is None:
                self._insist("PRAGMA journal_mode = WAL")
            migrate(connection, self.path, migrations)
        self.journal = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
        self._tune()
        return chosen

    def _check_readable(self, migrations: Path) -> None:
        newest = newest_migration(migrations)
        version = refuse_strangers(self._connection, self.path, newest)
        if version < newest:
            raise _denied(self.path, f"they have schema {version}, and cannot be brought up to {newest}")
        self.journal = journal_of(self.path)

    def _leave_wal(self) -> bool:
        # in exclusive mode SQLite keeps the WAL's index in its own memory: no shared memory on a network file system
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        was_wal: bool = self._insist("PRAGMA journal_mode") == "wal"
        if was_wal:
            self._insist("PRAGMA journal_mode = DELETE")
        self._connection.execute("PRAGMA locking_mode = NORMAL")
        self._insist("PRAGMA user_version")  # the lock goes with the next read
        return was_wal

    def _insist(self, sql: str) -> Any:
        """Run a statement that SQLite refuses at once, without waiting, while another process has the file open."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._connection.execute(sql).fetchone()[0]
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def _tune(self) -> None:
        if self.read_only:
            return
        self._connection.execute("PRAGMA foreign_keys = ON")
        if self.journal == "wal":
            # a commit survives the death of the process; after a power cut the last ones may be missing, none is torn
            self._connection.execute("PRAGMA synchronous = NORMAL")


def _free_bytes(directory: Path) -> int:
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _explained(error: sqlite3.Error, path: Path) -> WardianError:
    code = _primary_code(error)
    if not path.parent.is_dir():
        return NotFound(f"there is no directory {path.parent}", hint="see `wardian workspace list`", code="workspace_not_found")
    free_bytes = _free_bytes(path.parent)
    if code == sqlite3.SQLITE_FULL or (
        code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and free_bytes < _NO_SPACE_BYTES
    ):
        return DiskFull(str(path.parent), needed_bytes=None, free_bytes=free_bytes)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return Unavailable(f"the records in {path} are held by another process", hint="try again; `fuser` names the process that has the file open",
                           code="records_busy")  # fmt: skip
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedRecords(f"the records in {path} are damaged: {error}",
                              hint="restore the file from a backup, or rescue what can be read with `sqlite3 FILE .recover`")  # fmt: skip
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN):
        return _denied(path, str(error))
    return Unavailable(f"the records in {path} cannot be used: {error}", code="records_unavailable")


def _denied(path: Path, why: str) -> Denied:
    return Denied(f"the records in {path} may not be written: {why}", code="records_denied",
                  hint="the file and its directory must be writable by you; or point WARDIAN_HOME elsewhere")  # fmt: skip
