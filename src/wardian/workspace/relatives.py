"""Which versions have something in common with one: what it is called, what it installs, what was made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardian.workspace.database import Database
    from wardian.workspace.version import EnvironmentVersion

_MOST = 1000
_NAMED = "SELECT e.name, v.version, v.definition_hash FROM versions v LEFT JOIN environments e ON e.id = v.environment_id"


def relatives(database: Database, version: EnvironmentVersion) -> dict[str, tuple[str, ...]]:
    """Return references to other versions, at most a thousand of a kind, in order of registration.

    - ``same_hash``: they ask for the same.
    - ``same_lock``: they are pinned to a lock that this one is pinned to, on whatever platform.
    - ``same_image``: they have had an image that this one has had.
    - ``descendants``: they were made from it, or from one of those: copies, edited ones, upgrades.
    """
    wanted = {
        "same_hash": "v.definition_hash = (SELECT definition_hash FROM versions WHERE id = ?1)",
        "same_lock": "v.id IN (SELECT b.version_id FROM pins a JOIN pins b ON b.lock_digest = a.lock_digest WHERE a.version_id = ?1)",
        "same_image": "v.id IN (SELECT b.version_id FROM images a JOIN images b ON b.manifest_digest = a.manifest_digest WHERE a.version_id = ?1)",
        "descendants": (
            "v.id IN (WITH RECURSIVE made (id) AS (SELECT id FROM versions WHERE parent_id = ?1"
            " UNION SELECT c.id FROM versions c JOIN made ON c.parent_id = made.id) SELECT id FROM made)"
        ),
    }
    return {name: _named(database, condition, version.id) for name, condition in wanted.items()}


def _named(database: Database, condition: str, version_id: int) -> tuple[str, ...]:
    rows = database.rows(f"{_NAMED} WHERE {condition} AND v.id <> ?1 ORDER BY v.id LIMIT {_MOST}", version_id)
    return tuple(f"{name}:{version}" if name is not None else f"@{digest[:12]}" for name, version, digest in rows)
