"""Runs with a supervisor process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.jobs import STUBBORN, a_configuration, noted_pids, still_there, wait_until

from wardian.errors import Conflict, NotFound, RunFailed
from wardian.run.detach import cancel, delete, follow, submit_detached, wait
from wardian.run.record import Results
from wardian.run.records import RunStore
from wardian.run.surroundings import Surroundings
from wardian.run.targets.local import LocalTarget
from wardian.tools import processes
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.run.record import RunRecord

REPOSITORY = Path(__file__).resolve().parents[2]


class Detached:
    """A project whose runs are supervised by the driver."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        (root / "project").mkdir()
        self.database = Database.open(root / "workspace.db")
        self.store = RunStore(self.database)

    def submit(
        self, script: str, *options: str, driver: tuple[str, ...] = (), arguments: tuple[str, ...] = (), **changes: Any
    ) -> RunRecord:
        (self.root / "project/train.py").write_text(script)
        command = driver or (sys.executable, "-m", "tests.support.run_driver")
        environ = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/src"}
        return submit_detached(
            a_configuration(self.root / "project", "train.py", *arguments, **changes),
            self.store,
            self.runs,
            lambda run_id: [*command, str(self.root), "supervise", run_id, *options],
            surroundings=Surroundings(environ=environ, grace_s=1.0),
            target=LocalTarget(),
        )

    def log(self, record: RunRecord) -> str:
        return (self.runs / record.id / "log.txt").read_text()


@pytest.fixture
def detached(tmp_path: Path) -> Iterator[Detached]:
    made = Detached(tmp_path)
    yield made
    for record in made.store.active():
        cancel(record.id, made.store)
        assert not wait(record.id, made.store, timeout_s=20).is_active
    made.database.close()


def test_the_caller_goes_on_while_the_run_runs(detached: Detached, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    record = detached.submit(
        "import os; print(os.getsid(0), open('data.txt').read() if os.path.exists('data.txt') else 'as it was')", f"gate={gate}"
    )
    assert record.is_active
    assert record.snapshot_digest
    (tmp_path / "project/data.txt").write_text("too late")
    (tmp_path / "project/train.py").write_text("raise SystemExit('changed')")
    gate.write_text("go")
    ended = wait(record.id, detached.store, timeout_s=20)
    assert ended.state == "completed"
    assert detached.log(ended).split(maxsplit=1)[1] == "as it was\n"
    assert ended.supervisor is not None
    assert ended.supervisor.pid != os.getpid()
    assert ended.results.snapshot_files == 1
    with pytest.raises(ChildProcessError):  # the supervisor is nobody's child here
        os.waitpid(ended.supervisor.pid, os.WNOHANG)
    assert (detached.runs / record.id / "supervisor.txt").read_text() == ""


def test_a_run_outlives_the_process_that_submitted_it(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "project/train.py").write_text("print('alone')")
    environ = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/src"}
    command = [sys.executable, "-m", "tests.support.run_driver", str(tmp_path), "detach", f"gate={gate}"]
    answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=REPOSITORY, env=environ).stdout)
    assert (answer["state"], answer["zombies"]) == ("queued", 0)
    store = RunStore(Database.open(tmp_path / "workspace.db"))
    gate.write_text("go")
    assert wait(answer["id"], store, timeout_s=20).state == "completed"


def test_secrets_go_to_the_supervisor_and_nowhere_else(detached: Detached) -> None:
    record = detached.submit("import os; print(len(os.environ['HF_TOKEN']), os.environ['EPOCHS'])",
                             variables={"HF_TOKEN": "hunter2", "EPOCHS": "3"})  # fmt: skip
    assert wait(record.id, detached.store, timeout_s=20).state == "completed"
    assert detached.log(record) == "7 3\n"
    for path in [p for p in detached.root.rglob("*") if p.is_file()]:
        assert b"hunter2" not in path.read_bytes(), path


def test_secrets_among_the_arguments_go_to_the_supervisor_and_to_the_script_alone(detached: Detached) -> None:
    script = "import os, sys; print([len(word) for word in sys.argv[1:]], [name for name in os.environ if 'ARGUMENTS' in name])"
    given = ("--password", "hunter2", "--epochs=3", "--api-key=hunter2")
    record = detached.submit(script, arguments=given, variables={"*": None})
    assert wait(record.id, detached.store, timeout_s=20).state == "completed"
    assert detached.log(record) == "[10, 7, 10, 17] []\n"
    assert record.configuration.command.arguments == ("--password", "…", "--epochs=3", "--api-key=…")
    for path in [p for p in detached.root.rglob("*") if p.is_file()]:
        assert b"hunter2" not in path.read_bytes(), path


