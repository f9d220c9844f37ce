"""Labels of models: movable names of a version, with a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.reference import Reference, check_label
from wardian.workspace.model_lookup import get_model, label_missing, missing
from wardian.workspace.version import LabelMove

if TYPE_CHECKING:
    from wardian.workspace.database import Database
    from wardian.workspace.model_version import ModelVersion


def put_label(database: Database, reference: str | Reference, label: str, *, author: str, moment: str) -> ModelVersion:
    """Give ``label`` to a version, taking it from the one that had it. Idempotent."""
    check_label(label)
    with database.write():
        found = get_model(database, reference)
        name_id, was = _state(database, found.name, label)
        if was != found.version:
            database.execute("INSERT OR REPLACE INTO model_labels VALUES (?, ?, ?)", name_id, label, found.id)
            _note(database, name_id, LabelMove(label, was, found.version, author, moment))
        return get_model(database, Reference(model=found.name, version=found.version))


def remove_label(database: Database, name: str, label: str, *, author: str, moment: str) -> None:
    """Take ``label`` away from the version that has it."""
    check_label(label)
    with database.write():
        name_id, was = _state(database, name, label)
        if was is None:
            raise label_missing(database, name, label)
        database.execute("DELETE FROM model_labels WHERE name_id = ? AND label = ?", name_id, label)
        _note(database, name_id, LabelMove(label, was, None, author, moment))


def label_history(database: Database, name: str, label: str) -> tuple[LabelMove, ...]:
    """Return the moves of a label, the newest first."""
    name_id, _ = _state(database, name, label)
    rows = database.rows(
        "SELECT label, from_version, to_version, author, moved FROM model_label_moves WHERE name_id = ? AND label = ? ORDER BY id DESC",
        name_id,
        label,
    )
    return tuple(LabelMove(*row) for row in rows)


def _state(database: Database, name: str, label: str) -> tuple[int, str | None]:
    row = database.row("SELECT id FROM model_names WHERE name = ? AND latest_id IS NOT NULL", name)
    if row is None:
        raise missing(database, Reference(model=name))
    held = database.row(
        "SELECT m.version FROM model_labels l JOIN models m ON m.id = l.model_id WHERE l.name_id = ? AND l.label = ?",
        row["id"],
        label,
    )
    return row["id"], held[0] if held else None


def _note(database: Database, name_id: int, move: LabelMove) -> None:
    database.execute(
        "INSERT INTO model_label_moves (name_id, label, from_version, to_version, author, moved) VALUES (?, ?, ?, ?, ?, ?)",
        name_id,
        *(move.label, move.from_version, move.to_version, move.author, move.moved),
    )
