"""The keeper of an endpoint, over a stand-in server: rollouts, ends of replicas and keepers, deletion."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.endpoints import ROOT, Stage, score
from tests.support.jobs import wait_until

from wardian.tools import processes
from wardian.workspace.endpoint_record import ApiKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    # longer than the address of a socket may be
    made = Stage(tmp_path / ("a-long-name-" * 9))
    yield made
    made.end()


def test_deploy_score_update_roll_back_scale_delete(stage: Stage) -> None:
    first = stage.deploy(GREETING="one")
    keeper = stage.keep()
    stage.wait_for(first)
    answer = stage.score()
    assert (answer["deployment"], answer["greeting"], answer["body"]) == ("1", "one", "hello")
    port = stage.record().port

    stage.wait_for(stage.deploy(GREETING="two"))
    stage.wait_for_replicas(1)
    assert stage.score()["greeting"] == "two"
    assert stage.record().port == port

    assert stage.store.before_current(stage.record()) == 1
    stage.wait_for(stage.store.roll_out("churn", 1, "rollback"))
    stage.wake()
    stage.wait_for_replicas(1)
    assert stage.score()["greeting"] == "one"
    assert stage.store.before_current(stage.record()) == 2

    stage.store.scale("churn", 3)
    stage.wake()
    stage.wait_for_replicas(3)
    assert wait_until(lambda: len({stage.score()["pid"] for _ in range(30)}) > 1)
    stage.store.scale("churn", 1)
    stage.wake()
    stage.wait_for_replicas(1)

    replica = stage.replicas()[0]["process"]["pid"]
    stage.store.ask_delete("churn")
    stage.wake()
    assert keeper.wait(timeout=60) == 0
    assert stage.store.find("churn") is None
    assert not stage.directory().path.exists()
    assert processes.identify(replica) is None


def test_a_failed_update_leaves_what_serves_and_says_why(stage: Stage) -> None:
    first = stage.deploy(GREETING="one")
    stage.keep()
    stage.wait_for(first)
    before = stage.score()["pid"]
    failed = stage.wait_for(stage.deploy(STAND_IN_INIT="fail"), "failed")
    assert failed.code == "init_failed"
    assert "init() failed: ValueError: the model is of another kind" in str(failed.reason)
    line = int(str(failed.reason).rpartition(":")[2].rstrip(")"))
    assert stage.log().splitlines()[line - 1].startswith("Traceback")
    assert stage.score()["pid"] == before
    assert stage.record().wanted == stage.record().current == first.number


def test_replicas_of_an_update_come_and_go_with_it(stage: Stage) -> None:
    rollout = stage.deploy(replicas=2)
    stage.keep()
    stage.wait_for(rollout)
    both = {document["process"]["pid"] for document in stage.wait_for_replicas(2)}
    stage.wait_for(stage.deploy(replicas=1, STAND_IN_INIT="fail"), "failed")
    assert {document["process"]["pid"] for document in stage.wait_for_replicas(2)} == both
    stage.wait_for(stage.deploy(replicas=1))
    stage.wait_for_replicas(1)


def test_a_first_deployment_that_exits_or_hangs_fails(stage: Stage) -> None:
    rollout = stage.deploy(STAND_IN_INIT="exit")
    stage.keep()
    assert "it exited with 7" in str(stage.wait_for(rollout, "failed").reason)
    assert stage.record().current is None
    rollout = stage.deploy(STAND_IN_INIT="hang", startup_timeout_s=0.1)
    assert "ended by SIGKILL" in str(stage.wait_for(rollout, "failed").reason)
    assert "was not ready in time" in stage.log()
    stage.wait_for(stage.deploy())
    assert stage.score()["deployment"] == "3"


def test_a_killed_replica_is_started_again_and_who_asks_meanwhile_waits(stage: Stage) -> None:
    rollout = stage.deploy()
    stage.keep()
    stage.wait_for(rollout)
    before = stage.score()["pid"]
    os.kill(before, signal.SIGKILL)
    assert stage.score()["pid"] != before  # the socket stays open: the connection waits for the next replica
    assert "of deployment 1 ended: ended by SIGKILL" in stage.log()


def test_replicas_that_end_again_and_again_are_given_up(stage: Stage) -> None:
    rollout = stage.deploy()
    stage.keep()
    stage.wait_for(rollout)

    def die() -> bool:
        with contextlib.suppress(OSError):
            stage.score("die")
        return stage.record().trouble is not None

    wait_until(die)
    trouble = stage.record().trouble
    assert trouble is not None
    assert trouble["code"] == "crash_loop"
    assert "it exited with 9" in trouble["reason"]
    wait_until(lambda: not _takes_connections(stage))  # nobody waits for a server that does not come
    stage.store.scale("churn", 1)  # tried again
    stage.wake()
    stage.wait_for_replicas(1)
    assert stage.score()["body"] == "hello"


def test_after_the_end_of_the_keeper_the_replicas_serve_and_the_next_one_finds_them(stage: Stage) -> None:
    rollout = stage.deploy(replicas=2)
    keeper = stage.keep()
    stage.wait_for(rollout)
    pids = {document["process"]["pid"] for document in stage.wait_for_replicas(2)}
    keeper.kill()
    keeper.wait()
    assert stage.score()["pid"] in pids
    one = min(pids)
    os.kill(one, signal.SIGKILL)
    wait_until(lambda: processes.identify(one) is None)
    assert stage.score()["pid"] in pids - {one}
    stage.keep()
    now = {document["process"]["pid"] for document in stage.wait_for_replicas(2, without=one)}
    assert pids - {one} < now
    assert "a new keeper found 1 replica that serve on" in stage.log()
    stage.wait_for(stage.deploy())
    stage.wait_for_replicas(2)
    assert stage.score()["deployment"] == "2"


def test_when_all_are_gone_the_next_keeper_starts_anew_on_the_same_port(stage: Stage) -> None:
    rollout = stage.deploy()
    keeper = stage.keep()
    stage.wait_for(rollout)
    port, pid = stage.record().port, stage.score()["pid"]
    keeper.kill()
    keeper.wait()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: processes.identify(pid) is None)
    wait_until(lambda: not _takes_connections(stage))
    stage.keep()
    stage.wait_for_replicas(1, without=pid)
    assert stage.record().port == port
    assert stage.score()["body"] == "hello"


def test_processes_of_before_a_reboot_are_not_taken_for_replicas(stage: Stage) -> None:
    rollout = stage.deploy()
    keeper = stage.keep()
    stage.wait_for(rollout)
    place, document = next(stage.directory().replica_documents())
    keeper.kill()
    keeper.wait()
    os.kill(document["process"]["pid"], signal.SIGKILL)
    stranger = processes.identify()  # its number is somebody else's now, who started at another time
    assert stranger is not None
    place.record.write_text(json.dumps({**document, "process": {**document["process"], "pid": stranger.pid}}))
    stage.keep()
    stage.wait_for_replicas(1, without=stranger.pid)
    assert processes.identify() == stranger
    assert stage.score()["body"] == "hello"


def test_a_second_keeper_leaves_the_endpoint_alone(stage: Stage) -> None:
    rollout = stage.deploy()
    stage.keep()
    stage.wait_for(rollout)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.endpoints", str(stage.root), "churn", "{}"], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 0
    assert stage.score()["body"] == "hello"


def test_a_taken_port_is_named(stage: Stage) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        rollout = stage.deploy(port=port)
        stage.keep()
        failed = stage.wait_for(rollout, "failed")
    assert (failed.code, failed.reason) == ("port_taken", f"port {port} of this machine is taken by another program")
    stage.wait_for(stage.deploy())
    assert score(port)["deployment"] == "2"


def test_of_two_deployments_at_once_the_later_one_serves(stage: Stage) -> None:
    first = stage.deploy(STAND_IN_INIT="hang")
    stage.keep()
    second = stage.deploy(GREETING="two")
    stage.wait_for(second)
    stage.wait_for_replicas(1)
    assert stage.store.rollout("churn", first.number).state == "superseded"
    assert stage.score()["greeting"] == "two"


def test_keys_are_asked_for(stage: Stage) -> None:
    rollout = stage.deploy(keys=[ApiKey(hashlib.sha256(b"secret").hexdigest(), "2026-01-01T00:00:00Z")])
    stage.keep()
    stage.wait_for(rollout)
    assert stage.score()["status"] == 401
    assert stage.score(key="wrong")["status"] == 401
    assert stage.score(key="secret")["status"] == 200
    from wardian.serving.sockets import ask

    token = ask(stage.directory().path / "keeper", {"op": "token"})[0]["token"]
    assert stage.score(key=token)["status"] == 200


def test_no_request_fails_while_deployments_change(stage: Stage) -> None:
    rollout = stage.deploy(replicas=2, GREETING="0", drain_s=60)
    stage.keep()
    stage.wait_for(rollout)
    port, stop, seen, failures = stage.record().port or 0, threading.Event(), set(), []

    def client() -> None:
        while not stop.is_set():
            try:
                seen.add(score(port)["greeting"])
            except OSError as error:
                failures.append(error)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    try:
        for number in range(1, 4):
            stage.wait_for(stage.deploy(GREETING=str(number)))
            wait_until(lambda number=number: str(number) in seen)  # type: ignore[misc]
        stage.wait_for_replicas(2)
    finally:
        stop.set()
        for each in clients:
            each.join()
    assert failures == []
    assert seen == {"0", "1", "2", "3"}


def test_a_workspace_that_was_removed_leaves_nothing_behind(stage: Stage) -> None:
    rollout = stage.deploy()
    keeper = stage.keep()
    stage.wait_for(rollout)
    pid = stage.score()["pid"]
    shutil.rmtree(stage.root)
    assert keeper.wait(timeout=60) == 0
    wait_until(lambda: processes.identify(pid) is None)


def _takes_connections(stage: Stage) -> bool:
    try:
        socket.create_connection(("127.0.0.1", stage.record().port or 0)).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True
