"""A small process between Wardian and a builder: when Wardian ends or says so, it ends the builder with all that descends from it.

Builders clean up when they are asked to end, if nothing disturbs them in it; what is left of their processes is adopted here, and
what is left in their storage is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from wardian.image.builder_remains import remove_working_containers
from wardian.tools import processes, system_calls

if TYPE_CHECKING:
    from types import FrameType

GRACE_S = 10.0
KILL_AGAIN_S = 0.02
GIVE_UP_S = 4.0  # what is still there then hangs in the kernel


class _Asked(Exception):
    """Somebody wants the end."""


def watch(parent: int, argv: list[str]) -> int:
    """Execute ``argv`` and return its exit code; SIGTERM, or the end of ``parent``, ends it and everything below it."""
    signal.signal(signal.SIGTERM, _ask)
    system_calls.die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        return 1
    system_calls.adopt_orphans()
    builder = None
    try:
        builder = subprocess.Popen(argv)
        return builder.wait()
    except _Asked:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if builder is not None:
            builder.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                builder.wait(timeout=GRACE_S)
        _kill_all()
        return 128 + signal.SIGTERM


def _ask(_number: int, _frame: FrameType | None) -> None:
    raise _Asked


def _kill_all() -> None:
    """Kill what is left, again and again: it may fork faster than we look.

    That nothing is left is the kernel's word, never a look at ``/proc``'s: a process whose parent ends while we look is seen nowhere.
    """
    deadline = time.monotonic() + GIVE_UP_S
    while not _are_all_gone() and time.monotonic() < deadline:
        for pid in processes.descendants(os.getpid()):
            processes.kill(pid, signal.SIGKILL)
        time.sleep(KILL_AGAIN_S)


def _are_all_gone() -> bool:
    """Take leave of children that have ended; without any left there are no descendants either, for orphans are adopted here."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return False
    return True


def main() -> None:
    """Watch over a command. Arguments: for which process; a directory with secrets, removed at the end; a program, or nothing, whose
    working containers with the directory's name in their options are removed if the command fails; the command.
    """
    parent, secrets, cleaner, *argv = sys.argv[1:]
    try:
        code = watch(int(parent), argv)
        if code != 0 and cleaner:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end has come already
            remove_working_containers(cleaner, os.path.basename(secrets))  # noqa: PTH119
    finally:
        shutil.rmtree(secrets, ignore_errors=True)
    sys.exit(code)
