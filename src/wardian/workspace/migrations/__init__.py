"""The schema of the records: numbered SQL files that are applied in order, once each, forward only."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import Bug, WardianError

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATIONS = Path(__file__).parent
APPLICATION_ID = 0x57415244  # "WARD": tells a workspace from any other SQLite file

_FILE = re.compile(r"([0-9]{4})_[a-z_]+\.sql")


def newest_migration(directory: Path = MIGRATIONS) -> int:
    """Return the number of the last migration: what ``user_version`` of an up-to-date file is."""
    return max((int(match.group(1)) for name in os.listdir(directory) if (match := _FILE.fullmatch(name))), default=0)  # noqa: PTH208 - on the warm path


def refuse_strangers(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """Return the file's schema version; 0: a fresh file.

    Raises:   WardianError: ``newer_workspace``: a newer Wardian made it; ``not_a_workspace``: another program did.
    """
    own = not connection.in_transaction
    if own:  # one snapshot: between two reads another process may make the whole schema
        connection.execute("BEGIN")
    try:
        empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    finally:
        if own and connection.in_transaction:
            connection.execute("COMMIT")
    is_fresh = application == 0 and version == 0 and empty
    if application != APPLICATION_ID and not is_fresh:
        raise WardianError(
            f"{path} is a database of another program", hint="choose another workspace directory", code="not_a_workspace"
        )
    if version > newest:
        raise WardianError(
            f"the records in {path} have schema {version}, this Wardian knows {newest}",
            hint="use a newer Wardian: `pip install --upgrade wardian`",
            code="newer_workspace",
        )
    return version


def migrate(connection: sqlite3.Connection, path: Path, directory: Path = MIGRATIONS) -> None:
    """Apply what is missing, all of it in one transaction. Safe when several processes do so at once."""
    newest = newest_migration(directory)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = refuse_strangers(connection, path, newest)  # again: another process may have been faster
        for file in _pending(directory, version):
            for statement in _statements(file):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pending(directory: Path, version: int) -> list[Path]:
    numbered = {int(match.group(1)): directory / name for name in os.listdir(directory) if (match := _FILE.fullmatch(name))}  # noqa: PTH208
    if sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise Bug(f"the migrations in {directory} are not numbered from 1 without gaps")
    return [numbered[number] for number in range(version + 1, len(numbered) + 1)]


def _statements(file: Path) -> Iterator[str]:
    # not executescript(): that would commit the transaction that all migrations share
    statement = ""
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in statement.splitlines()):
        raise Bug(f"{file} ends within a statement")
