from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wardian.tools import processes
from wardian.tools.processes import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    code = "import os\nif os.fork() == 0: os.setsid()\nos.write(1, b'%d\\n' % os.getpid()); open(0).read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    process.communicate()


def identity(pid: int) -> ProcessIdentity:
    found = processes.identify(pid)
    assert found is not None
    return found


def test_this_process_is_alive_and_identified_alike_every_time() -> None:
    me = identity(os.getpid())
    assert me == processes.identify()
    assert processes.is_alive(me) is True
    assert ProcessIdentity.from_document(me.as_document()) == me
    assert f"{os.getpid()}" in str(me)


def test_a_number_that_was_used_again_is_another_process() -> None:
    me = identity(os.getpid())
    assert processes.is_alive(replace(me, start_ticks=me.start_ticks + 1)) is False
    assert processes.is_alive(replace(me, boot_id="before")) is False
    assert processes.is_alive(replace(me, host="elsewhere")) is None
    assert processes.is_alive(replace(me, pid_namespace="pid:[1]")) is None
    assert processes.send(replace(me, start_ticks=1), signal.SIGKILL) is False


def test_a_zombie_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "open(0).read()"], stdin=subprocess.PIPE)
    known = identity(process.pid)
    assert processes.is_alive(known)
    threading.Timer(0.05, process.stdin.close).start()  # type: ignore[union-attr]
    assert processes.wait_until_gone(known, 10.0)
    assert processes.is_alive(known) is False
    assert processes.identify(process.pid) is None
    assert processes.send(known, 0) is False
    process.wait()
    assert processes.is_alive(known) is False


def test_waiting_ends_in_time(child: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    assert processes.wait_until_gone(identity(child.pid), 0.1) is False
    assert processes.wait_until_gone(replace(identity(child.pid), host="elsewhere"), 0.1) is False
    assert 0.2 <= time.monotonic() - began < 5


def test_a_signal_reaches_the_very_process(child: subprocess.Popen[bytes]) -> None:
    assert processes.send(identity(child.pid), signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM


def test_descendants_are_found_across_sessions(child: subprocess.Popen[bytes]) -> None:
    assert child.stdout is not None
    pids = {int(child.stdout.readline()), int(child.stdout.readline())}
    assert child.pid in pids
    assert set(processes.descendants(child.pid)) == pids - {child.pid}
    assert pids <= set(processes.descendants(os.getpid()))
    assert processes.descendants(2**22 + 1) == []


def test_processes_are_found_by_what_they_were_started_with() -> None:
    process = subprocess.Popen([sys.executable, "-c", "print(1, flush=True); open(0).read()"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env={"WARDIAN_MARK": "ä 1"})  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    assert processes.with_variable("WARDIAN_MARK", "ä 1") == [process.pid]
    assert processes.with_variable("WARDIAN_MARK", "ä") == []
    process.communicate()


def test_threads_are_counted() -> None:
    before = processes.thread_count()
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    assert processes.thread_count() == before + 1
    over.set()
    thread.join()


def test_killing_what_has_ended_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    processes.kill(process.pid, signal.SIGKILL)
