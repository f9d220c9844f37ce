"""How the replicas of a deployment are started: all that a keeper needs to know, worked out when it was deployed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.serving.directory import read_document
from wardian.tools.disk import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """How to start a replica. It holds the deployment's variables, secrets among them: kept where its owner alone can read.

    Attributes:
        target: ``local`` | ``podman`` | ``docker``.
        argv: interpreter and server; ``--config FILE`` is added. In a container these are paths inside.
        directory: where it works; in a container a path inside.
        variables: all of the process's, or, in a container, those on top of the image's.
        server: what the server is told, but for what is each replica's own.
        read_only: must be read-only for it even if it is root.
        holds: keys of prefixes that it uses.
        image: what it runs in, as the engine has it; empty: this machine as it is.
        mounts: pairs of a path of this machine and the one inside, all read-only.
        cpus, memory_bytes, gpus: limits of a container.
    """

    target: str
    argv: tuple[str, ...]
    directory: str
    variables: Mapping[str, str]
    server: Mapping[str, Any]
    read_only: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    image: str = ""
    mounts: tuple[tuple[str, str], ...] = ()
    cpus: float | None = None
    memory_bytes: int | None = None
    gpus: int | None = None
    schema: int = field(default=SCHEMA)

    @property
    def startup_timeout_s(self) -> float:
        """Seconds that ``init()`` may take."""
        return float(self.server.get("startup_timeout_s", 300))

    @property
    def drain_s(self) -> float:
        """Seconds for the requests that are under way when a replica is to end."""
        return float(self.server.get("drain_s", 30))

    def write(self, path: Path) -> None:
        """Write the plan, for its owner alone."""
        write_atomically(path, json.dumps(asdict(self)).encode(), 0o600)

    @classmethod
    def read(cls, path: Path) -> Plan | None:
        """Return the plan in a file; None: there is none of this schema."""
        document = read_document(path)
        if document is None or document.get("schema") != SCHEMA:
            return None
        for name in ("argv", "read_only", "holds"):
            document[name] = tuple(document[name])
        return cls(**{**document, "mounts": tuple((source, inside) for source, inside in document["mounts"])})
