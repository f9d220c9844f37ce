"""Labels of environments: movable names of a version, with a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.reference import Reference, check_label
from wardian.workspace.label_book import OF_ENVIRONMENTS
from wardian.workspace.resolution import get_version, label_missing, missing

if TYPE_CHECKING:
    from wardian.workspace.database import Database
    from wardian.workspace.version import EnvironmentVersion, LabelMove


def put_label(database: Database, name: str, version: str, label: str, *, author: str, moment: str) -> EnvironmentVersion:
    """Give ``label`` to a version, taking it from the one that had it. Idempotent."""
    check_label(label)
    with database.write():
        found = get_version(database, Reference(name=name, version=version))
        OF_ENVIRONMENTS.give(database, _owner(database, name), label, version, found.id, author=author, moment=moment)
        return get_version(database, Reference(name=name, version=version))


def remove_label(database: Database, name: str, label: str, *, author: str, moment: str) -> None:
    """Take ``label`` away from the version that has it."""
    check_label(label)
    with database.write():
        if not OF_ENVIRONMENTS.take(database, _owner(database, name), label, author=author, moment=moment):
            raise label_missing(database, name, label)


def label_history(database: Database, name: str, label: str | None) -> tuple[LabelMove, ...]:
    """Return the moves of one label, or of all of an environment's, the newest first."""
    return OF_ENVIRONMENTS.history(database, _owner(database, name), label)


def _owner(database: Database, name: str) -> int:
    row = database.row("SELECT id FROM environments WHERE name = ?", name)
    if row is None:
        raise missing(database, Reference(name=name))
    return int(row["id"])
