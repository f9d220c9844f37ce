"""The extension lock: what a serving layer adds to an environment, exactly. Values, and their document."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import BadArchive, InvalidDigest, wrong_in
from wardian.lock.lock import Artifact, UnreadableLock

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
CARRIED = "wardian"  # the source of the server's own wheel: it comes with Wardian


@dataclass(frozen=True)
class Extension:
    """What stands beside an environment so that it can serve. Immutable; identified by ``digest``. Host-free, as locks are.

    Attributes:
        parent: digest of the environment's lock; of a user-managed one: of what it was seen to have.
        python: its full version.  platform: in OCI's words.
        server: the server's own wheel.
        added: the packages that the environment lacks, by name; none of them is in it.
        used: what of the environment the server stands on: versions by name. Follows from the parent, so it is in no digest.
        solved: whether a solver had to choose the versions; in no digest.
    """

    parent: Digest
    python: str
    platform: str
    server: Artifact
    added: tuple[Artifact, ...]
    used: Mapping[str, str] = field(default_factory=dict)
    solved: bool = False
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "added", tuple(sorted(self.added, key=lambda a: a.name)))

    @cached_property
    def digest(self) -> Digest:
        """Over schema, parent, Python, platform, server and what is added."""
        return Digest.of_document(self._identity())

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All wheels of the layer: what is added, and the server."""
        return (*self.added, self.server)

    @property
    def is_pure(self) -> bool:
        """Whether its wheels suit every platform."""
        return all(a.file.endswith("-none-any.whl") for a in self.artifacts)

    def _identity(self) -> dict[str, Any]:
        return {
            "tag": "wardian-extension", "schema": self.schema, "parent": str(self.parent), "python": self.python,
            "platform": self.platform, "server": str(self.server.sha256), "added": [a.as_document() for a in self.added],
        }  # fmt: skip

    def as_document(self) -> dict[str, Any]:
        """Return the whole as plain JSON values."""
        return {**self._identity(), "server": self.server.as_document(), "used": dict(sorted(self.used.items())), "solved": self.solved,
                "digest": str(self.digest)}  # fmt: skip

    def to_json(self) -> str:
        """Return the whole as JSON text."""
        return json.dumps(self.as_document(), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Extension:
        """Return the extension that ``as_document`` wrote.

        Raises:   UnreadableLock: a newer schema, or not such a document; its digest is another one.
        """
        try:
            if int(document["schema"]) > SCHEMA:
                raise UnreadableLock(f"the extension lock has schema {document['schema']}, this Wardian reads up to {SCHEMA}",
                                     hint="use a newer Wardian", code="newer_lock_schema")  # fmt: skip
            found = cls(
                Digest(document["parent"]), str(document["python"]), str(document["platform"]), Artifact.from_document(document["server"]),
                tuple(Artifact.from_document(one) for one in document["added"]), {str(k): str(v) for k, v in document["used"].items()},
                bool(document["solved"]), int(document["schema"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError, InvalidDigest, BadArchive) as error:
            raise UnreadableLock(f"this is not an extension lock: {wrong_in(error)}") from error
        if document.get("digest") != found.digest:
            raise UnreadableLock("the extension lock is not the one that its digest names: it was changed")
        return found
