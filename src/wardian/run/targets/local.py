"""The local target: a job as processes of this machine, under a keeper."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, RunFailed
from wardian.run.targets.keeper import Order, keep
from wardian.run.targets.target import Ended
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.run.configuration import Resources
    from wardian.run.targets.target import Job, Observer, Stop

PIECE_BYTES = 1 << 18
PIPE_BYTES = 1 << 20
TICK_S = 5.0

_NOT_EXECUTABLE = (errno.EACCES, errno.ENOEXEC, errno.EPERM, errno.EISDIR, errno.E2BIG, errno.ETXTBSY, errno.EINVAL)


class LocalTarget:
    """Runs jobs on this machine.

    A job has a session and process group of its own, and reads this process's standard input. If this process is killed, so
    is the job, with all that descends from it.
    """

    name = "local"

    def __init__(self, *, tick_s: float = TICK_S, standard_input: bool = True) -> None:
        """Make the target.

        Args:     tick_s: seconds between calls of ``Observer.tick``.
                  standard_input: False: jobs read nothing.
        """
        self._tick_s = tick_s
        self._standard_input = standard_input

    def check(self, resources: Resources) -> None:
        """Check ``resources`` against this machine: they are a demand, not a limit that is enforced.

        Raises:   InvalidInput: this machine has less.
        """
        has_cpus = len(os.sched_getaffinity(0))
        has_memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        has_gpus = sum(1 for path in Path("/dev").glob("nvidia[0-9]*"))
        faults = []
        if (resources.nodes or 1) > 1:
            faults.append(f"{resources.nodes} nodes are asked for, the local target is one")
        if (resources.cpus or 0) > has_cpus:
            faults.append(f"{resources.cpus:g} cpus are asked for, {has_cpus} are here")
        if (resources.memory_bytes or 0) > has_memory_bytes:
            faults.append(f"{resources.memory_bytes:,} bytes of memory are asked for, {has_memory_bytes:,} are here")
        if (resources.gpus or 0) > has_gpus:
            faults.append(f"{resources.gpus} gpus are asked for, {has_gpus} are here")
        if faults:
            raise InvalidInput(
                "; ".join(faults), hint="ask for less, or name another target with `-t`", code="resources_missing"
            )

    def run(self, job: Job, observer: Observer, stop: Stop) -> Ended:
        """Run ``job`` to its end and hand over its output. See ``Target.run``.

        Raises:   RunFailed: ``isolation_refused``: what must be read-only for root cannot be made so here.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            output, status = _pipe(ours, theirs), _pipe(ours, theirs)
            errors = output if job.merged else _pipe(ours, theirs)
            stdin = _standard_input(theirs) if self._standard_input else _null(theirs)
            order = Order(
                argv=job.argv, directory=str(job.directory), variables=dict(job.variables),
                read_only=tuple(map(str, job.read_only)), read_only_if_possible=tuple(map(str, job.read_only_if_possible)),
                timeout_s=job.timeout_s, grace_s=job.grace_s, parent=os.getpid(), control=stop.descriptor,
                status=status[1], stdin=stdin, stdout=output[1], stderr=errors[1],
            )  # fmt: skip
            with _keeper(order):
                theirs.close()  # so that the end of the job is the end of its output
                pump = _Pump(output[0], errors[0], status[0], observer, self._tick_s)
                try:
                    pump.run()
                except BaseException:
                    stop.request("failed", signal.SIGKILL)  # nobody takes the output any more
                    raise
        if pump.refused:
            return _not_started(pump.refused, job)
        if pump.ended is None:
            _sweep(job, pump.pid)
            return Ended("lost", detail="the process that watched over it was killed")
        code = pump.ended["code"]
        return Ended(
            pump.ended["cause"],
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            stragglers=pump.ended["stragglers"],
            survivors=tuple(pump.ended["survivors"]),
        )


class _Pump:
    """Takes output and the keeper's news until the keeper is gone, in memory that does not grow."""

    def __init__(self, stdout: int, stderr: int, status: int, observer: Observer, tick_s: float) -> None:
        self._streams = {stderr: 2, stdout: 1}  # one pipe for both: all of it is stdout
        self._status = status
        self._observer = observer
        self._tick_s = tick_s
        self._news = b""
        self.pid = 0
        self.refused: dict[str, Any] | None = None
        self.ended: dict[str, Any] | None = None

    def run(self) -> None:
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
def _keeper(order: Order) -> Iterator[None]:
    """Start the keeper, and take leave of it at the end."""
    if processes.thread_count() == 1:
        child = os.fork()
        if child == 0:
            keep(order)
        try:
            yield
        finally:
            with contextlib.suppress(ChildProcessError):  # the caller ignores SIGCHLD: nothing is left to take leave of
                os.waitpid(child, 0)
        return
    # a copy of one thread of many may wait for ever for a lock that another one held: start a fresh interpreter
    import subprocess

    root = Path(__file__).resolve().parents[3]
    starter = f"import sys; sys.path.insert(0, {str(root)!r}); from wardian.run.targets.keeper import main; main()"
    sheet = os.memfd_create("wardian-order")
    try:
        with os.fdopen(os.dup(sheet), "w") as stream:
            stream.write(order.to_json())
        os.lseek(sheet, 0, os.SEEK_SET)
        command = [sys.executable, "-I", "-S", "-c", starter, str(sheet)]
        process = subprocess.Popen(command, pass_fds=(sheet, *order.descriptors), start_new_session=True)
    finally:
        os.close(sheet)
    with process:
        yield


def _pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    ours.callback(os.close, read_end)
    theirs.callback(os.close, write_end)
    with contextlib.suppress(OSError):  # the user's share of pipe memory is used up
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read_end, write_end


def _standard_input(theirs: contextlib.ExitStack) -> int:
    try:
        os.fstat(0)
    except OSError:
        return _null(theirs)
    return 0


def _null(theirs: contextlib.ExitStack) -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    theirs.callback(os.close, descriptor)
    return descriptor


def _not_started(news: dict[str, Any], job: Job) -> Ended:
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


def _sweep(job: Job, main: int) -> None:
    """End what a killed keeper has left: its job died with it, the job's children may not have."""
    value = job.variables.get(job.marker)
    for pid in processes.with_variable(job.marker, value) if value else []:
        if pid != os.getpid():
            processes.kill(pid, signal.SIGKILL)
    if main and os.getpgid(0) != main:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(main, signal.SIGKILL)
