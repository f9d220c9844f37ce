"""Endpoints as the records hold them: the endpoint, its deployments, and which of them served when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.tools.processes import ProcessIdentity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

STARTING, SERVING, REPLACED, FAILED, SUPERSEDED = "starting", "serving", "replaced", "failed", "superseded"
DEPLOY, UPDATE, ROLLBACK, RESTART, KEY = "deploy", "update", "rollback", "restart", "key"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key that is accepted, without the key itself.

    Attributes:
        sha256: of the key, 64 hexadecimal digits.  created: RFC 3339.
    """

    sha256: str
    created: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """What serves: never changes.

    Attributes:
        number: 1 for the endpoint's first one.
        model_id, version_id: the records' numbers of the model's and the environment's version; None: there is none.
        specification: configuration and identities as plain JSON values, without secrets.
    """

    endpoint: str
    number: int
    created: str
    model_id: int | None
    version_id: int | None
    specification: Mapping[str, Any]

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Deployment:
        """Return the deployment that a row holds."""
        return cls(
            row["endpoint"], row["number"], row["created"], row["model_id"], row["version_id"], json.loads(row["specification"])
        )

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"number": self.number, "created": self.created, **self.specification}


@dataclass(frozen=True, slots=True)
class Rollout:
    """One time that a deployment was to serve.

    Attributes:
        state: ``starting`` → ``serving`` → ``replaced``; or ``failed``; or ``superseded``: another one was asked for before it served.
        ended: when it began to serve, or did not.
        code, reason: why it failed.
        replicas: how many the endpoint has from then on; None: as many as it has.
    """

    number: int
    deployment: int
    kind: str
    state: str
    asked: str
    ended: str | None = None
    code: str | None = None
    reason: str | None = None
    replicas: int | None = None

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Rollout:
        """Return the rollout that a row holds."""
        names = ("number", "deployment", "kind", "state", "asked", "ended", "code", "reason", "replicas")
        return cls(*(row[name] for name in names))

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "number": self.number, "deployment": self.deployment, "kind": self.kind, "state": self.state, "asked": self.asked,
            "ended": self.ended, "code": self.code, "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """An endpoint: what is wanted of it, and what serves.

    Attributes:
        port: on the loopback address; None: none was taken yet.
        replicas: how many are wanted.
        keys: that are accepted; empty: everybody may ask.
        wanted, current: numbers of rollouts: the one that is to serve, and the one that does.
        keeper: the process that looks after it, or did.
        trouble: code and reason, where its replicas ended again and again and are not started any more.
    """

    name: str
    created: str
    port: int | None
    replicas: int
    keys: tuple[ApiKey, ...]
    wanted: int | None
    current: int | None
    deleting: bool
    keeper: ProcessIdentity | None
    trouble: Mapping[str, str] | None

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> EndpointRecord:
        """Return the endpoint that a row holds."""
        return cls(
            name=row["name"], created=row["created"], port=row["port"], replicas=row["replicas"],
            keys=tuple(ApiKey(**key) for key in json.loads(row["keys"])), wanted=row["wanted"], current=row["current"],
            deleting=row["deleting"] is not None, keeper=ProcessIdentity.from_document(json.loads(row["keeper"])) if row["keeper"] else None,
            trouble=json.loads(row["trouble"]) if row["trouble"] else None,
        )  # fmt: skip

    @property
    def url(self) -> str | None:
        """Where it answers; None: it has no port yet."""
        return f"http://127.0.0.1:{self.port}" if self.port else None
