"""The keeper of a container: a small process between Wardian and the engine. It ends and removes the container if Wardian cannot.

It runs the engine's command line, passes requests to stop on to the launcher inside (``container_launcher``), passes on what that
tells, and is the one who is still there when Wardian is killed. If it is killed itself, the launcher sees it and ends the job.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

SLACK_S = 8.0  # for the launcher to give up and for the engine to clean up, beyond the grace time
_LAST_WORDS_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ContainerOrder:
    """What the keeper of a container is to do, as plain values.

    Attributes:
        start, remove, environ: the engine's commands.
        place: the directory of the launcher on this machine; removed at the end.
        parent: the process whose end is the job's end.
        control: requests come in.  status: news go out.  stdin: the engine's.  held: kept open until the end.
    """

    start: tuple[str, ...]
    remove: tuple[str, ...]
    environ: dict[str, str]
    place: str
    grace_s: float
    parent: int
    control: int
    status: int
    stdin: int
    held: tuple[int, ...]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the keeper needs open."""
        return tuple(sorted({self.control, self.status, self.stdin, *self.held}))

    def to_json(self) -> str:
        """Return the order as JSON; names that are no UTF-8 survive."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ContainerOrder:
        """Return the order that ``to_json`` wrote."""
        values = json.loads(text)
        return cls(**{**values, **{name: tuple(values[name]) for name in ("start", "remove", "held")}})


class _Keeper:
    def __init__(self, order: ContainerOrder) -> None:
        self.order = order
        self.end: dict[str, Any] | None = None  # as the launcher tells it
        self.pid = 0
        self.give_up_at: float | None = None
        self._half = b""

    def keep(self) -> None:
        if os.getsid(0) != os.getpid():
            os.setsid()  # the terminal's ^C is for Wardian, which tells us
        for descriptor in self.order.descriptors:
            os.set_inheritable(descriptor, False)
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _noted)
        control = os.open(f"{self.order.place}/control", os.O_RDWR)  # the one end that is written: with us it goes
        news = os.open(f"{self.order.place}/status", os.O_RDWR | os.O_NONBLOCK)
        with open(f"{self.order.place}/engine.log", "w+b") as said:  # noqa: PTH123
            engine = subprocess.Popen(
                self.order.start, stdin=self.order.stdin, stdout=said, stderr=said, env=self.order.environ, cwd="/"
            )
            self.pid = engine.pid
            try:
                self._watch(engine, wake, control, news)
            finally:
                code = engine.poll()
                if code is None or code < 0 or self.end is None:
                    self._remove()
                if code is None:
                    engine.kill()
                    code = engine.wait()
            size = said.seek(0, os.SEEK_END)
            said.seek(max(0, size - _LAST_WORDS_BYTES))
            words = said.read().decode(errors="replace")
        shutil.rmtree(self.order.place, ignore_errors=True)
        self._tell(**(self.end or {"event": "engine", "code": code, "said": words}))

    def _watch(self, engine: subprocess.Popen[bytes], wake: int, control: int, news: int) -> None:
        poll = select.poll()
        for descriptor in (wake, news, self.order.control):
            poll.register(descriptor, select.POLLIN)
        parent = _open_process(self.order.parent)
        if parent is not None:
            poll.register(parent, select.POLLIN)
        while engine.poll() is None:
            now = time.monotonic()
            if self.give_up_at is not None and now >= self.give_up_at:
                return
            wait_s = 1.0 if parent is None else None
            if self.give_up_at is not None:
                wait_s = min(wait_s or self.give_up_at, self.give_up_at - now)
            for descriptor, _ in poll.poll(None if wait_s is None else wait_s * 1000 + 1):
                if descriptor == parent:
                    poll.unregister(parent)
                    self._request(control, bytes([signal.SIGKILL]))
                elif descriptor == wake:
                    if set(os.read(wake, 1024)) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                        self._request(control, bytes([signal.SIGTERM]))
                elif descriptor == news:
                    self._pass_on(news)
                elif requests := os.read(self.order.control, 64):
                    self._request(control, requests)
                else:
                    poll.unregister(self.order.control)
            if parent is None and os.getppid() != self.order.parent:
                self._request(control, bytes([signal.SIGKILL]))
        self._pass_on(news)

    def _request(self, control: int, numbers: bytes) -> None:
        os.write(control, numbers)
        grace_s = 0.0 if signal.SIGKILL in numbers else self.order.grace_s
        until = time.monotonic() + grace_s + SLACK_S
        self.give_up_at = until if self.give_up_at is None else min(self.give_up_at, until)

    def _pass_on(self, news: int) -> None:
        """Pass on what the launcher tells, as far as it is news: the job can write there too."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(news, 65536):
                *lines, self._half = (self._half + piece).split(b"\n")
                for line in lines:
                    event = _news(line)
                    if event is None or self.end is not None:
                        continue
                    if event["event"] == "started":
                        self._tell(**event, pid=self.pid)
                    else:
                        self.end = event

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            subprocess.run(
                self.order.remove, stdin=subprocess.DEVNULL, capture_output=True, env=self.order.environ, cwd="/", check=False
            )

    def _tell(self, **event: object) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: Wardian was killed, which is seen elsewhere
            os.write(self.order.status, json.dumps(event).encode() + b"\n")


def _news(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
        kind = event["event"]
        if kind == "started":
            return {"event": kind}
        if kind == "refused":
            return {"event": kind, "stage": "exec", "errno": int(event["errno"]), "detail": str(event["detail"])}
        code = event["code"]
        return {"event": "ended", "cause": str(event["cause"]), "code": None if code is None else int(code),
                "stragglers": int(event["stragglers"]), "survivors": []}  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None


def _noted(_number: int, _frame: object) -> None:
    """Leave it to the wake-up descriptor."""


def _open_process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        os._exit(1)  # before anything was started
    except OSError:
        return None  # a kernel before 5.3


def main() -> None:
    """Be the keeper of the order in the file descriptor that the first argument names."""
    with os.fdopen(int(sys.argv[1])) as stream:
        order = ContainerOrder.from_json(stream.read())
    _Keeper(order).keep()