def test_a_log_is_followed_from_its_beginning_to_its_end(detached: Detached, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    record = detached.submit(f"print('first'); open({str(gate)!r}).read(); print('second' * 100000)")
    pieces: list[bytes] = []
    for piece in follow(record.id, detached.store, detached.runs):
        pieces.append(piece)
        if piece == b"first\n":
            gate.write_text("go")
    assert pieces[0] == b"first\n"  # not held back until the end
    assert b"".join(pieces) == b"first\n" + b"second" * 100000 + b"\n"
    assert b"".join(follow(record.id, detached.store, detached.runs)) == b"".join(pieces)


def test_a_running_run_is_canceled_with_all_its_children(detached: Detached) -> None:
    record = detached.submit(STUBBORN + "sit()", "grace_s=1")
    directory = detached.runs / record.id / "snapshot"
    wait_until(lambda: (directory.parent / "log.txt").exists() and "ready" in detached.log(record))
    began = time.monotonic()
    assert cancel(record.id, detached.store).cancel_asked
    ended = wait(record.id, detached.store, timeout_s=20)
    assert time.monotonic() - began < 10
    assert (ended.state, ended.code, ended.process_exit_code) == ("canceled", "canceled", 143)
    assert still_there(noted_pids(directory)) == []
    with pytest.raises(Conflict, match="has ended already: canceled"):
        cancel(record.id, detached.store)


def test_a_run_is_canceled_while_it_is_prepared(detached: Detached, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    record = detached.submit("print('never')", f"gate={gate}")
    wait_until(lambda: detached.store.get(record.id).state == "preparing")
    cancel(record.id, detached.store)
    ended = wait(record.id, detached.store, timeout_s=20)
    assert (ended.state, ended.running) == ("canceled", None)


def test_a_queued_run_goes_no_further_once_canceled(detached: Detached) -> None:
    sleeper = ("sh", "-c", "exec sleep 600", "sh")  # a supervisor that is slow to begin
    record = detached.submit("print('never')", driver=sleeper)
    asked = cancel(record.id, detached.store)
    assert (asked.state, bool(asked.cancel_asked)) == ("queued", True)
    assert asked.supervisor is not None
    assert wait(record.id, detached.store, timeout_s=0.05).is_active
    os.kill(asked.supervisor.pid, signal.SIGKILL)
    assert wait(record.id, detached.store, timeout_s=20).state == "canceled"


def test_a_canceled_run_is_not_begun_by_its_supervisor(detached: Detached) -> None:
    (detached.root / "project/train.py").write_text("print('never')")
    configuration = a_configuration(detached.root / "project")
    record = detached.store.add(configuration, supervisor=processes.identify(), results=Results())
    detached.store.ask_cancel(record.id)
    command = [sys.executable, "-m", "tests.support.run_driver", str(detached.root), "supervise", record.id]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0
    assert detached.store.get(record.id).state == "canceled"


def test_a_killed_supervisor_is_told_and_leaves_nothing_running(detached: Detached) -> None:
    record = detached.submit(STUBBORN + "sit()")
    directory = detached.runs / record.id / "snapshot"
    wait_until(lambda: (directory.parent / "log.txt").exists() and "ready" in detached.log(record))
    supervisor = detached.store.get(record.id).supervisor
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    ended = wait(record.id, detached.store, timeout_s=20)
    assert (ended.state, ended.code) == ("failed", "supervisor_gone")
    wait_until(lambda: not still_there(noted_pids(directory)), timeout_s=5.0)


def test_a_supervisor_that_does_not_start_is_told(detached: Detached) -> None:
    record = detached.submit("", driver=("/no/such/program",))
    ended = wait(record.id, detached.store, timeout_s=20)
    assert (ended.state, ended.code) == ("failed", "supervisor_gone")
    assert "not found" in (detached.runs / record.id / "supervisor.txt").read_text()


def test_no_shell_no_supervisor(detached: Detached) -> None:
    with pytest.raises(RunFailed, match="could not be started") as caught:
        detached.submit("", driver=("a\0b",))
    record = detached.store.get(caught.value.details["run_id"])
    assert (record.state, record.code) == ("failed", "supervisor_failed")


def test_one_run_has_one_supervisor(detached: Detached, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    record = detached.submit("print('once')", f"gate={gate}")
    wait_until(lambda: detached.store.get(record.id).state == "preparing")
    command = [sys.executable, "-m", "tests.support.run_driver", str(detached.root), "supervise", record.id]
    second = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert second.returncode == 1
    assert "cannot become preparing" in second.stderr
    gate.write_text("go")
    assert wait(record.id, detached.store, timeout_s=20).state == "completed"
    assert detached.log(record) == "once\n"


def test_waiting_ends_when_its_time_is_up_and_when_the_run_does(detached: Detached, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    record = detached.submit(f"open({str(gate)!r}).read()")
    wait_until(lambda: detached.store.get(record.id).state == "running")
    assert wait(record.id, detached.store, timeout_s=0.05).is_active
    ended: list[RunRecord] = []
    waiting = threading.Thread(target=lambda: ended.append(wait(record.id, detached.store)))
    waiting.start()
    gate.write_text("go")
    waiting.join(20)
    assert [r.state for r in ended] == ["completed"]


def test_deleting_takes_record_and_files(detached: Detached, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    record = detached.submit(f"open({str(gate)!r}).read()")
    with pytest.raises(Conflict, match="has not ended"):
        delete(record.id, detached.store, detached.runs)
    wait_until(lambda: detached.store.get(record.id).state == "running")
    gate.write_text("go")
    wait(record.id, detached.store, timeout_s=20)
    delete(record.id[:10], detached.store, detached.runs)
    assert not (detached.runs / record.id).exists()
    with pytest.raises(NotFound):
        detached.store.get(record.id)
