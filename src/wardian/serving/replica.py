"""A replica: one server of an endpoint, as its keeper knows it, and the port for places in which replicas run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from wardian.serving.directory import read_document
from wardian.tools.disk import write_atomically
from wardian.tools.processes import ProcessIdentity

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from wardian.serving.directory import ReplicaDirectory
    from wardian.serving.plan import Plan

STARTING, READY, DRAINING = "starting", "ready", "draining"
MARKER = "WARDIAN_REPLICA"  # the variable that no other process has with this value: the replica's id
NUMBER = "WARDIAN_DEPLOYMENT"  # and the one that says which deployment it is of
LISTENER_FD, DIRECTORY_FD = 3, 4  # what a replica's process finds open


@dataclass
class Replica:
    """One server, from its start to its end.

    Attributes:
        rollout, deployment: what it serves.
        process: what ends when it ends: the server, or the engine's command line that is attached to its container.
        state: ``starting`` | ``ready`` | ``draining``.
        started: RFC 3339.
        container: its container's name; empty: it is a process of this machine.
        log_offset: where in the log what it writes begins.
        since: when its state changed, monotonic seconds; of an adopted one: when it was adopted.
        code: what its process ended with, where that is known.
        kept: whether all of this is written down.
    """

    id: str
    rollout: int
    deployment: int
    process: ProcessIdentity
    place: ReplicaDirectory
    target: str
    started: str
    since: float
    state: str = STARTING
    container: str = ""
    log_offset: int = 0
    code: int | None = None
    was_ready: bool = False
    kept: bool = True

    def keep(self) -> None:
        """Write down what the keeper after this one has to know."""
        document = {
            "id": self.id, "rollout": self.rollout, "deployment": self.deployment, "process": self.process.as_document(), "target": self.target,
            "started": self.started, "state": self.state, "container": self.container, "log_offset": self.log_offset,
        }  # fmt: skip
        write_atomically(self.place.record, json.dumps(document).encode(), 0o600)
        self.kept = True

    @classmethod
    def from_document(cls, document: Mapping[str, Any], place: ReplicaDirectory, now: float) -> Replica:
        """Return the replica that ``keep`` wrote down."""
        values = {
            name: document[name]
            for name in ("id", "rollout", "deployment", "target", "started", "state", "container", "log_offset")
        }
        return cls(
            process=ProcessIdentity.from_document(document["process"]),
            place=place,
            since=now,
            was_ready=document["state"] != STARTING,
            **values,
        )

    def news(self) -> dict[str, Any] | None:
        """Return what the server said when it was ready, or why it will never be; None: nothing yet."""
        return read_document(self.place.ready)


class ReplicaWay(Protocol):
    """A place in which replicas run. What it starts outlives this process.

    Attributes:
        settled: whether it is known how one is started on this machine; until one is ready, they are started one after the other.
    """

    settled: bool

    def start(
        self, replica_id: str, plan: Plan, place: ReplicaDirectory, log: int, listener: socket.socket, server: Mapping[str, Any]
    ) -> tuple[int, str]:
        """Start a server that takes connections from ``listener``; return the process that ends with it, and its container's name.

        Args:     log: a descriptor that gets what it writes.  server: what it is told, but for the places of its files.
        Raises:   WardianError: it could not be started; nothing of it is left.
        """
        ...

    def again(self, replica: Replica, said: str) -> bool:
        """Return whether one that ended at once, after its engine ``said`` something, can be started another way."""
        ...

    def explained(self, replica: Replica, said: str) -> str | None:
        """Return in words why one that was never ready ended, by what was ``said`` in its log; None: its exit code says it."""
        ...

    def terminate(self, replica: Replica) -> None:
        """Ask it to end: it answers what was asked. No matter if it has ended."""
        ...

    def kill(self, replica: Replica) -> None:
        """End it now, with all that it started, or remove what it left. No matter if it has ended."""
        ...

    def clear(self, replica_id: str) -> None:
        """End what a keeper that was killed while it started this replica may have left."""
        ...
