"""The models of a workspace: versions that never change, under names and labels."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardian.definition.reference import KINDS, NAME, Reference, check_version
from wardian.digest import Digest
from wardian.errors import Conflict, InvalidDefinition, InvalidInput
from wardian.workspace import model_labels
from wardian.workspace.clock import moment_text, utc_now
from wardian.workspace.model_lookup import find_model, get_model
from wardian.workspace.model_version import LATEST, MODELS, Lineage, ModelFacts, ModelVersion
from wardian.workspace.page import Page, check_limit
from wardian.workspace.users import users_of_models

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from wardian.workspace.database import Database
    from wardian.workspace.model_files import ModelFiles
    from wardian.workspace.version import LabelMove

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # fits SQLite's integers


@dataclass(frozen=True, slots=True)
class NewModel:
    """What is to be registered.

    Attributes:
        version: exactly this one; None: the number after the highest.
    """

    name: str
    facts: ModelFacts
    lineage: Lineage = field(default_factory=Lineage)
    version: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class Models:
    """Registers, finds, lists and labels. Safe across processes: every change is one transaction.

    A reference is NAME (the latest version), NAME:VERSION or NAME@LABEL, ``model:`` before it or not.
    """

    def __init__(self, database: Database, files: ModelFiles, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self.files = files
        self._now = now

    # -- register ----------------------------------------------------------------------------------------------------

    def add(self, asked: NewModel, place: Callable[[], None]) -> tuple[ModelVersion, bool]:
        """Return the version that has these files, and whether it was added.

        If the newest version of the name has these files, that one is returned as it is; unless ``asked`` names a run, and it was
        trained with something else. Else the next one is added. Description and tags count only then: ``update`` changes them.

        Args:     place: puts the files where they stay, before the record names them. Called in the transaction, if none are there.
        Raises:   InvalidInput, InvalidReference, InvalidDefinition: name, version, description, tags.
                  Conflict: code ``version_exists``: that version is another model.
        """
        check_model_name(asked.name)
        _check_words(asked.description, asked.tags)
        if asked.version is not None:
            check_version(asked.version)
        with self._database.write():
            row = self._name_row(asked.name)
            known = self._known(row, asked)
            if known is not None and self.files.find(known.facts.digest) is not None:
                return known, False
            place()  # also what somebody has deleted by hand, and is here again
            return (known, False) if known is not None else (self._inserted(row, asked), True)

    def _known(self, row: sqlite3.Row, asked: NewModel) -> ModelVersion | None:
        if asked.version is not None:
            taken = self._database.row(f"{MODELS} WHERE m.name_id = ? AND m.version = ?", row["id"], asked.version)
            if taken is None:
                return None
            found = ModelVersion.from_row(taken)
            if not is_same(found, asked):
                raise Conflict(f"model {found.reference} exists, and is another one: versions never change", code="version_exists",
                               hint="leave the version out to get the next number")  # fmt: skip
            return found
        newest = self._database.row(f"{LATEST} WHERE n.id = ?", row["id"])
        found_newest = ModelVersion.from_row(newest) if newest is not None else None
        return found_newest if found_newest is not None and is_same(found_newest, asked) else None

    def _name_row(self, name: str) -> sqlite3.Row:
        query = "SELECT id, highest_number FROM model_names WHERE name = ?"
        found = self._database.row(query, name)
        if found is None:
            self._database.execute("INSERT INTO model_names (name, created) VALUES (?, ?)", name, moment_text(self._now()))
            found = self._database.rows(query, name)[0]
        return found

    def _inserted(self, row: sqlite3.Row, asked: NewModel) -> ModelVersion:
        facts, lineage = asked.facts, asked.lineage
        version = asked.version or str(row["highest_number"] + 1)
        values = {
            "name_id": row["id"],
            "reference": f"{asked.name}:{version}",
            "version": version,
            "digest": facts.digest,
            "format": facts.format,
            "file_name": facts.file_name,
            "is_directory": facts.is_directory,
            "files": facts.files,
            "size_bytes": facts.size_bytes,
            "created": moment_text(self._now()),
            "description": _clean(asked.description),
            "tags": _tags_text(asked.tags),
            "source": lineage.source,
            "run_id": lineage.run_id,
            "version_id": lineage.version_id,
            "definition_hash": lineage.definition_hash,
            "lock_digest": lineage.lock_digest,
            "image_digest": lineage.image_digest,
            "made_with": json.dumps(dict(lineage.made_with)),
            "details": json.dumps(dict(facts.details)),
        }
        cursor = self._database.execute(
            f"INSERT INTO models ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608 - constant names
            *values.values(),
        )
        number = int(version) if _NUMBER.fullmatch(version) else 0
        self._database.execute(
            "UPDATE model_names SET latest_id = ?, highest_number = max(highest_number, ?) WHERE id = ?",
            cursor.lastrowid,
            number,
            row["id"],
        )
        return self.by_id(cursor.lastrowid or 0)

    # -- look up -----------------------------------------------------------------------------------------------------

    def find(self, reference: str | Reference) -> ModelVersion | None:
        """Return the version that ``reference`` means, or None.

        Raises:   InvalidReference: malformed, or of something else than a model.
        """
        return find_model(self._database, reference)

    def get(self, reference: str | Reference) -> ModelVersion:
        """Return the version that ``reference`` means.

        Raises:   NotFound: none; the hint names what comes close.  InvalidReference.
        """
        return get_model(self._database, reference)

    def by_id(self, model_id: int) -> ModelVersion:
        """Return the version with the records' own number, which exists."""
        return ModelVersion.from_row(self._database.rows(f"{MODELS} WHERE m.id = ?", model_id)[0])

    def list(self, *, limit: int = 50, after: str | None = None) -> Page[ModelVersion]:
        """Return the latest version of each name, in the order of the names.

        Args:     limit: 1 to 1000.  after: ``next`` of the page before.
        """
        check_limit(limit)
        rows = self._database.rows(f"{LATEST} WHERE n.name > ? ORDER BY n.name LIMIT ?", after or "", limit + 1)
        found = tuple(ModelVersion.from_row(row) for row in rows[:limit])
        return Page(found, found[-1].name if len(rows) > limit else None)

    def versions(self, name: str, *, limit: int = 50, after: str | None = None) -> Page[ModelVersion]:
        """Return the versions of ``name``, the newest first.

        Raises:   NotFound: no such name.
        """
        check_limit(limit)
        if after is not None and not _NUMBER.fullmatch(after):
            raise InvalidInput(
                f"`{after[:40]}` is not where a page begins", hint="give `next` of the page before", code="bad_cursor"
            )
        name_id = self._name_id(self.get(Reference(model=check_model_name(name))).id)
        rows = self._database.rows(
            f"{MODELS} WHERE m.name_id = ? AND m.id < ? ORDER BY m.id DESC LIMIT ?",
            name_id, int(after) if after else 2**62, limit + 1,
        )  # fmt: skip
        found = tuple(ModelVersion.from_row(row) for row in rows[:limit])
        return Page(found, str(found[-1].id) if len(rows) > limit else None)

    def of_run(self, run_id: str, *, limit: int = 100) -> Sequence[ModelVersion]:
        """Return the models that a run made, the newest first."""
        rows = self._database.rows(f"{MODELS} WHERE m.run_id = ? ORDER BY m.id DESC LIMIT ?", run_id, limit)
        return [ModelVersion.from_row(row) for row in rows]

    def of_environment(self, version_id: int, *, limit: int = 1000) -> Sequence[str]:
        """Return the references of the models that were trained with a version of an environment, the newest first."""
        rows = self._database.rows(
            "SELECT reference FROM models WHERE version_id = ? ORDER BY id DESC LIMIT ?", version_id, limit
        )
        return [row[0] for row in rows]

    def may_have(self, size_bytes: int, files: int) -> bool:
        """Return whether a model that is here has as many files and bytes: whether it is worth a look at their content first."""
        query = "SELECT 1 FROM models WHERE size_bytes = ? AND files = ? LIMIT 1"
        return self._database.row(query, size_bytes, files) is not None

    # -- labels ------------------------------------------------------------------------------------------------------

    def label(self, reference: str | Reference, label: str, *, author: str = "") -> ModelVersion:
        """Give ``label`` to a version, taking it from the version that had it. Idempotent.

        Raises:   NotFound: no such version.  InvalidReference: not a label; ``latest`` is computed.
        """
        return model_labels.put_label(self._database, reference, label, author=author, moment=moment_text(self._now()))

    def remove_label(self, name: str, label: str, *, author: str = "") -> None:
        """Take ``label`` away from the version that has it.

        Raises:   NotFound: no version has it.
        """
        model_labels.remove_label(self._database, name, label, author=author, moment=moment_text(self._now()))

    def label_history(self, name: str, label: str) -> tuple[LabelMove, ...]:
        """Return where ``label`` was, the newest move first.

        Raises:   NotFound: no such name.
        """
        return model_labels.label_history(self._database, name, label)

    # -- change what may change --------------------------------------------------------------------------------------

    def update(
        self, reference: str | Reference, *, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> ModelVersion:
        """Change description or tags of a version; None leaves them. No new version comes of it.

        Args:     tags: replace all of the version's tags.
        """
        _check_words(description or "", tags or {})
        with self._database.write():
            found = self.get(reference)
            if description is not None:
                self._database.execute("UPDATE models SET description = ? WHERE id = ?", _clean(description), found.id)
            if tags is not None:
                self._database.execute("UPDATE models SET tags = ? WHERE id = ?", _tags_text(tags), found.id)
            return self.by_id(found.id)

    def delete(self, reference: str | Reference) -> None:
        """Remove a version, or a name with all of its versions (NAME), for ever; and the files that no other version has.

        A number that was given once is not given again.

        Raises:   Conflict: code ``in_use``: labels or other records refer to it; the message names them.
        """
        target = reference if isinstance(reference, Reference) else Reference.parse_model(reference)
        with self._database.write():
            found = self.get(target)
            name_id = self._name_id(found.id)
            whole = target.version is None and target.label is None
            condition, value = ("name_id = ?", name_id) if whole else ("id = ?", found.id)
            if users := users_of_models(self._database, f"SELECT id FROM models WHERE {condition}", value):  # noqa: S608 - constants
                raise Conflict(f"model `{str(target).removeprefix('model:')}` is in use: {', '.join(users)}", code="in_use", details={"users": users},
                               hint="take the labels away, or delete what uses it, first")  # fmt: skip
            newest = "SELECT max(id) FROM models WHERE name_id = ? AND id <> ?"
            latest = None if whole else self._database.rows(newest, name_id, found.id)[0][0]
            self._database.execute("UPDATE model_names SET latest_id = ? WHERE id = ?", latest, name_id)
            digests = {Digest(row[0]) for row in self._database.rows(f"SELECT digest FROM models WHERE {condition}", value)}  # noqa: S608
            self._database.execute(f"DELETE FROM models WHERE {condition}", value)  # noqa: S608 - constants
        for digest in digests:  # after the commit: nothing that a record names goes, whatever fails
            with self._database.write():
                if self._database.row("SELECT 1 FROM models WHERE digest = ? LIMIT 1", digest) is None:
                    self.files.take_away(digest)
        self.files.empty()

    def _name_id(self, model_id: int) -> int:
        value: int = self._database.rows("SELECT name_id FROM models WHERE id = ?", model_id)[0][0]
        return value


def check_model_name(name: str) -> str:
    """Return ``name`` if a model can have it.

    Raises:   InvalidInput: code ``bad_name``.
    """
    if name in KINDS:
        raise InvalidInput(
            f"`{name}` cannot be a name: `{name}:…` refers to something else", hint="choose another name", code="bad_name"
        )
    if not NAME.fullmatch(name):
        raise InvalidInput(f"`{name[:80]}` is not a name for a model", code="bad_name",
                           hint="a letter or digit, then up to 254 letters, digits, `.`, `_` or `-`")  # fmt: skip
    return name


def is_same(known: ModelVersion, asked: NewModel) -> bool:
    """Return whether registering ``asked`` would give ``known``: the same files, and no run that was given other packages."""
    if known.facts.digest != asked.facts.digest:
        return False
    return asked.lineage.run_id is None or known.lineage.has_environment_of(asked.lineage)


def _check_words(description: str, tags: Mapping[str, str]) -> None:
    from wardian.definition.environment import check_words
    from wardian.definition.fault_list import FaultList

    faults = FaultList()
    check_words(description, tags, faults)
    if faults.found:
        raise InvalidDefinition(faults.found)


def _clean(text: str) -> str:
    from wardian.definition.values import clean_text

    return clean_text(text)


def _tags_text(tags: Mapping[str, str]) -> str:
    from wardian.definition.values import FrozenMap

    return json.dumps(dict(FrozenMap(tags)), ensure_ascii=False)
