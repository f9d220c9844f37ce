"""Definition files that were parsed before: so a warm run reads no YAML, TOML or requirement."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest

if TYPE_CHECKING:
    from wardian.definition.environment import Environment
    from wardian.workspace.database import Database

_KEPT = 1000


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What a definition file was parsed to.

    Attributes:
        document: the definition as plain values, as ``wardian.definition.document`` reads it.
        content_key: what ``Environments.find_current`` asks for.
    """

    document: dict[str, Any]
    definition_hash: Digest
    content_key: Digest

    @property
    def name(self) -> str | None:
        """The name in the file; None: it has none."""
        return self.document.get("name")

    @property
    def environment(self) -> Environment:
        """The definition as a value. Decoding checks it anew, which a warm run does without."""
        from wardian.definition.document import from_document

        return from_document(self.document)


class ParsedFiles:
    """A cache by content: only for self-contained files, whose bytes alone decide what they mean."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, file_digest: str, format_name: str, reader_version: str) -> ParsedFile | None:
        """Return what the file was parsed to; None: not known.

        Args:
            file_digest: sha256 of the file's bytes.
            format_name: the format asked for (``""``: detected), and whatever else decides the outcome: extras, groups.
            reader_version: changes whenever the readers or the rules of identity do.
        """
        row = self._database.row(
            "SELECT document, definition_hash, content_key FROM parsed_files WHERE file_digest = ? AND format = ? AND reader_version = ?",
            file_digest,
            format_name,
            reader_version,
        )
        return ParsedFile(json.loads(row[0]), Digest(row[1]), Digest(row[2])) if row else None

    def put(self, file_digest: str, format_name: str, reader_version: str, environment: Environment) -> None:
        """Remember what the file was parsed to; of many files the last thousand are kept. Idempotent."""
        from wardian.definition.document import to_document
        from wardian.definition.identity import definition_hash
        from wardian.workspace.version import content_key

        with self._database.write():
            cursor = self._database.execute(
                "INSERT OR REPLACE INTO parsed_files (file_digest, format, reader_version, definition_hash, content_key, document)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                file_digest, format_name, reader_version, definition_hash(environment), content_key(environment),
                json.dumps(to_document(environment), ensure_ascii=False),
            )  # fmt: skip
            self._database.execute("DELETE FROM parsed_files WHERE id <= ?", (cursor.lastrowid or 0) - _KEPT)
