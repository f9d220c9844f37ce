"""Movable names of versions and the history of their moves: what the labels of environments and those of models have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.workspace.version import LabelMove

if TYPE_CHECKING:
    from wardian.workspace.database import Database

_SHOWN = 10


@dataclass(frozen=True)
class LabelBook:
    """The two tables that hold the labels of one kind of thing. Changes belong into a transaction of the caller's.

    Attributes:
        labels, moves: the tables: who has a label now, and who had it when.
        owner: their column of the name that labels belong to.
        versions, version: the table of the versions, and the column of ``labels`` that refers to it.
    """

    labels: str
    moves: str
    owner: str
    versions: str
    version: str

    def holder(self, database: Database, owner_id: int, label: str) -> str | None:
        """Return the version that has ``label``; None: no version has it."""
        row = database.row(
            f"SELECT v.version FROM {self.labels} l JOIN {self.versions} v ON v.id = l.{self.version} WHERE l.{self.owner} = ? AND l.label = ?",  # noqa: S608
            owner_id,
            label,
        )
        return row[0] if row else None

    def give(
        self, database: Database, owner_id: int, label: str, version: str, version_id: int, *, author: str, moment: str
    ) -> None:
        """Give ``label`` to a version, taking it from the one that had it. Idempotent."""
        was = self.holder(database, owner_id, label)
        if was != version:
            database.execute(f"INSERT OR REPLACE INTO {self.labels} VALUES (?, ?, ?)", owner_id, label, version_id)  # noqa: S608
            self._note(database, owner_id, LabelMove(label, was, version, author, moment))

    def take(self, database: Database, owner_id: int, label: str, *, author: str, moment: str) -> bool:
        """Take ``label`` away; return False if no version has it."""
        was = self.holder(database, owner_id, label)
        if was is None:
            return False
        database.execute(f"DELETE FROM {self.labels} WHERE {self.owner} = ? AND label = ?", owner_id, label)  # noqa: S608
        self._note(database, owner_id, LabelMove(label, was, None, author, moment))
        return True

    def history(self, database: Database, owner_id: int, label: str | None = None) -> tuple[LabelMove, ...]:
        """Return the moves of one label, or of all, the newest first."""
        one, values = (" AND label = ?", (label,)) if label is not None else ("", ())
        rows = database.rows(
            f"SELECT label, from_version, to_version, author, moved FROM {self.moves} WHERE {self.owner} = ?{one} ORDER BY id DESC",  # noqa: S608
            owner_id,
            *values,
        )
        return tuple(LabelMove(*row) for row in rows)

    def known(self, database: Database, owner_id: int) -> str:
        """Return the labels that are given, for a sentence; empty: none is."""
        rows = database.rows(f"SELECT label FROM {self.labels} WHERE {self.owner} = ? ORDER BY label LIMIT ?", owner_id, _SHOWN)  # noqa: S608
        return ", ".join(f"`{row[0]}`" for row in rows)

    def _note(self, database: Database, owner_id: int, move: LabelMove) -> None:
        database.execute(
            f"INSERT INTO {self.moves} ({self.owner}, label, from_version, to_version, author, moved) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
            owner_id,
            *(move.label, move.from_version, move.to_version, move.author, move.moved),
        )


OF_ENVIRONMENTS = LabelBook("labels", "label_moves", "environment_id", "versions", "version_id")
OF_MODELS = LabelBook("model_labels", "model_label_moves", "name_id", "models", "model_id")
