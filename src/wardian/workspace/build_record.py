"""The record of one build: what was made, by whom, in which phases, and how it ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from wardian.tools.processes import ProcessIdentity

if TYPE_CHECKING:
    import sqlite3

STATES = RUNNING, COMPLETED, FAILED, CANCELED = "running", "completed", "failed", "canceled"
KINDS = ("lock", "prefix", "image", "push", "pull", "base")


@dataclass(slots=True)
class Phase:
    """One part of a build.

    Attributes:
        name: what was done, in words.  began: RFC 3339, UTC.
        seconds: how long it took; None while it lasts.
        size_bytes: of what was moved or made, as far as it was told.
        made, cached: how many pieces (packages, layers, blobs) were made, and how many were there already.
    """

    name: str
    began: str
    seconds: float | None = None
    size_bytes: int = 0
    made: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One build as its record has it. A moment is RFC 3339, UTC.

    Attributes:
        kind: ``lock`` (a solve), ``prefix``, ``image``, ``push``, ``pull``, ``base`` (Docker steps).
        state: ``running`` → ``completed`` | ``failed`` | ``canceled``.
        subject: what people call it.  key: what is made: a definition hash, a prefix key, an image key.
        outcome: plain values that say what came of it.  error: as ``WardianError.as_document`` gives it.
    """

    id: str
    kind: str
    state: str
    subject: str
    key: str
    started: str
    ended: str | None
    cancel_asked: str | None
    builder: ProcessIdentity | None
    code: str | None
    reason: str | None
    phases: tuple[Phase, ...] = ()
    outcome: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.state == RUNNING

    @property
    def seconds(self) -> float | None:
        """How long it took, or None while it lasts."""
        if self.ended is None:
            return None
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> BuildRecord:
        """Return the record that a row of ``builds`` holds."""
        results = json.loads(row["results"])
        builder = json.loads(row["builder"]) if row["builder"] else None
        columns = ("id", "kind", "state", "subject", "key", "started", "ended", "cancel_asked", "code", "reason")
        return cls(
            **{name: row[name] for name in columns}, builder=ProcessIdentity.from_document(builder) if builder else None,
            phases=tuple(Phase(**phase) for phase in results.get("phases", ())), outcome=results.get("outcome", {}),
            error=results.get("error", {}),
        )  # fmt: skip

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values; the schema is frozen in ``tests/golden``."""
        return {**asdict(self), "seconds": self.seconds}
