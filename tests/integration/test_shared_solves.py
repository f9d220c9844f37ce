"""Several processes that want one lock: one solves, the others see what it says and share its error."""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.support.cli import Cli
from tests.support.jobs import wait_until
from tests.support.server import Fault
from tests.support.wheels import make_wheel

from wardian.tools import processes
from wardian.tools.disk import FileLock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

OLD = datetime(2024, 1, 1, tzinfo=UTC)
WAITS = "waiting for another process"


def test_who_waits_for_a_solve_shares_its_log_and_its_error(tmp_path: Path, index: Index) -> None:
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"), OLD)
    cli = Cli.at(tmp_path / "one", index_url=index.url)
    cli.write("bad.txt", "alpha==2.0\n")
    assert cli.run("env", "lock", "bad.txt").code != 0
    (first,) = cli.json("build", "list", "--kind", "lock")["builds"]
    assert first["state"] == "failed"

    logs = [cli.home / f"err-{n}" for n in range(6)]
    with contextlib.ExitStack() as stack:
        (held,) = (cli.cache / "flights").glob("s-*.lock")
        flight = FileLock(held)
        flight.acquire()
        stack.callback(flight.release)
        streams = [stack.enter_context(log.open("w")) for log in logs]
        running = [cli.start("env", "lock", "bad.txt", stderr=stream) for stream in streams]
        wait_until(lambda: all(WAITS in log.read_text() for log in logs), timeout_s=100)
        flight.release()
        for process in running:
            process.communicate(timeout=100)
    assert {process.returncode for process in running} == {1}
    assert len(cli.json("build", "list", "--kind", "lock")["builds"]) == 2  # one attempt for all six
    for log in logs:
        assert first["reason"].splitlines()[0] in log.read_text()
        assert "solving 1 requirement" in log.read_text()


def test_a_canceled_solve_ends_although_its_index_is_silent(tmp_path: Path, index: Index) -> None:
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"), OLD)
    cli = Cli.at(tmp_path / "one", index_url=index.url)
    cli.write("good.txt", "alpha\n")
    answer = threading.Event()
    silent = Fault("*/alpha/*", hold=answer, times=1)
    index.faults.append(silent)
    try:
        solving = cli.start("env", "lock", "good.txt", "--json")
        wait_until(lambda: silent.times == 0, timeout_s=60)
        children = [found for pid in processes.descendants(solving.pid) if (found := processes.identify(pid)) is not None]
        (build,) = cli.json("build", "list", "--state", "running")["builds"]
        cli.ok("build", "cancel", build["id"])
        out, err = solving.communicate(timeout=60)
    finally:
        answer.set()
    assert (solving.returncode, json.loads(err.splitlines()[-1])["error"]["code"]) == (1, "build_canceled"), (out, err)
    assert cli.json("build", "show", build["id"])["state"] == "canceled"
    assert children
    assert [child for child in children if processes.is_alive(child)] == []
    assert cli.ok("env", "lock", "good.txt").code == 0


def test_another_time_is_another_solve(tmp_path: Path, index: Index) -> None:
    """What fails as of one day is no answer for somebody who asked for another."""
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"), OLD)
    cli = Cli.at(tmp_path / "one", index_url=index.url)
    cli.write("good.txt", "alpha\n")
    assert cli.run("env", "lock", "good.txt", "--as-of", "2023-01-01").code != 0
    (held,) = (cli.cache / "flights").glob("s-*.lock")
    flight = FileLock(held)
    flight.acquire()
    try:
        assert cli.ok("env", "lock", "good.txt").code == 0
    finally:
        flight.release()
