"""Adding versions: what is the same stays the same version, what differs becomes the next one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.definition.reference import KINDS, check_version, is_curated_name
from wardian.errors import Conflict, InvalidInput
from wardian.workspace.version import LATEST, VERSIONS, Ancestor, EnvironmentVersion, content_key

if TYPE_CHECKING:
    import sqlite3

    from wardian.definition.environment import Environment
    from wardian.workspace.database import Database

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # fits SQLite's integers


def find_current(database: Database, name: str | None, key: str) -> EnvironmentVersion | None:
    """Return the version that registering this content would return without adding one; None: it would add one.

    Args:     name: None: anonymous.  key: the content_key.
    """
    if name is None:
        row = database.row(f"{VERSIONS} WHERE v.content_key = ? AND v.environment_id IS NULL", key)
    else:
        row = database.row(f"{LATEST} WHERE e.name = ? AND v.archived IS NULL AND v.content_key = ?", name, key)
    return EnvironmentVersion.from_row(row) if row else None


@dataclass(frozen=True, slots=True)
class Registration:
    """What ``Environments.register`` was asked to register; its arguments are described there."""

    environment: Environment
    version: str | None = None
    source: tuple[str, str] | None = None
    parent: EnvironmentVersion | Ancestor | None = None
    lineage_note: str = ""
    always_new: bool = False
    curated: bool = False  # an entry of the catalogue: the one way to a name that is kept for those


def add_version(database: Database, asked: Registration, moment: str) -> tuple[EnvironmentVersion, bool]:
    """Do what ``Environments.register`` promises, in one transaction."""
    name, version = asked.environment.name, asked.version
    _check(name, version, curated=asked.curated)
    key = content_key(asked.environment)
    if version is None and not asked.always_new and (known := find_current(database, name, key)):
        return known, False  # nearly always: no write lock is taken
    with database.write():
        if name is None:
            known = find_current(database, None, key)
            return (
                (known, False)
                if known
                else (_inserted(database, asked, key, environment_id=None, version=None, moment=moment), True)
            )
        row = _environment_row(database, name, moment)
        if version is not None:
            taken = database.row(f"{VERSIONS} WHERE v.environment_id = ? AND v.version = ?", row["id"], version)
            if taken is not None:
                return _same(EnvironmentVersion.from_row(taken), key), False
        elif not asked.always_new and (known := find_current(database, name, key)):
            return known, False
        number = version or str(row["highest_number"] + 1)
        added = _inserted(database, asked, key, environment_id=row["id"], version=number, moment=moment)
        if _NUMBER.fullmatch(number):
            database.execute(
                "UPDATE environments SET highest_number = max(highest_number, ?) WHERE id = ?", int(number), row["id"]
            )
        settle(database, row["id"])
        return added, True


def settle(database: Database, environment_id: int) -> None:
    """Bring what an environment's row says of its versions up to date; an environment without versions goes."""
    newest = "SELECT id FROM versions WHERE environment_id = ? {} ORDER BY id DESC LIMIT 1"
    shown = database.row(newest.format("AND archived IS NULL"), environment_id)
    latest = shown or database.row(newest.format(""), environment_id)
    if latest is None:
        database.execute("DELETE FROM environments WHERE id = ?", environment_id)
        return
    database.execute(
        "UPDATE environments SET latest_id = ?, hidden = archived IS NOT NULL OR ?, kind = (SELECT kind FROM versions WHERE id = ?)"
        " WHERE id = ?",
        latest[0],
        shown is None,
        latest[0],
        environment_id,
    )


def _check(name: str | None, version: str | None, *, curated: bool) -> None:
    if version is not None:
        check_version(version)
        if name is None:
            raise InvalidInput(
                f"a version `{version}` needs a name", hint="give the environment a name", code="version_without_name"
            )
    if name is not None and is_curated_name(name) and not curated:
        raise InvalidInput(f"`{name}`: names that begin with `Wardian-` are kept for curated environments",
                           hint="choose another name; a curated one itself is used by its name: `-e NAME`", code="reserved_name")  # fmt: skip
    if name in KINDS:
        raise InvalidInput(f"`{name}` cannot be a name: `{name}:…` refers to something else", hint="choose another name",
                           code="reserved_name")  # fmt: skip


def _same(taken: EnvironmentVersion, key: str) -> EnvironmentVersion:
    if taken.content_key != key:
        raise Conflict(f"{taken.reference} exists with other content, and versions never change",
                       hint=f"leave the version out to get the next number; `wardian env diff {taken.reference} FILE` shows the changes",
                       code="version_exists")  # fmt: skip
    return taken


def _environment_row(database: Database, name: str, moment: str) -> sqlite3.Row:
    query = "SELECT id, highest_number FROM environments WHERE name = ?"
    found = database.row(query, name)
    if found is None:
        database.execute("INSERT INTO environments (name, created) VALUES (?, ?)", name, moment)
        found = database.rows(query, name)[0]
    return found


def _inserted(
    database: Database, asked: Registration, key: str, *, environment_id: int | None, version: str | None, moment: str
) -> EnvironmentVersion:
    from wardian.definition.document import to_document
    from wardian.definition.identity import definition_hash
    from wardian.digest import canonical_json

    environment, parent, source = asked.environment, asked.parent, asked.source
    parent_id = None
    if isinstance(parent, EnvironmentVersion):
        parent_id = parent.id
        if source is None and parent.content_key == key:
            source = source_of(database, parent.id)  # a copy keeps its comments
    source_format, source_text = source or (None, None)
    values = {
        "environment_id": environment_id,
        "version": version,
        "content_key": key,
        "definition_hash": definition_hash(environment),
        "kind": "curated" if asked.curated else "user" if environment.python.manager == "user" else "system",
        "created": moment,
        "description": environment.description,
        "tags": json.dumps(dict(environment.tags), ensure_ascii=False),
        "parent_id": parent_id,
        "parent": parent.reference if parent else "",
        "parent_hash": parent.definition_hash if parent else "",
        "lineage_note": asked.lineage_note,
        "source_format": source_format,
        "document": canonical_json(to_document(environment.content)).decode(),
        "source_text": source_text,
    }
    cursor = database.execute(
        f"INSERT INTO versions ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608 - constant names
        *values.values(),
    )
    return EnvironmentVersion.from_row(database.rows(f"{VERSIONS} WHERE v.id = ?", cursor.lastrowid)[0])


def source_of(database: Database, version_id: int) -> tuple[str, str] | None:
    """Return format and text that a version was read from; None: it was made in Python."""
    row = database.row("SELECT source_format, source_text FROM versions WHERE id = ?", version_id)
    return (row[0], row[1]) if row is not None and row[0] is not None else None
