"""What runs first in a container: it starts the job, tells how it ends, and ends all of it. A program of its own.

A copy of Wardian's own Python executes it (``launcher_python``), with few modules: it imports nothing of Wardian's, and nothing that is
not copied. It is the container's first process: whatever the job leaves behind is adopted by it. All that it is told and tells
passes through the directory that it lies in: ``order.json``, removed as soon as it is read, and four named pipes: ``out`` and ``err``
for the job, ``control`` (numbers of signals, one byte each; its end means that nobody is left who waits) and ``status`` (JSON lines).
"""

# ruff: noqa: PTH100, PTH108, PTH112, PTH118, PTH120, PTH123, PTH208
# os.path, for its speed: pathlib takes 10 ms to import

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import sys
import time

TYPE_CHECKING = False  # typing takes 5 ms to import
if TYPE_CHECKING:
    from typing import Any

PLACE = os.path.dirname(os.path.abspath(__file__))
LONGEST_WAIT_S = 86400.0  # poll(2) takes milliseconds as a C int: 24.8 days, which a training run may exceed
KILL_AGAIN_S = 0.05
GIVE_UP_S = 4.0
INTERRUPT_S = 2.0
STRAGGLER_GRACE_S = 2.0
NOBODY_WAITS = 125
IS_FIRST = os.getpid() == 1  # else processes of the machine may be in sight, which are none of ours


