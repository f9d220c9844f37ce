"""What a keeper does first: it finds the replicas of the one before, and the endpoint's socket, which one of them hands over."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from wardian.errors import WardianError
from wardian.serving.directory import CONTROL, ReplicaDirectory, read_document
from wardian.serving.replica import DRAINING, STARTING, Replica
from wardian.serving.sockets import ask
from wardian.tools import processes
from wardian.tools.disk import remove_tree

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from wardian.serving.fleet import Fleet

TARGETS = ("local", "podman", "docker")


def adopt(fleet: Fleet) -> socket.socket | None:
    """Take over the replicas that live, and return the endpoint's socket; None: none of them could give it.

    What nobody knows is ended; so are those that cannot be spoken to, as they hold the port.
    """
    found = [_look_at(path, fleet) for path in sorted(fleet.directory.replicas.glob("*"))]
    living = [replica for replica in found if replica is not None]
    listener = _socket_from(living)
    if listener is None:
        for replica in living:
            fleet.log.tell(f"replica {replica.id} does not answer the keeper: it is ended")
            fleet.way(replica.target).kill(replica)
            processes.wait_until_gone(replica.process, 10.0)
            remove_tree(replica.place.path, fleet.directory.trash)
        return None
    for replica in living:
        fleet.adopt(replica, listener)
    fleet.log.tell(f"a new keeper found {len(living)} replica{'s' if len(living) > 1 else ''} that serve on")
    return listener


def _look_at(path: Path, fleet: Fleet) -> Replica | None:
    place = ReplicaDirectory(path)
    document = read_document(place.record)
    if document is not None:
        with contextlib.suppress(KeyError, TypeError):
            replica = Replica.from_document(document, place, time.monotonic())
            if processes.is_alive(replica.process):
                return replica
            fleet.way(replica.target).kill(replica)
            fleet.log.tell(f"replica {replica.id} of deployment {replica.deployment} ended while nobody looked after it")
    else:  # the keeper before was killed while it started this one
        for target in TARGETS:
            with contextlib.suppress(WardianError):
                fleet.way(target).clear(place.path.name)
    remove_tree(place.path, fleet.directory.trash)
    return None


def _socket_from(living: list[Replica]) -> socket.socket | None:
    for replica in sorted(living, key=lambda one: (one.state == STARTING, one.state == DRAINING)):
        with contextlib.suppress(WardianError):
            listener = ask(replica.place.path / CONTROL, {"op": "listener"})[1]
            if listener is not None:
                return listener
    return None
