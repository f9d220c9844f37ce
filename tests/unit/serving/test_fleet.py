"""Replicas whose record cannot be written: on a full disk none is lost, and none is forgotten."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.support.jobs import wait_until

from wardian.serving.directory import EndpointDirectory, ReplicaDirectory
from wardian.serving.fleet import Fleet, ended_by
from wardian.serving.log import EndpointLog
from wardian.serving.plan import Plan
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.serving.doors import Doors
    from wardian.serving.replica import Replica


class Sleeping:
    """A way whose servers sleep; ``full``: what is written beside them fails."""

    def __init__(self, *, full: bool) -> None:
        self.settled = True
        self.full = full
        self.started: list[int] = []

    def start(self, replica_id: str, plan: Plan, place: ReplicaDirectory, log: int, listener: socket.socket, server: Mapping[str, Any]) -> tuple[int, str]:  # fmt: skip
        del replica_id, plan, log, listener, server
        if self.full:
            place.record.mkdir()
        process = subprocess.Popen(["sleep", "600"])
        process.returncode = 0  # the fleet waits for it
        self.started.append(process.pid)
        return process.pid, ""

    def kill(self, replica: Replica) -> None:
        processes.send(replica.process, signal.SIGKILL)


@pytest.fixture
def directory(tmp_path: Path) -> EndpointDirectory:
    found = EndpointDirectory(tmp_path / "churn")
    found.deployment(1).mkdir(parents=True)
    Plan("local", ("sleep",), "/", {}, {}).write(found.plan(1))
    return found


def a_fleet(directory: EndpointDirectory, way: Sleeping) -> Fleet:
    doors = cast("Doors", _NoDoors())
    return Fleet("churn", directory, EndpointLog(directory), doors, lambda _target: cast("Any", way), lambda _keys: contextlib.nullcontext(), 1.0)  # fmt: skip


class _NoDoors:
    def close_listener(self, place: Path) -> None:
        """Nothing is offered."""


def start(fleet: Fleet) -> list[Replica]:
    with socket.socket() as listener:
        return fleet.start_missing(1, 1, 1, listener, [])


def test_a_replica_that_cannot_be_written_down_does_not_run(directory: EndpointDirectory) -> None:
    way = Sleeping(full=True)
    fleet = a_fleet(directory, way)
    with pytest.raises(OSError, match="directory"):
        start(fleet)
    assert fleet.replicas == []
    assert list(directory.replicas.iterdir()) == []
    [pid] = way.started
    wait_until(lambda: processes.identify(pid) is None or _is_a_zombie(pid))


@pytest.mark.parametrize(
    ("code", "container", "name"),
    [(-9, "", "SIGKILL"), (137, "c", "SIGKILL"), (143, "c", "SIGTERM"), (137, "", None), (1, "c", None), (128, "c", None), (255, "c", None), (None, "c", None)],
)  # fmt: skip
def test_what_ended_a_replica(code: int | None, container: str, name: str | None) -> None:
    replica = cast("Replica", SimpleNamespace(code=code, container=container))
    found = ended_by(replica)
    assert (found.name if found else None) == name


def test_how_a_replica_is_is_written_down_as_soon_as_it_can_be(directory: EndpointDirectory) -> None:
    way = Sleeping(full=False)
    fleet = a_fleet(directory, way)
    [replica] = start(fleet)
    try:
        replica.place.record.rename(replica.place.path / "as it was")
        replica.place.record.mkdir()  # nothing can be written there
        replica.place.ready.write_text(json.dumps({"pid": 1}))
        assert list(fleet.look()) == []
        assert (replica.state, replica.was_ready) == ("ready", True)
        assert list(fleet.look()) == []
        replica.place.record.rmdir()
        assert list(fleet.look()) == []
        assert json.loads(replica.place.record.read_text())["state"] == "ready"
    finally:
        way.kill(replica)
        os.waitpid(replica.process.pid, 0)


def _is_a_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0] == "Z"
