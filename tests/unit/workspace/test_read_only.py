"""Records are read without writing beside them, with all that was committed, whatever their journal and whoever has them open."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from wardian.workspace.database import Database
from wardian.workspace.read_only import connect_read_only, journal_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "50% of? #it"  # the path goes through a URL
    found.mkdir()
    return found


def insert(database: Database, name: str) -> None:
    with database.write():
        database.execute("INSERT INTO environments (name, created) VALUES (?, 'then')", name)


def names(path: Path) -> list[str]:
    with closing(connect_read_only(path, 1.0)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM environments ORDER BY name")]


def files(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_records_that_nobody_has_open(place: Path, journal: str) -> None:
    path = place / "workspace.db"
    database = Database.open(path, journal=journal)
    insert(database, "one")
    database.close()
    before = files(place)
    assert journal_of(path) == journal
    assert names(path) == ["one"]
    assert files(place) == before


def test_records_that_another_has_open(place: Path) -> None:
    database = Database.open(place / "workspace.db", journal="wal")
    insert(database, "one")
    assert names(database.path) == ["one"]
    insert(database, "two")
    assert names(database.path) == ["one", "two"]
    database.close()


def test_a_journal_that_was_copied_without_its_index_counts(place: Path, tmp_path: Path) -> None:
    database = Database.open(place / "workspace.db", journal="wal")
    insert(database, "one")
    copy = tmp_path / "copy"
    copy.mkdir()
    for ending in ("", "-wal"):
        shutil.copyfile(f"{database.path}{ending}", copy / f"workspace.db{ending}")
    database.close()
    before = files(copy)
    assert names(copy / "workspace.db") == ["one"]
    assert files(copy) == before
