"""The keeper: one small process between Wardian and a job. It adopts all that descends from the job, and ends it.

Why a process of its own: what a job's children leave behind is adopted by the nearest keeper, so "nothing of the job is
left" is a question to the kernel (``waitpid`` finds no child), not a guess; and if Wardian itself is killed, somebody is
still there to end the job. It is forked (or started, where the caller has threads), starts the job, and does nothing
else until the job, or Wardian, ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from wardian.tools import isolation, processes, system_calls

KILL_AGAIN_S = 0.05
GIVE_UP_S = 4.0  # after the first SIGKILL: what is still there hangs in the kernel
INTERRUPT_S = 2.0  # from ^C's SIGINT to SIGTERM, within the grace time
STRAGGLER_GRACE_S = 2.0
LONGEST_WAIT_S = 86_400.0  # poll(2) takes milliseconds as a C int: 24.8 days, which a training run may exceed


@dataclass(frozen=True, slots=True)
class Order:
    """What a keeper is to do, as plain values, and the descriptors it works with."""

    argv: tuple[str, ...]
    directory: str
    variables: dict[str, str]
    read_only: tuple[str, ...]
    read_only_if_possible: tuple[str, ...]
    timeout_s: float | None
    grace_s: float
    parent: int  # the process whose end is the job's end
    control: int  # signal numbers come in, one byte each
    status: int  # JSON lines go out
    stdin: int
    stdout: int
    stderr: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the keeper needs open."""
        return tuple(sorted({self.control, self.status, self.stdin, self.stdout, self.stderr}))

    def to_json(self) -> str:
        """Return the order as JSON; names that are no UTF-8 survive."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Return the order that ``to_json`` wrote."""
        values = json.loads(text)
        lists = ("argv", "read_only", "read_only_if_possible")
        return cls(**{**values, **{name: tuple(values[name]) for name in lists}})


def keep(order: Order) -> NoReturn:
    """Be the keeper of ``order``; the process ends with it."""
    code = 1
    try:
        _Keeper(order).keep()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # whoever waits for us sees that we are gone; the reason goes to stderr
        raise
    finally:
        os._exit(code)


