"""Labels of models: movable names of a version, with a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.reference import Reference, check_label
from wardian.workspace.label_book import OF_MODELS
from wardian.workspace.model_lookup import get_model, label_missing, missing

if TYPE_CHECKING:
    from wardian.workspace.database import Database
    from wardian.workspace.model_version import ModelVersion
    from wardian.workspace.version import LabelMove


def put_label(database: Database, reference: str | Reference, label: str, *, author: str, moment: str) -> ModelVersion:
    """Give ``label`` to a version, taking it from the one that had it. Idempotent."""
    check_label(label)
    with database.write():
        found = get_model(database, reference)
        OF_MODELS.give(database, _owner(database, found.name), label, found.version, found.id, author=author, moment=moment)
        return get_model(database, Reference(model=found.name, version=found.version))


def remove_label(database: Database, name: str, label: str, *, author: str, moment: str) -> None:
    """Take ``label`` away from the version that has it."""
    check_label(label)
    with database.write():
        if not OF_MODELS.take(database, _owner(database, name), label, author=author, moment=moment):
            raise label_missing(database, name, label)


def label_history(database: Database, name: str, label: str) -> tuple[LabelMove, ...]:
    """Return the moves of a label, the newest first."""
    return OF_MODELS.history(database, _owner(database, name), label)


def _owner(database: Database, name: str) -> int:
    row = database.row("SELECT id FROM model_names WHERE name = ? AND latest_id IS NOT NULL", name)
    if row is None:
        raise missing(database, Reference(model=name))
    return int(row["id"])
