"""What targets with a keeper have in common: it is started, its news and the job's output are taken, until it is gone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wardian.errors import RunFailed
from wardian.run.targets.target import Ended
from wardian.tools.own_python import own_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.run.targets.target import Job, Observer

PIECE_BYTES = 1 << 18
PIPE_BYTES = 1 << 20
TICK_S = 5.0

_NOT_EXECUTABLE = (errno.EACCES, errno.ENOEXEC, errno.EPERM, errno.EISDIR, errno.E2BIG, errno.ETXTBSY, errno.EINVAL)


class KeeperOrder(Protocol):
    """What a keeper is told: its descriptors, which it inherits, and all of it as JSON."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that it needs open."""
        ...

    def to_json(self) -> str:
        """Return the order as JSON."""
        ...


class Pump:
    """Takes output and the keeper's news until the keeper is gone, in memory that does not grow.

    Attributes:
        pid: of what was started; 0: nothing yet.
        refused, ended: the keeper's news, if it had such; neither: it is gone without a word.
    """

    def __init__(self, stdout: int, stderr: int, status: int, observer: Observer, tick_s: float) -> None:
        """Make it, over three descriptors to read from; ``tick_s``: seconds between calls of ``Observer.tick``."""
        self._streams = {stderr: 2, stdout: 1}  # one pipe for both: all of it is stdout
        self._status = status
        self._observer = observer
        self._tick_s = tick_s
        self._news = b""
        self.pid = 0
        self.refused: dict[str, Any] | None = None
        self.ended: dict[str, Any] | None = None

    def run(self) -> None:
        """Hand over what comes to the observer, and return when the keeper is gone."""
        poll = select.poll()
        for descriptor in (*self._streams, self._status):
            os.set_blocking(descriptor, False)
            poll.register(descriptor, select.POLLIN)
        watching = True
        next_tick = time.monotonic() + self._tick_s
        while watching:
            for descriptor, _ in poll.poll(max(0.0, next_tick - time.monotonic()) * 1000 + 1):
                if descriptor == self._status:
                    watching = self._take_news()
                elif not self._take_output(descriptor):
                    poll.unregister(descriptor)
            if time.monotonic() >= next_tick:
                self._observer.tick()
                next_tick = time.monotonic() + self._tick_s
        for descriptor in self._streams:  # the job is gone, what it wrote is in the pipes
            while self._take_output(descriptor):
                pass

    def _take_output(self, descriptor: int) -> bool:
        try:
            chunk = os.read(descriptor, PIECE_BYTES)
        except BlockingIOError:  # held open by somebody outside the job
            return False
        if chunk:
            self._observer.output(self._streams[descriptor], chunk)
        return bool(chunk)

    def _take_news(self) -> bool:
        piece = os.read(self._status, 65536)
        *lines, self._news = (self._news + piece).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["event"] == "started":
                self.pid = event["pid"]
                self._observer.started(self.pid)
            elif event["event"] == "refused":
                self.refused = event
            else:
                self.ended = event
        return bool(piece)


@contextlib.contextmanager
def keeper_process(module: str, order: KeeperOrder) -> Iterator[None]:
    """Start the keeper that is the program ``module``, in an interpreter of its own, and take leave of it at the end.

    It inherits this process's standard input and errors, and has the order in the file whose descriptor is its argument.
    """
    import subprocess

    root = Path(__file__).resolve().parents[3]
    starter = f"import sys; sys.path.insert(0, {str(root)!r}); from {module} import main; main()"
    sheet = os.memfd_create("wardian-order")
    try:
        with os.fdopen(os.dup(sheet), "w") as stream:
            stream.write(order.to_json())
        os.lseek(sheet, 0, os.SEEK_SET)
        command = [*own_python(), "-I", "-S", "-c", starter, str(sheet)]
        process = subprocess.Popen(command, pass_fds=(sheet, *order.descriptors), start_new_session=True)
    finally:
        os.close(sheet)
    with process:
        yield


def pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    """Return a pipe with much room, as (end to read from, end to write to); each stack closes its side's end."""
    read_end, write_end = os.pipe()
    ours.callback(os.close, read_end)
    theirs.callback(os.close, write_end)
    with contextlib.suppress(OSError):  # the user's share of pipe memory is used up
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read_end, write_end


def standard_input(theirs: contextlib.ExitStack) -> int:
    """Return the descriptor of this process's standard input; if it has none, of nothing, which ``theirs`` closes."""
    try:
        os.fstat(0)
    except OSError:
        return null(theirs)
    return 0


def null(theirs: contextlib.ExitStack) -> int:
    """Return a descriptor that reads nothing, which ``theirs`` closes."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    theirs.callback(os.close, descriptor)
    return descriptor


def not_started(news: dict[str, Any], job: Job) -> Ended:
    """Return how a job ended that a keeper could not start, by what it tells.

    Raises:   RunFailed: ``isolation_refused``.
    """
    if news["stage"] == "isolation":
        raise RunFailed(
            f"this process is root, and its environment cannot be made read-only for it: {news['detail']}",
            hint="allow private mounts (CAP_SYS_ADMIN), or run as an ordinary user; a prefix installed here is copied, not linked",
            code="isolation_refused",
        )
    program = job.argv[0]
    if news["errno"] in _NOT_EXECUTABLE:
        return Ended("not_executable", detail=f"`{program}` cannot be executed: {news['detail']}")
    return Ended("not_found", detail=f"`{program}` was not found: {news['detail']}")


def ended(news: dict[str, Any]) -> Ended:
    """Return how a job ended, by what its keeper tells; its codes are as ``subprocess`` has them."""
    code = news["code"]
    return Ended(
        news["cause"],
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        stragglers=news["stragglers"],
        survivors=tuple(news["survivors"]),
    )
