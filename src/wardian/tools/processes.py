"""Processes of this machine: which one exactly, whether it still lives, what descends from it, how to reach it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, never confused with a later one of the same number.

    Attributes:
        pid, start_ticks: the kernel's number, and when the process started (clock ticks since boot).
        boot_id, host, pid_namespace: where that number means something.
    """

    pid: int
    start_ticks: int
    boot_id: str
    host: str
    pid_namespace: str

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> ProcessIdentity:
        """Return the identity that ``as_document`` wrote."""
        return cls(**document)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def identify(pid: int | None = None) -> ProcessIdentity | None:
    """Return the identity of the process ``pid`` (None: this one); None: it has ended."""
    number = os.getpid() if pid is None else pid
    ticks = _start_ticks(number)
    if ticks is None:
        return None
    return ProcessIdentity(number, ticks, _boot_id(), os.uname().nodename, _pid_namespace(os.getpid()))


def is_alive(process: ProcessIdentity) -> bool | None:
    """Return whether ``process`` still runs; None: it cannot be told from here (another machine or container).

    A zombie has ended. After a reboot nothing from before is alive.
    """
    if process.host != os.uname().nodename:
        return None
    if process.boot_id != _boot_id():
        return False
    if process.pid_namespace != _pid_namespace(os.getpid()):
        return None
    ticks = _start_ticks(process.pid)
    if ticks is None and _is_hidden(process.pid):
        return None
    return ticks == process.start_ticks


def send(process: ProcessIdentity, number: int) -> bool:
    """Send the signal ``number`` to exactly ``process``; return False if it has ended or is out of reach."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:  # gone; or a kernel before 5.3, where the number may in theory be another's a moment later
        if not is_alive(process):
            return False
        try:
            os.kill(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(handle)
    return True


def wait_until_gone(process: ProcessIdentity, timeout_s: float) -> bool:
    """Wait until ``process`` is known to have ended, at most ``timeout_s`` seconds; return whether it is."""
    deadline = time.monotonic() + timeout_s
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        handle = -1
    try:
        while (alive := is_alive(process)) is not False:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if handle < 0 or alive is None:
                time.sleep(min(left, 0.05))
            else:
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                poll.poll(min(left, 60.0) * 1000)
        return True
    finally:
        if handle >= 0:
            os.close(handle)


def descendants(pid: int) -> list[int]:
    """Return the processes that descend from ``pid``, parents before children; zombies are left out.

    One whose parent ends during the look may be missed: ask again, and ask ``waitpid`` whether there are any.
    """
    children: dict[int, list[int]] = {}
    for entry in _numbers():
        if (found := _stat(entry)) is not None and found[0] not in ("Z", "X"):
            children.setdefault(int(found[1]), []).append(entry)
    line, reached = [pid], []
    while line:
        young = children.get(line.pop(0), [])
        reached += young
        line += young
    return reached


def with_variable(name: str, value: str) -> list[int]:
    """Return the processes that were started with the variable ``name`` set to ``value``, as far as they can be looked at."""
    wanted = os.fsencode(f"{name}={value}")
    found = []
    for pid in _numbers():
        try:
            variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables:
            found.append(pid)
    return found


def thread_count() -> int:
    """Return how many threads this process has, those of native libraries included."""
    found = _stat(os.getpid())
    return int(found[17]) if found else 1


def kill(pid: int, number: int) -> None:
    """Send a signal to ``pid``; no matter if it has ended or belongs to somebody else."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdecimal()]  # noqa: PTH208 - called in a hurry


def _start_ticks(pid: int) -> int | None:
    found = _stat(pid)
    return None if found is None or found[0] in ("Z", "X") else int(found[19])


def _is_hidden(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return not (_PROC / str(pid)).exists()  # somebody else's process, and /proc is mounted with hidepid
    return False


def _stat(pid: int) -> list[str] | None:
    """Return the fields of ``/proc/<pid>/stat`` from the third (state) on; see proc(5)."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 2 :].decode().split()  # the name before may hold anything, brackets too


@cache
def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace(pid: int) -> str:
    return str((_PROC / str(pid) / "ns/pid").readlink())
