"""Targets that a workspace knows by name: where they are and what is asked of them, never a secret."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, NotFound
from wardian.workspace.clock import moment_text, utc_now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from wardian.workspace.database import Database


@dataclass(frozen=True, slots=True)
class NamedTarget:
    """A place to run that has a name.

    Attributes:
        kind: which engine: ``slurm``, ``podman`` …
        options: what is asked of it, NAME → text; secrets by the names of stored ones.
        created: RFC 3339; empty: it is built in.
    """

    name: str
    kind: str
    options: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    @property
    def is_built_in(self) -> bool:
        """Whether every workspace has it."""
        return not self.created

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"name": self.name, "kind": self.kind, "options": dict(self.options), "built_in": self.is_built_in,
                "created": self.created or None}  # fmt: skip


class Targets:
    """The named targets of a workspace. Safe across processes. Names and options are checked by whoever adds them."""

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    def add(self, name: str, kind: str, options: Mapping[str, str]) -> NamedTarget:
        """Add a target. One that is there with the same kind and options is returned as it is.

        Raises:   Conflict: ``target_exists``: there is another one of that name.
        """
        with self._database.write():
            known = self.find(name)
            if known is not None:
                if (known.kind, dict(known.options)) == (kind, dict(options)):
                    return known
                raise Conflict(f"there is a target `{name}` already, of kind {known.kind}", code="target_exists",
                               hint=f"`wardian target show {name}`; to change it, delete it first: `wardian target delete {name}`")  # fmt: skip
            made = NamedTarget(name, kind, dict(options), moment_text(self._now()))
            self._database.execute("INSERT INTO targets (name, kind, options, created) VALUES (?, ?, ?, ?)",
                                   name, kind, json.dumps(dict(options), sort_keys=True), made.created)  # fmt: skip
            return made

    def find(self, name: str) -> NamedTarget | None:
        """Return the target of that name, or None."""
        row = self._database.row("SELECT * FROM targets WHERE name = ?", name)
        return _target(row) if row is not None else None

    def list(self) -> Sequence[NamedTarget]:
        """Return all, by name."""
        return [_target(row) for row in self._database.rows("SELECT * FROM targets ORDER BY name")]

    def delete(self, name: str) -> None:
        """Forget a target; what ran there keeps its record.

        Raises:   NotFound: ``target_not_found``.  Conflict: ``target_in_use``: runs of it have not ended.
        """
        with self._database.write():
            if self.find(name) is None:
                raise NotFound(f"there is no target `{name[:80]}`", code="target_not_found", hint="see `wardian target list`")
            rows = self._database.rows(
                "SELECT id FROM runs WHERE target = ? AND state IN ('queued', 'preparing', 'running') ORDER BY id LIMIT 4", name
            )
            if rows:
                shown = ", ".join(row["id"] for row in rows[:3]) + (" …" if len(rows) > 3 else "")  # noqa: PLR2004
                raise Conflict(f"runs on `{name}` have not ended: {shown}", code="target_in_use",
                               hint=f"`wardian runs wait {rows[0]['id']}`, or `wardian runs cancel {rows[0]['id']}`")  # fmt: skip
            self._database.execute("DELETE FROM targets WHERE name = ?", name)


def _target(row: sqlite3.Row) -> NamedTarget:
    return NamedTarget(row["name"], row["kind"], json.loads(row["options"]), row["created"])
