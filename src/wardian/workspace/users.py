"""Who uses a version, so that it cannot be deleted under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardian.workspace.database import Database

_SHOWN = 5


def users_of_versions(database: Database, *, version_id: int | None = None, environment_id: int | None = None) -> list[str]:
    """Return what refers to this version, or to any of this environment's, as people call it: ``run 8f3a2c``, ``label production``.

    The schema says who refers to versions: every table with a foreign key to them that neither goes nor lets go when a
    version does. So a table that a later migration adds protects its versions without a word here. At most five of each
    kind are named, and the number of the rest.
    """
    tables = database.rows(
        'SELECT m.name, f."from" FROM sqlite_master m, pragma_foreign_key_list(m.name) f'
        " WHERE m.type = 'table' AND f.\"table\" = 'versions' AND f.on_delete NOT IN ('CASCADE', 'SET NULL') ORDER BY m.name"
    )
    versions = "?" if version_id is not None else "SELECT id FROM versions WHERE environment_id = ?"
    value = version_id if version_id is not None else environment_id
    found: list[str] = []
    for table, column in tables:
        names = {row[1] for row in database.rows(f'PRAGMA table_info("{table}")')}
        shown = next((name for name in ("label", "id") if name in names), column)
        where = f'FROM "{table}" WHERE "{column}" IN ({versions})'
        rows = database.rows(f'SELECT "{shown}" {where} LIMIT {_SHOWN}', value)
        found += [f"{table.removesuffix('s')} {row[0]}" for row in rows]
        if len(rows) == _SHOWN:
            count = database.rows(f"SELECT count(*) {where}", value)[0][0]
            found += [f"{count - _SHOWN} more {table}"] if count > _SHOWN else []
    return found
