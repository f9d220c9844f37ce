"""A version of a model, as the records hold it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_COLUMNS = """m.*, n.name, (SELECT group_concat(label, ' ') FROM model_labels WHERE model_id = m.id) AS labels"""
MODELS = f"SELECT {_COLUMNS} FROM models m JOIN model_names n ON n.id = m.name_id"  # noqa: S608 - a constant
LATEST = f"SELECT {_COLUMNS} FROM model_names n JOIN models m ON m.id = n.latest_id"  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model is: its files, and what is read from them.

    Attributes:
        digest: of the files: names, contents, links; the file's or directory's own name counts.
        format: ``mlflow``; ``sklearn``: a pickled estimator, by the name of the file; ``custom``: anything else.
        file_name: of the file or directory that it is.
        details: what the format says, as plain JSON values: see ``wardian.serving.mlflow``.
    """

    digest: Digest
    format: str
    file_name: str
    is_directory: bool
    files: int
    size_bytes: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a model comes from. It outlives the run's record: an environment's version stays as long as a model was trained with it.

    Attributes:
        run_id: the run that made it.  source: where its files were.
        version_id: the records' number of the environment's version; None: the run had none.
        lock_digest: of the exact packages; None: a user-managed environment.
        image_digest: of the manifest; None: it did not run in an image.
        made_with: all that the run knew of its environment: ``wardian.run.configuration.RunEnvironment`` as a document.
    """

    source: str = ""
    run_id: str | None = None
    version_id: int | None = None
    definition_hash: str | None = None
    lock_digest: str | None = None
    image_digest: str | None = None
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def has_environment_of(self, other: Lineage) -> bool:
        """Return whether both were trained with the same: version, lock and image."""
        ours, theirs = ((one.version_id, one.lock_digest, one.image_digest) for one in (self, other))
        return ours == theirs


@dataclass(frozen=True)
class ModelVersion:
    """A version: never changes, but for description, tags and labels.

    Attributes:
        id: the records' own number of it; grows with each registration.
        created: RFC 3339 time, UTC.
        labels: in the order of the alphabet.
    """

    id: int
    name: str
    version: str
    created: str
    description: str
    tags: Mapping[str, str]
    labels: tuple[str, ...]
    facts: ModelFacts
    lineage: Lineage

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> ModelVersion:
        """Return the version that a row of ``MODELS`` or ``LATEST`` holds."""
        facts = ModelFacts(
            Digest(row["digest"]),
            row["format"],
            row["file_name"],
            bool(row["is_directory"]),
            row["files"],
            row["size_bytes"],
            json.loads(row["details"]),
        )
        lineage = Lineage(
            row["source"],
            row["run_id"],
            row["version_id"],
            row["definition_hash"],
            row["lock_digest"],
            row["image_digest"],
            json.loads(row["made_with"]),
        )
        return cls(
            id=row["id"],
            name=row["name"],
            version=row["version"],
            created=row["created"],
            description=row["description"],
            tags=json.loads(row["tags"]),
            labels=tuple(sorted((row["labels"] or "").split())),
            facts=facts,
            lineage=lineage,
        )

    @property
    def reference(self) -> str:
        """What people call exactly this: ``churn:2``. As a reference to its environment it is ``model:churn:2``."""
        return f"{self.name}:{self.version}"

    def __str__(self) -> str:
        return self.reference

    @property
    def environment(self) -> str | None:
        """What the environment is called that it was trained with: ``sklearn:4``, or ``@`` and the start of its hash."""
        made_with = self.lineage.made_with
        if made_with.get("name"):
            return f"{made_with['name']}:{made_with.get('version')}"
        return f"@{self.lineage.definition_hash[:12]}" if self.lineage.definition_hash else None

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        facts, lineage = self.facts, self.lineage
        return {
            "reference": self.reference,
            "name": self.name,
            "version": self.version,
            "digest": facts.digest,
            "format": facts.format,
            "file_name": facts.file_name,
            "is_directory": facts.is_directory,
            "files": facts.files,
            "size_bytes": facts.size_bytes,
            "created": self.created,
            "labels": list(self.labels),
            "description": self.description,
            "tags": dict(self.tags),
            "source": lineage.source,
            "run_id": lineage.run_id,
            "environment": self.environment,
            "definition_hash": lineage.definition_hash,
            "lock_digest": lineage.lock_digest,
            "image_digest": lineage.image_digest,
            "details": dict(facts.details),
        }
