"""A version of an environment, as the records hold it, and what is said about versions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import InvalidDefinition

if TYPE_CHECKING:
    import sqlite3

    from wardian.definition.difference import Difference
    from wardian.definition.environment import Environment
    from wardian.errors import Fault

# document and source_text come last: SQLite need not read them to get at the rest
COLUMNS = """v.id, e.name, v.version, v.content_key, v.definition_hash, v.kind, v.created,
  v.archived IS NOT NULL OR e.archived IS NOT NULL AS archived, v.description, v.tags, v.parent, v.parent_hash, v.lineage_note,
  v.source_format, (SELECT group_concat(label, ' ') FROM labels WHERE version_id = v.id) AS labels, v.document"""
VERSIONS = f"SELECT {COLUMNS} FROM versions v LEFT JOIN environments e ON e.id = v.environment_id"  # noqa: S608 - a constant
LATEST = f"SELECT {COLUMNS} FROM environments e JOIN versions v ON v.id = e.latest_id"  # noqa: S608 - a constant


@dataclass(frozen=True)
class EnvironmentVersion:
    """A version: never changes, but for description, tags, labels and archived. Decodes its definition when asked for it.

    Attributes:
        id: the records' own number of it; grows with each registration.
        name, version: both None for an anonymous one.
        definition_hash: of the request; other versions may share it.
        content_key: of everything that a version is, variables and interpreter included.
        kind: ``system`` (Wardian installs what it lists) or ``user``.
        created: RFC 3339 time, UTC.
        archived: hidden from lists, by itself or with the whole name; else as usable as any other.
        labels: in the order of the alphabet.
        parent, parent_hash, lineage_note: what it was made from, if that was said.
        source_format: of the text that it was read from; None: it was made in Python.
    """

    id: int
    name: str | None
    version: str | None
    content_key: Digest
    definition_hash: Digest
    kind: str
    created: str
    archived: bool
    description: str
    tags: dict[str, str]
    labels: tuple[str, ...]
    parent: str
    parent_hash: str
    lineage_note: str
    source_format: str | None
    content_json: str = field(repr=False)

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> EnvironmentVersion:
        """Return the version that a row of ``VERSIONS`` or ``LATEST`` holds."""
        return cls(
            id=row["id"],
            name=row["name"],
            version=row["version"],
            content_key=Digest(row["content_key"]),
            definition_hash=Digest(row["definition_hash"]),
            kind=row["kind"],
            created=row["created"],
            archived=bool(row["archived"]),
            description=row["description"],
            tags=json.loads(row["tags"]),
            labels=tuple(sorted((row["labels"] or "").split())),
            parent=row["parent"],
            parent_hash=row["parent_hash"],
            lineage_note=row["lineage_note"],
            source_format=row["source_format"],
            content_json=row["document"],
        )

    @property
    def reference(self) -> str:
        """What people write for exactly this: ``sklearn:5``, or ``@`` and the start of the hash."""
        return f"{self.name}:{self.version}" if self.name is not None else f"@{self.definition_hash.short}"

    def __str__(self) -> str:
        return self.reference

    @cached_property
    def document(self) -> dict[str, Any]:
        """The whole definition as plain values, in the shape of ``wardian.definition.document``."""
        named = {"name": self.name, "description": self.description, "tags": self.tags}
        return {**{key: value for key, value in named.items() if value}, **json.loads(self.content_json)}

    @cached_property
    def environment(self) -> Environment:
        """The definition as it was registered, with this version's name, description and tags: to read, and to install its lock."""
        from wardian.definition.document import from_record

        return from_record(self.document)

    @cached_property
    def faults(self) -> tuple[Fault, ...]:
        """What the rules of this Wardian find wrong in the definition; an older one registered it then."""
        from wardian.definition.document import from_document

        try:
            from_document(self.document)
        except InvalidDefinition as error:
            return tuple(replace(fault, file=self.reference) for fault in error.faults)
        return ()

    def for_new_use(self) -> Environment:
        """Return the definition, to solve it or to make another version of it.

        Raises:   OutdatedDefinition: the rules of this Wardian refuse it.
        """
        if self.faults:
            raise OutdatedDefinition(self)
        return self.environment

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values, the definition included."""
        return {
            "reference": self.reference,
            "name": self.name,
            "version": self.version,
            "definition_hash": self.definition_hash,
            "kind": self.kind,
            "created": self.created,
            "archived": self.archived,
            "labels": list(self.labels),
            "description": self.description,
            "tags": self.tags,
            "parent": self.parent or None,
            "parent_hash": self.parent_hash or None,
            "lineage_note": self.lineage_note,
            "source_format": self.source_format,
            "definition": json.loads(self.content_json),
        }


class OutdatedDefinition(InvalidDefinition):
    """A version whose definition today's rules refuse: it is shown and its lock is used as before, but nothing new is made of it."""

    code = "definition_outdated"

    def __init__(self, version: EnvironmentVersion):
        name = version.name or "NAME"
        super().__init__(version.faults, hint=f"`wardian env export {version} --to source -o FILE` writes it; mend it there, then"
                                              f" `wardian env create {name} -f FILE` adds a version")  # fmt: skip
        self.message = f"{version} was registered under older rules, and nothing new can be made of it: {self.message}"
        self.args = (self.message,)


@dataclass(frozen=True)
class HistoryEntry:
    """A version and what it changed, compared with the one registered before it under the same name."""

    version: EnvironmentVersion
    previous: EnvironmentVersion | None

    @cached_property
    def difference(self) -> Difference | None:
        """What changed; None for the first version."""
        if self.previous is None:
            return None
        from wardian.definition.difference import difference

        return difference(self.previous.environment, self.version.environment)

    @property
    def summary(self) -> str:
        """What changed, in one line."""
        return "first version" if self.difference is None else self.difference.summary()

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "version": self.version.version,
            "definition_hash": self.version.definition_hash,
            "created": self.version.created,
            "archived": self.version.archived,
            "labels": list(self.version.labels),
            "previous": self.previous and self.previous.version,
            "summary": self.summary,
            "changes": None if self.difference is None else self.difference.as_document(),
        }


@dataclass(frozen=True, slots=True)
class LabelMove:
    """A label was given (``from_version`` None), moved, or removed (``to_version`` None)."""

    label: str
    from_version: str | None
    to_version: str | None
    author: str
    moved: str


@dataclass(frozen=True, slots=True)
class Ancestor:
    """What a version was made from: a version here, or anything else that has a definition_hash.

    Attributes:
        reference: what it was called: ``sklearn:4``, ``Wardian-sklearn:2``, ``@3f2a91c0d1e2``.
        note: how the child was made from it.
    """

    reference: str
    definition_hash: str
    note: str = ""


def content_key(environment: Environment) -> Digest:
    """Return the identity of what a version is: the whole definition without name, description and tags.

    Source:   semantics §1, "Content of a version"
    """
    from wardian.definition.document import to_document

    return Digest.of_document(to_document(environment.content))
