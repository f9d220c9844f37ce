"""^C, signals and `kill -9`, sent to a process that runs a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.jobs import STUBBORN, noted_pids, still_there, wait_until

from wardian.run.records import RunStore
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.run.record import RunRecord

REPOSITORY = Path(__file__).resolve().parents[2]


class Driven:
    """A run in a process of its own, in a process group of its own, as a shell starts it."""

    def __init__(self, root: Path, script: str, *options: str) -> None:
        self.root = root
        (root / "project").mkdir()
        (root / "project/train.py").write_text(script)
        self.store = RunStore(Database.open(root / "workspace.db"), runs_dir=root / "runs")
        command = [sys.executable, "-m", "tests.support.run_driver", str(root), "submit", *options]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, process_group=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def record(self) -> RunRecord:
        return self.store.list().items[0]

    def wait_for(self, state: str) -> RunRecord:
        wait_until(lambda: len(self.store.list(state=state)) == 1)
        return self.record()

    @property
    def directory(self) -> Path:
        return self.root / "runs" / self.record().id / "snapshot"

    def wait_for_children(self) -> list[int]:
        """Wait until the stubborn script has all its children, and return their pids and its own."""
        self.wait_for("running")
        log = self.directory.parent / "log.txt"
        wait_until(lambda: "ready" in log.read_text())
        return noted_pids(self.directory)

    def end(self, timeout_s: float = 20.0) -> int:
        self.process.communicate(timeout=timeout_s)
        return self.process.returncode


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[list[Driven]]:
    started: list[Driven] = []
    yield started
    for driven in started:
        if driven.process.poll() is None:
            driven.process.kill()
        driven.process.communicate()


def driven(drive: list[Driven], root: Path, script: str, *options: str) -> Driven:
    drive.append(Driven(root, script, *options))
    return drive[-1]


@pytest.mark.parametrize(("number", "code", "expected"), [
    (signal.SIGINT, "interrupted", 130),
    (signal.SIGTERM, "canceled", 143),
    (signal.SIGHUP, "canceled", 143),
])  # fmt: skip
def test_children_that_ignore_signals_are_gone_ten_seconds_after(
    drive: list[Driven], tmp_path: Path, number: int, code: str, expected: int
) -> None:
    run = driven(drive, tmp_path, STUBBORN + "sit()")
    pids = run.wait_for_children()
    assert len(set(still_there(pids))) == 4
    began = time.monotonic()
    os.killpg(run.process.pid, number)  # as a terminal does
    assert run.end() == expected
    assert time.monotonic() - began < 10
    assert still_there(pids) == []
    record = run.record()
    assert (record.state, record.code, record.signal) == ("canceled", code, signal.SIGKILL)
    assert record.process_exit_code == expected


def test_a_script_may_save_its_work_on_interrupt(drive: list[Driven], tmp_path: Path) -> None:
    script = (
        "import time\ntry: print('ready'); time.sleep(600)\n"
        "except KeyboardInterrupt: open('outputs/checkpoint', 'w').write('epoch 3'); raise SystemExit(0)"
    )
    run = driven(drive, tmp_path, script)
    run.wait_for("running")
    wait_until(lambda: "ready\n" in (run.directory.parent / "log.txt").read_text())
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end() == 130
    record = run.record()
    assert (record.state, record.exit_code) == ("canceled", 0)
    assert [file.path for file in record.results.outputs] == ["outputs/checkpoint"]


def test_the_second_interrupt_does_not_wait(drive: list[Driven], tmp_path: Path) -> None:
    deaf = "import os, signal, time\nsignal.signal(signal.SIGINT, lambda *_: os.write(1, b'heard\\n'))\nos.write(1, b'ready\\n')\nwhile True: time.sleep(60)"
    run = driven(drive, tmp_path, deaf, "grace_s=60")
    run.wait_for("running")
    for heard in ("ready\n", "heard\n"):
        wait_until(lambda word=heard: word in (run.directory.parent / "log.txt").read_text())  # type: ignore[misc]
        os.kill(run.process.pid, signal.SIGINT)
    assert run.end() == 130
    assert run.record().signal == signal.SIGKILL


def test_interrupted_while_the_environment_is_prepared(drive: list[Driven], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run = driven(drive, tmp_path, "print('never')", f"gate={gate}")
    run.wait_for("preparing")
    os.kill(run.process.pid, signal.SIGINT)
    assert run.end() == 130
    record = run.record()
    assert (record.state, record.code) == ("canceled", "interrupted")
    assert record.reason == "interrupted before its script was started"
    assert record.running is None


@pytest.mark.parametrize("whole_group", [False, True])
def test_a_killed_wardian_takes_all_its_children_along(drive: list[Driven], tmp_path: Path, whole_group: bool) -> None:
    run = driven(drive, tmp_path, STUBBORN + "sit()")
    pids = run.wait_for_children()
    if whole_group:
        os.killpg(run.process.pid, signal.SIGKILL)
    else:
        os.kill(run.process.pid, signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    wait_until(lambda: not still_there(pids), timeout_s=5.0)
    record = run.record()
    assert (record.state, record.code, record.process_exit_code) == ("failed", "supervisor_gone", 125)
    assert "running" in record.reason


def test_a_killed_wardian_was_alive_as_long_as_it_said_so(drive: list[Driven], tmp_path: Path) -> None:
    run = driven(drive, tmp_path, "import time; time.sleep(600)", "tick_s=0.05")
    record = run.wait_for("running")
    log = tmp_path / "runs" / record.id / "log.txt"
    born = log.stat().st_mtime_ns
    wait_until(lambda: log.stat().st_mtime_ns > born, timeout_s=10.0)  # it says so without having written
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    seen = log.stat().st_mtime
    record = run.record()
    assert not record.end_is_known
    assert datetime.fromisoformat(record.ended or "").timestamp() == pytest.approx(seen, abs=1e-3)
    assert log.read_bytes() == b""


def test_a_wardian_killed_while_it_prepares_leaves_a_failed_record(drive: list[Driven], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run = driven(drive, tmp_path, "print('never')", f"gate={gate}")
    record = run.wait_for("preparing")
    assert run.store.get(record.id).is_active
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    assert (run.record().state, run.record().code) == ("failed", "supervisor_gone")


def test_a_timeout_ends_what_ignores_it(drive: list[Driven], tmp_path: Path) -> None:
    run = driven(drive, tmp_path, STUBBORN + "sit()", "timeout_s=1", "grace_s=1")
    assert run.end() == 124
    record = run.record()
    assert (record.state, record.code, record.signal) == ("failed", "timeout", signal.SIGKILL)
    assert "1 second:" in record.reason
    assert still_there(noted_pids(run.directory)) == []


def test_a_run_that_ignores_the_terminal_is_reached_through_its_record(drive: list[Driven], tmp_path: Path) -> None:
    """As from another machine, where a signal does not reach: only the record says so."""
    run = driven(drive, tmp_path, "import time; time.sleep(600)", "tick_s=0.05")
    record = run.wait_for("running")
    run.store.ask_cancel(record.id)
    assert run.end() == 143
    assert run.record().state == "canceled"


def test_the_answer_of_a_run_whose_output_is_passed_on(drive: list[Driven], tmp_path: Path) -> None:
    run = driven(drive, tmp_path, "import sys; print(json := input()); sys.exit(5)", "pass=1")
    out, _ = run.process.communicate(json.dumps({"from": "the caller"}).encode() + b"\n")
    assert json.loads(out) == {"from": "the caller"}
    assert run.process.returncode == 5
