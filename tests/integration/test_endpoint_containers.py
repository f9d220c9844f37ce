"""Replicas in containers take connections from the endpoint's own socket, and are kept as those on this machine are."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.containers import PYTHON, Dockerd, PodmanSpace, archive, dockerd, podman_space
from tests.support.endpoints import Stage
from tests.support.jobs import wait_until

from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

Space = PodmanSpace | Dockerd


@pytest.fixture(scope="module", params=["podman", pytest.param("docker", marks=pytest.mark.slow)])
def space(request: pytest.FixtureRequest) -> Iterator[Space]:
    with podman_space() if request.param == "podman" else dockerd() as found:
        yield found


@pytest.fixture(scope="module")
def image(space: Space, tmp_path_factory: pytest.TempPathFactory) -> str:
    return space.engine().load(archive(PYTHON, tmp_path_factory.getbasetemp().parent)).id


@pytest.fixture
def stage(tmp_path: Path, space: Space, image: str) -> Iterator[Stage]:
    name = "podman" if isinstance(space, PodmanSpace) else "docker"
    # odd, and longer than the address of a socket may be
    made = Stage(tmp_path / ("a long, name " * 9), engine=name, image=image, environ=dict(space.environ))
    yield made
    made.end()
    for left in space.names():
        space.engine().call("rm", "--force", left)


def test_deploy_update_kill_and_delete(stage: Stage, space: Space) -> None:
    first = stage.deploy(GREETING="one", replicas=2)
    keeper = stage.keep()
    stage.wait_for(first)
    assert stage.score()["greeting"] == "one"
    assert len(space.names()) == 2

    stage.wait_for(stage.deploy(GREETING="two"))
    stage.wait_for_replicas(2)
    assert stage.score()["greeting"] == "two"

    failed = stage.wait_for(stage.deploy(STAND_IN_INIT="fail"), "failed")
    assert "the model is of another kind" in str(failed.reason)
    assert stage.score()["greeting"] == "two"

    container = stage.replicas()[0]["container"]
    gone = stage.replicas()[0]["process"]["pid"]
    space.engine().call("kill", "--signal", "KILL", container)
    stage.wait_for_replicas(2, without=gone)
    assert stage.score()["greeting"] == "two"

    keeper.kill()
    keeper.wait()
    assert stage.score()["greeting"] == "two"  # nothing of the keeper's stands between a client and a container
    kept = set(space.names())
    keeper = stage.keep()
    stage.store.scale("churn", 1)
    stage.wake()
    stage.wait_for_replicas(1)
    wait_until(lambda: len(space.names()) == 1)
    assert set(space.names()) < kept

    stage.store.ask_delete("churn")
    stage.wake()
    assert keeper.wait(timeout=60) == 0
    assert space.names() == []
    links = Path(tempfile.gettempdir()) / f"wardian-links-{os.geteuid()}"
    assert [link for name in kept for link in links.glob(f"{name.removeprefix('wardian-replica-')}-*")] == []


@pytest.mark.slow
def test_a_container_without_its_engines_command_is_started_anew(stage: Stage, space: Space) -> None:
    rollout = stage.deploy()
    stage.keep()
    stage.wait_for(rollout)
    (name,) = space.names()
    client = stage.replicas()[0]["process"]["pid"]
    os.kill(client, signal.SIGKILL)
    wait_until(lambda: processes.identify(client) is None)
    stage.wait_for_replicas(1, without=client)
    wait_until(lambda: name not in space.names())
    assert stage.score()["body"] == "hello"


@pytest.mark.slow
def test_what_a_killed_keeper_was_just_starting_is_removed(stage: Stage, space: Space) -> None:
    rollout = stage.deploy(STAND_IN_INIT="hang")
    keeper = stage.keep()
    wait_until(lambda: _running(space))
    keeper.kill()
    keeper.wait()
    for place, _ in stage.directory().replica_documents():
        place.record.unlink()  # as if it had not come to writing it down
    left = set(space.names())
    stage.store.ask_delete("churn")
    assert stage.keep().wait(timeout=120) == 0
    assert left
    assert space.names() == []
    assert rollout.state == "starting"


def test_a_program_that_is_not_there_is_named(stage: Stage) -> None:
    rollout = stage.deploy(python="/opt/env/bin/no-python")
    stage.keep()
    assert "no-python" in str(stage.wait_for(rollout, "failed").reason)


def _running(space: Space) -> list[str]:
    """Return the containers that run: the first ways in which an engine tries to start one may fail."""
    return space.engine().call("ps", "--format", "{{.Names}}").stdout.split()