class _Keeper:
    def __init__(self, order: Order) -> None:
        self.order = order
        self.main = 0  # the job's first process; 0 once it has been reaped
        self.status: int | None = None
        self.cause = "exited"
        self.stragglers = 0
        self.due: list[tuple[float, int]] = []  # (when, signal) still to be sent
        self.killing_since: float | None = None

    def keep(self) -> None:
        if os.getsid(0) != os.getpid():
            os.setsid()  # the terminal's ^C is for Wardian, which tells us
        _close_all_but(self.order.descriptors)
        for descriptor in self.order.descriptors:
            os.set_inheritable(descriptor, False)  # passed on to us, not to the job
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _noted)
        system_calls.adopt_orphans()
        self._isolate()
        self.main = self._start()
        for descriptor in {self.order.stdin, self.order.stdout, self.order.stderr}:
            os.close(descriptor)
        deadline = None if self.order.timeout_s is None else time.monotonic() + self.order.timeout_s
        self._watch(wake, deadline)

    def _isolate(self) -> None:
        required = [Path(p) for p in self.order.read_only]
        wished = [Path(p) for p in self.order.read_only_if_possible]
        if isolation.is_needed() and (required or wished):
            try:
                isolation.bind_read_only([*required, *wished], writable=[Path(self.order.directory)])
            except isolation.IsolationRefused as error:
                if required:
                    self._tell(event="refused", stage="isolation", errno=error.errno, detail=str(error))
                    os._exit(0)

    # -- the job's first process -----------------------------------------------------------------------------------

    def _start(self) -> int:
        report, reporter = os.pipe()  # closed by a successful exec
        keeper = os.getpid()
        child = os.fork()
        if child == 0:
            self._become_job(keeper, reporter)
        os.close(reporter)
        trouble = b"".join(iter(lambda: os.read(report, 65536), b""))
        os.close(report)
        if trouble:
            os.waitpid(child, 0)
            number, _, detail = trouble.decode(errors="replace").partition(":")
            self._tell(event="refused", stage="exec", errno=int(number), detail=detail)
            os._exit(0)
        self._tell(event="started", pid=child)
        return child

    def _become_job(self, keeper: int, reporter: int) -> NoReturn:
        order = self.order
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.setsid()
            system_calls.die_with_parent(signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(0)
            os.chdir(order.directory)
            _install(order.stdin, order.stdout, order.stderr)
            os.execvpe(order.argv[0], order.argv, order.variables)  # noqa: S606 - that is what a run is
        except (OSError, ValueError) as error:
            why = (error.errno, error.strerror) if isinstance(error, OSError) else (errno.EINVAL, error)
            os.write(reporter, f"{why[0]}:{why[1]}".encode())
        finally:
            os._exit(127)

    # -- until nothing is left ------------------------------------------------------------------------------------------

    def _watch(self, wake: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self.order.control, select.POLLIN)
        parent = _open_process(self.order.parent)
        if parent is not None:
            poll.register(parent, select.POLLIN)
        while True:
            if self._reap():
                self._finish(())
                return
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                deadline = None
                if self.main and self.cause == "exited":
                    self.cause = "timeout"
                    self._stop(signal.SIGTERM)
            if self._send_due(now):
                self._finish(tuple(processes.descendants(os.getpid())))
                return
            if parent is None and os.getppid() != self.order.parent:
                self._kill_from_now()
            waits = [when for when, _ in self.due] + ([deadline] if deadline is not None else [])
            if self.killing_since is not None:
                waits.append(time.monotonic() + KILL_AGAIN_S)
            if parent is None:
                waits.append(time.monotonic() + 1.0)
            wait_s = min(max(0.0, min(waits) - time.monotonic()), LONGEST_WAIT_S) if waits else None
            for descriptor, _ in poll.poll(None if wait_s is None else wait_s * 1000 + 1):
                if descriptor == parent:
                    poll.unregister(parent)
                    self._kill_from_now()
                elif descriptor == wake:
                    if set(os.read(wake, 1024)) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                        self._request(signal.SIGTERM)
                elif requests := os.read(self.order.control, 64):
                    for number in requests:
                        self._request(number)
                else:
                    poll.unregister(self.order.control)

    def _reap(self) -> bool:
        """Take leave of all children that have ended; return whether none is left."""
        was_running = bool(self.main)
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if child == 0:
                break
            if child == self.main:
                self.main, self.status = 0, status
        if was_running and not self.main:
            self._end_stragglers()
        return False

    def _end_stragglers(self) -> None:
        if self.killing_since is not None:
            return
        left = processes.descendants(os.getpid())  # some there are, even if none is seen: one whose parent ends just now
        if self.cause == "exited":
            self.stragglers = len(left)
        for pid in left:
            processes.kill(pid, signal.SIGTERM)
            processes.kill(pid, signal.SIGCONT)
        soon = time.monotonic() + STRAGGLER_GRACE_S
        self.due = [(min([when for when, number in self.due if number == signal.SIGKILL] + [soon]), signal.SIGKILL)]

    def _request(self, number: int) -> None:
        if self.main and self.cause == "exited":
            self.cause = "stopped"
        if number == signal.SIGKILL:
            self._kill_from_now()
        elif not self.due and self.killing_since is None:
            self._stop(number)

    def _stop(self, number: int) -> None:
        now = time.monotonic()
        grace_s = self.order.grace_s
        self.due = [(now, number), (now + grace_s, signal.SIGKILL)]
        if number == signal.SIGINT:
            self.due.insert(1, (now + min(INTERRUPT_S, grace_s / 2), signal.SIGTERM))

    def _kill_from_now(self) -> None:
        self.due = [(time.monotonic(), signal.SIGKILL)]

    def _send_due(self, now: float) -> bool:
        """Send the signals whose time has come; return whether it is time to give up."""
        while self.due and self.due[0][0] <= now:
            _, number = self.due.pop(0)
            if number == signal.SIGKILL:
                self.killing_since = self.killing_since or now
            elif self.main:
                _kill_group(self.main, number)
                _kill_group(self.main, signal.SIGCONT)
        if self.killing_since is None:
            return False
        for pid in processes.descendants(os.getpid()):  # again and again: it may fork faster than we look
            processes.kill(pid, signal.SIGKILL)
        return now - self.killing_since > GIVE_UP_S

    def _finish(self, survivors: tuple[int, ...]) -> None:
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        self._tell(event="ended", cause=self.cause, code=code, stragglers=self.stragglers, survivors=survivors)

    def _tell(self, **event: object) -> None:
        try:
            os.write(self.order.status, json.dumps(event).encode() + b"\n")
        except OSError:  # nobody listens any more: Wardian was killed
            self._kill_from_now()


def _noted(_number: int, _frame: object) -> None:
    """Leave it to the wake-up descriptor."""


def _install(stdin: int, stdout: int, stderr: int) -> None:
    # copied first, so that none is overwritten before its turn; 0, 1 and 2 are open, so the copies lie above
    copies = [os.dup(descriptor) for descriptor in (stdin, stdout, stderr)]
    for number, descriptor in enumerate(copies):
        os.dup2(descriptor, number, inheritable=True)


def _close_all_but(kept: tuple[int, ...]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):  # 2 stays: the only place for what should never have to be said
        if number not in kept:
            os.dup2(null, number)
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208 - closed before the loop
        if number > 2 and number not in kept:  # noqa: PLR2004
            with contextlib.suppress(OSError):  # the listing's own is closed already
                os.close(number)


def _kill_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _open_process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            os._exit(1)  # before the job was started: nothing to end
        return None  # a kernel before 5.3


def main() -> None:
    """Be the keeper of the order in the file descriptor that the first argument names."""
    with os.fdopen(int(sys.argv[1])) as stream:
        order = Order.from_json(stream.read())
    keep(order)


if __name__ == "__main__":
    main()
