"""Labels: movable names of a version, with a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.reference import Reference, check_label
from wardian.workspace.resolution import get_version, label_missing, missing
from wardian.workspace.version import EnvironmentVersion, LabelMove

if TYPE_CHECKING:
    import sqlite3

    from wardian.workspace.database import Database


def put_label(database: Database, name: str, version: str, label: str, *, author: str, moment: str) -> EnvironmentVersion:
    """Give ``label`` to a version, taking it from the one that had it. Idempotent."""
    check_label(label)
    with database.write():
        found = get_version(database, Reference(name=name, version=version))
        environment_id, was = _state(database, name, label)
        if was != version:
            database.execute("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", environment_id, label, found.id)
            _note(database, environment_id, LabelMove(label, was, version, author, moment))
        return get_version(database, Reference(name=name, version=version))


def remove_label(database: Database, name: str, label: str, *, author: str, moment: str) -> None:
    """Take ``label`` away from the version that has it."""
    check_label(label)
    with database.write():
        environment_id, was = _state(database, name, label)
        if was is None:
            raise label_missing(database, name, label)
        database.execute("DELETE FROM labels WHERE environment_id = ? AND label = ?", environment_id, label)
        _note(database, environment_id, LabelMove(label, was, None, author, moment))


def label_history(database: Database, name: str, label: str | None) -> tuple[LabelMove, ...]:
    """Return the moves of one label, or of all of an environment's, the newest first."""
    environment_id = _environment(database, name)["id"]
    one, values = (" AND label = ?", (label,)) if label is not None else ("", ())
    rows = database.rows(
        f"SELECT label, from_version, to_version, author, moved FROM label_moves WHERE environment_id = ?{one} ORDER BY id DESC",  # noqa: S608
        environment_id,
        *values,
    )
    return tuple(LabelMove(*row) for row in rows)


def _environment(database: Database, name: str) -> sqlite3.Row:
    row = database.row("SELECT id FROM environments WHERE name = ?", name)
    if row is None:
        raise missing(database, Reference(name=name))
    return row


def _state(database: Database, name: str, label: str) -> tuple[int, str | None]:
    environment_id = _environment(database, name)["id"]
    row = database.row(
        "SELECT v.version FROM labels l JOIN versions v ON v.id = l.version_id WHERE l.environment_id = ? AND l.label = ?",
        environment_id,
        label,
    )
    return environment_id, row[0] if row else None


def _note(database: Database, environment_id: int, move: LabelMove) -> None:
    database.execute(
        "INSERT INTO label_moves (environment_id, label, from_version, to_version, author, moved) VALUES (?, ?, ?, ?, ?, ?)",
        environment_id,
        *(move.label, move.from_version, move.to_version, move.author, move.moved),
    )
