"""Jobs and runs for tests: what a target tells is kept, and processes are looked for by the kernel's word."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from wardian.run.configuration import Command, Prepared, RunConfiguration, RunEnvironment
from wardian.run.targets.target import Job
from wardian.tools import processes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from wardian.events import Listener
    from wardian.run.record import RunRecord

# descendants of every kind that outlives its parent; each one's pid is a line of the file `pids`
STUBBORN = """
import os, signal, sys, time
def note():
    with open("pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
def sit():
    note()
    while True: time.sleep(60)
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear(); sit()
        os._exit(0)
    os.wait()
if os.fork() == 0: sit()
if os.fork() == 0: os.setsid(); sit()
daemon()
note()
while len(open("pids").readlines()) < 4: time.sleep(0.01)
print("ready", flush=True)
"""


class Recorder:
    """An observer that keeps what it is told, and calls ``at`` when ``word`` was written."""

    def __init__(self, word: bytes = b"", at: Callable[[], object] | None = None) -> None:
        self.streams: dict[int, bytes] = {1: b"", 2: b""}
        self.pid = 0
        self.ticks = 0
        self._word = word
        self._at = at

    def started(self, pid: int) -> None:
        self.pid = pid

    def output(self, stream: int, chunk: bytes) -> None:
        self.streams[stream] += chunk
        if self._at is not None and self._word in self.streams[stream]:
            at, self._at = self._at, None
            at()

    def tick(self) -> None:
        self.ticks += 1


def python_job(code: str, directory: Path, **changes: object) -> Job:
    """Return a job that runs ``code``."""
    values: dict[str, object] = {"argv": (sys.executable, "-c", code), "directory": directory,
                                 "variables": {"PATH": "/usr/bin:/bin", "WARDIAN_RUN_ID": directory.name}} | changes  # fmt: skip
    return Job(**values)  # type: ignore[arg-type]


def noted_pids(directory: Path) -> list[int]:
    """Return the pids that a job wrote down."""
    return [int(line) for line in (directory / "pids").read_text().split()]


def still_there(pids: Iterable[int]) -> list[int]:
    """Return those of ``pids`` that run (zombies have ended)."""
    return [pid for pid in pids if processes.identify(pid) is not None]


def wait_until(
    condition: Callable[[], object],
    timeout_s: float = 60.0,
    *,
    process: subprocess.Popen[Any] | None = None,
    pause_s: float = 0.01,
) -> object:
    """Wait for something in another process that cannot be waited for in any other way; return what ``condition`` returned.

    What vanishes while ``condition`` looks at it (a temporary directory of the other process) has not happened yet.

    Args:     process: that must not end before.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := _look(condition)):
        assert process is None or process.poll() is None, f"it ended before, with {process.returncode}"
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(pause_s)
    return found


def _look(condition: Callable[[], object]) -> object:
    try:
        return condition()
    except FileNotFoundError:
        return None


def a_configuration(source: Path | None, script: str = "train.py", *arguments: str, **changes: object) -> RunConfiguration:
    """Return the configuration of a run of ``script`` in ``source``."""
    return RunConfiguration(Command("script", script, arguments), source=source, **changes)  # type: ignore[arg-type]


def prepare_this_python(_record: RunRecord, _listener: Listener) -> Prepared:
    """Return this test's own interpreter as an environment."""
    return Prepared(
        prefix=None, python=sys.executable, environment=RunEnvironment(name="tests", version="1", summary="tests:1")
    )
