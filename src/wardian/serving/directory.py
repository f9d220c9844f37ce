"""Where the files of an endpoint lie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.small_file import NoSmallFile, read_small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTENER, CONTROL = "listener", "control"  # sockets in a replica's directory


@dataclass(frozen=True, slots=True)
class ReplicaDirectory:
    """The directory of one replica: what its server was told, and through which it is spoken to. It goes with the replica."""

    path: Path

    @property
    def configuration(self) -> Path:
        """What the server is told; its owner alone can read it."""
        return self.path / "config.json"

    @property
    def ready(self) -> Path:
        """What the server says when it is ready, or why it will never be."""
        return self.path / "ready.json"

    @property
    def record(self) -> Path:
        """What the keeper knows of the replica, for the keeper that comes after it."""
        return self.path / "replica.json"


@dataclass(frozen=True, slots=True)
class EndpointDirectory:
    """The directory of one endpoint, below the workspace's ``endpoints/``."""

    path: Path

    @classmethod
    def of(cls, endpoints_dir: Path, name: str) -> EndpointDirectory:
        """Return the directory of the endpoint ``name``; whether it is there is another question."""
        return cls(endpoints_dir / name)

    @property
    def log(self) -> Path:
        """All that its replicas wrote, and what the keeper did."""
        return self.path / "log.txt"

    @property
    def older_log(self) -> Path:
        """What was written before that."""
        return self.path / "log.1.txt"

    @property
    def keeper_log(self) -> Path:
        """What the keeper had to say for itself: nothing, as a rule."""
        return self.path / "keeper.txt"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper as long as it lives."""
        return self.path / "keeper.lock"

    @property
    def trash(self) -> Path:
        """Where removed trees wait for their deletion."""
        return self.path.parent / ".trash"

    @property
    def replicas(self) -> Path:
        """The directories of the replicas."""
        return self.path / "replicas"

    def replica(self, replica_id: str) -> ReplicaDirectory:
        """Return the directory of one replica."""
        return ReplicaDirectory(self.replicas / replica_id)

    def deployment(self, number: int) -> Path:
        """Return the directory of one deployment: its code, and how its replicas are started."""
        return self.path / "deployments" / str(number)

    def plan(self, number: int) -> Path:
        """Return the file that says how the replicas of a deployment are started; its owner alone can read it."""
        return self.deployment(number) / "plan.json"

    def replica_documents(self) -> Iterator[tuple[ReplicaDirectory, dict[str, Any]]]:
        """Yield what is known of each replica, the oldest first; one whose file is not written yet is left out."""
        for path in sorted(self.replicas.iterdir()) if self.replicas.is_dir() else ():
            place = ReplicaDirectory(path)
            if (document := read_document(place.record)) is not None:
                yield place, document


def read_document(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a small file; None: there is none."""
    try:
        document = json.loads(read_small(path))
    except (FileNotFoundError, NotADirectoryError, NoSmallFile, ValueError):
        return None
    return document if isinstance(document, dict) else None
