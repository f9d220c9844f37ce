"""Who uses a version of an environment or a model, so that it cannot be deleted under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.workspace.database import Database

_SHOWN = 5
_CALLED = ("label", "reference", "id", "endpoint")  # the columns that hold what people call a row


def users_of_versions(database: Database, *, version_id: int | None = None, environment_id: int | None = None) -> list[str]:
    """Return what refers to this version, or to any of this environment's, as people call it: ``run 8f3a2c``, ``label production``."""
    if version_id is not None:
        return _users(database, "versions", "?", version_id)
    return _users(database, "versions", "SELECT id FROM versions WHERE environment_id = ?", environment_id)


def users_of_models(database: Database, models: str, value: Any) -> list[str]:
    """Return what refers to the models whose numbers the query ``models`` with ``value`` yields, as people call it."""
    return _users(database, "models", models, value)


def _users(database: Database, used: str, query: str, value: Any) -> list[str]:
    """Return who uses rows of the table ``used``.

    The schema says who refers to them: every table with a foreign key to them that neither goes nor lets go when a row does.
    So a table that a later migration adds protects them without a word here. At most five of each kind are named, and the
    number of the rest.
    """
    tables = database.rows(
        'SELECT m.name, f."from" FROM sqlite_master m, pragma_foreign_key_list(m.name) f'
        " WHERE m.type = 'table' AND f.\"table\" = ? AND f.on_delete NOT IN ('CASCADE', 'SET NULL') ORDER BY m.name",
        used,
    )
    found: list[str] = []
    for table, column in tables:
        names = {row[1] for row in database.rows(f'PRAGMA table_info("{table}")')}
        shown = next((name for name in _CALLED if name in names), column)
        where = f'FROM "{table}" WHERE "{column}" IN ({query})'
        if shown == "endpoint":  # whoever has deployments, many of them as a rule, is their endpoint
            names_found = list(dict.fromkeys(row[0] for row in database.rows(f'SELECT "{shown}" {where}', value)))
            found += _named("endpoints", names_found[:_SHOWN], len(names_found))
            continue
        rows = database.rows(f'SELECT "{shown}" {where} LIMIT {_SHOWN}', value)
        count = database.rows(f"SELECT count(*) {where}", value)[0][0] if len(rows) == _SHOWN else len(rows)
        found += _named(table.rpartition("_")[2], [row[0] for row in rows], count)  # model_labels hold labels
    return found


def _named(kind: str, shown: Sequence[str], count: int) -> list[str]:
    more = [f"{count - len(shown)} more {kind}"] if count > len(shown) else []
    return [*(f"{kind.removesuffix('s')} {name}" for name in shown), *more]