class Launcher:
    """Starts the job of ``order`` and stays with it."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.main = 0
        self.status: int | None = None
        self.cause = "exited"
        self.stragglers = 0
        self.due: list[tuple[float, int]] = []  # when, and which signal
        self.killing_since: float | None = None
        self.control = open_control()
        self.news = open_pipe("status")

    def run(self) -> None:
        """Be with the job until nothing of it is left, and tell how it ended."""
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self.start()
        self.watch(wake)
        for name in ("tmp", "home"):  # in here its files are ours to remove, whoever they belong to
            shutil.rmtree(os.path.join(PLACE, name), ignore_errors=True)
        code = None if self.status is None else exit_code(self.status)
        self.tell(event="ended", cause=self.cause, code=code, stragglers=self.stragglers, survivors=[])

    def start(self) -> None:
        """Start the job; if its program cannot be executed, tell why, and end."""
        report, reporter = os.pipe()
        child = os.fork()
        if child == 0:
            self.become_job(reporter)
        os.close(reporter)
        trouble = b"".join(iter(lambda: os.read(report, 65536), b""))
        os.close(report)
        if trouble:
            os.waitpid(child, 0)
            number, _, detail = trouble.decode(errors="replace").partition(":")
            self.tell(event="refused", stage="exec", errno=int(number), detail=detail)
            os._exit(0)
        self.main = child
        self.tell(event="started", pid=0)

    def become_job(self, reporter: int) -> None:
        """In the child: become the job."""
        order = self.order
        try:
            for name in ("INT", "TERM", "HUP", "CHLD", "PIPE", "XFSZ", "QUIT"):
                signal.signal(getattr(signal, "SIG" + name), signal.SIG_DFL)
            os.setsid()
            os.chdir(order["directory"])
            out = open_pipe("out")
            err = out if order["merged"] else open_pipe("err")
            os.dup2(out, 1)
            os.dup2(err, 2)
            if not order["takes_input"]:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            variables = order["variables"]
            home = variables.get("HOME")
            if home is not None and not (os.path.isdir(home) and os.access(home, os.W_OK)):  # the caller's, elsewhere
                variables["HOME"] = os.path.join(PLACE, "home")
            os.execvpe(order["argv"][0], order["argv"], variables)  # noqa: S606
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else errno.EINVAL
            os.write(reporter, f"{number}:{os.strerror(number or errno.EINVAL)}".encode())
        finally:
            os._exit(127)

    def watch(self, wake: int) -> None:
        """Wait for children, requests and the deadline, until no child is left."""
        deadline = None if self.order["timeout_s"] is None else time.monotonic() + self.order["timeout_s"]
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        while not self.reap():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                deadline = None
                if self.main and self.cause == "exited":
                    self.cause = "timeout"
                    self.stop(signal.SIGTERM)
            if self.send_due(now):
                return
            waits = [when for when, _ in self.due] + ([] if deadline is None else [deadline])
            if self.killing_since is not None:
                waits.append(time.monotonic() + KILL_AGAIN_S)
            wait_s = min(max(0.0, min(waits) - time.monotonic()), LONGEST_WAIT_S) if waits else None
            for descriptor, _ in poll.poll(None if wait_s is None else wait_s * 1000 + 1):
                if descriptor == wake:
                    if set(os.read(wake, 1024)) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                        self.request(signal.SIGTERM)  # somebody stops the container by the engine
                    continue
                requests = os.read(self.control, 64)
                for number in requests:
                    self.request(number)
                if not requests:
                    poll.unregister(self.control)
                    self.kill_from_now()

    def reap(self) -> bool:
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
            self.end_stragglers()
        return False

    def end_stragglers(self) -> None:
        """The job is over: what it left running ends too."""
        left = others()
        if not left or self.killing_since is not None:
            return
        if self.cause == "exited":
            self.stragglers = len(left)
        send_to_all(signal.SIGTERM)
        send_to_all(signal.SIGCONT)
        soon = time.monotonic() + STRAGGLER_GRACE_S
        self.due = [(min([when for when, number in self.due if number == signal.SIGKILL] + [soon]), signal.SIGKILL)]

    def request(self, number: int) -> None:
        """Take a request to end with the signal ``number``."""
        if self.main and self.cause == "exited":
            self.cause = "stopped"
        if number == signal.SIGKILL:
            self.kill_from_now()
        elif not self.due and self.killing_since is None:
            self.stop(number)

    def stop(self, number: int) -> None:
        """Send ``number``, and more when the grace time is over."""
        now, grace_s = time.monotonic(), self.order["grace_s"]
        self.due = [(now, number), (now + grace_s, signal.SIGKILL)]
        if number == signal.SIGINT:
            self.due.insert(1, (now + min(INTERRUPT_S, grace_s / 2), signal.SIGTERM))

    def kill_from_now(self) -> None:
        """From now on, kill."""
        self.due = [(time.monotonic(), signal.SIGKILL)]

    def send_due(self, now: float) -> bool:
        """Send the signals whose time has come; return whether it is time to give up."""
        while self.due and self.due[0][0] <= now:
            _, number = self.due.pop(0)
            if number == signal.SIGKILL:
                self.killing_since = self.killing_since or now
            elif self.main:
                for each in (number, signal.SIGCONT):
                    with contextlib.suppress(OSError):
                        os.killpg(self.main, each)
        if self.killing_since is None:
            return False
        send_to_all(signal.SIGKILL)
        if self.main:
            with contextlib.suppress(OSError):
                os.killpg(self.main, signal.SIGKILL)
        return now - self.killing_since > GIVE_UP_S  # the kernel ends the rest when we end

    def tell(self, **event: object) -> None:
        """Write a line for the keeper; no matter if it is gone."""
        with contextlib.suppress(OSError):
            os.write(self.news, json.dumps(event).encode() + b"\n")


def open_control() -> int:
    """Open the pipe of requests; end if nobody holds its other side."""
    path = os.path.join(PLACE, "control")
    try:
        test = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # refused if nobody reads: whoever started us is gone
    except OSError:
        sys.exit(NOBODY_WAITS)
    control = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.close(test)
    return control


def open_pipe(name: str) -> int:
    """Open a pipe that somebody reads; it is an error if nobody does, where opening would else wait for ever."""
    pipe = os.open(os.path.join(PLACE, name), os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(pipe, True)
    return pipe


def others() -> list[int]:
    """Return the container's other processes; zombies are left out."""
    found = []
    for name in os.listdir("/proc") if IS_FIRST else ():
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("/proc/" + name + "/stat", "rb") as stream:
                    state = stream.read().rpartition(b")")[2].split()[0]
            except OSError:
                continue
            if state not in (b"Z", b"X"):
                found.append(int(name))
    return found


def send_to_all(number: int) -> None:
    """Send a signal to the container's other processes."""
    for pid in others():
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def exit_code(status: int) -> int:
    """Return a code as ``subprocess`` has it: negative for a signal."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    sheet = os.path.join(PLACE, "order.json")
    with open(sheet) as stream:
        work = json.load(stream)
    os.unlink(sheet)  # it may hold secrets
    Launcher(work).run()
