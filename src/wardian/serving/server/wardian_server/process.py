"""One model process, seen from the front: how it is started, spoken to and ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Callable

from . import frames
from .answers import error_body

if TYPE_CHECKING:
    from .logs import Log
    from .pool import Pool


_SLOW_MS = 1000.0  # until it has shown otherwise


class Job:
    """One request for a worker. ``done(frame)`` is called once, with the reply."""

    __slots__ = ("body", "done", "gone", "kind", "meta", "started")

    def __init__(self, kind: int, meta: bytes, body: bytes, done: Callable[[frames.Frame], None]):
        self.kind = kind
        self.meta = meta
        self.body = body
        self.done = done
        self.gone = False  # the client has gone: not worth starting
        self.started = 0.0  # 0: it waits, here or in its worker's hands


def failed_frame(status: int, message: str, flags: int = 0) -> frames.Frame:
    """A reply that stands for one that no worker gave."""
    return frames.Frame(frames.REPLY, 0, status, flags, 0.0, b"", error_body(message))


class Worker(asyncio.Protocol):
    """One model process, seen from the front."""

    def __init__(self, pool: Pool, process: subprocess.Popen[bytes]):
        self.pool = pool
        self.process = process
        self.pid = process.pid
        self.jobs: dict[int, Job] = {}
        self.ready = False
        self.was_ready = False
        self.retiring = False  # another is to take its place
        self.leaving = False  # another has taken its place
        self.ended = False
        self.reason = ""  # why it was ended, if the front did it
        self.begun_at = time.monotonic()
        self.stopped_at = 0.0
        self.mean_ms = _SLOW_MS  # of its last calls of run(), the latest counting most
        self.about: dict[str, Any] = {}
        self.error: str | None = None
        self._splitter = frames.Splitter()
        self._transport: asyncio.Transport | None = None
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket pair is connected: tell the worker its configuration."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(frames.pack(frames.CONFIG, meta=self.pool.config.as_json().encode()))

    def send(self, job: Job) -> None:
        """Hand it one request."""
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        self.jobs[number] = job
        job.started = time.monotonic() if len(self.jobs) <= self.pool.config.threads else 0.0
        assert self._transport is not None
        if len(job.body) < 65536:  # noqa: PLR2004 - small: one write is cheaper than a copy is dear
            self._transport.write(frames.pack(job.kind, number, job.meta, job.body))
        else:
            head = frames.HEAD.pack(len(job.meta), len(job.body), number, 0, job.kind, 0, 0.0)
            self._transport.write(head + job.meta)
            self._transport.write(job.body)

    def data_received(self, data: bytes) -> None:
        """Replies have come."""
        for frame in self._splitter.feed(data):
            if frame.kind == frames.REPLY:
                job = self.jobs.pop(frame.number, None)
                if self.jobs:
                    self._next_has_begun()
                if frame.flags & frames.TIMED:
                    self.mean_ms += (frame.elapsed_ms - self.mean_ms) / 8
                if frame.flags & frames.RETIRE and not self.retiring:
                    self.pool.retire(self)
                self.pool.free(self)
                if job is not None:
                    self.pool.finish(job, frame)
            elif frame.kind == frames.READY:
                self.about = json.loads(frame.meta)
                self.ready = self.was_ready = True
                self.pool.became_ready(self)
            elif frame.kind == frames.FAILED:
                self.error = str(json.loads(frame.meta)["error"])

    def _next_has_begun(self) -> None:
        for job in self.jobs.values():
            if not job.started:
                job.started = time.monotonic()
                return

    def connection_lost(self, exc: Exception | None) -> None:
        """The process is gone, or about to be."""
        del exc
        self.pool.lost(self)

    def abandon(self) -> None:
        """Hear no more of it."""
        if self._transport is not None:
            self._transport.abort()

    def stop(self) -> None:
        """Ask it to end when it has answered."""
        self.stopped_at = time.monotonic()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames.pack(frames.STOP))

    def kill(self, reason: str) -> None:
        """End it and the processes that it started, now."""
        self.reason = self.reason or reason
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def start(log_fd: int) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """Start a model process; return it, our end of its socket pair, and a pipe of what it writes to its standard output.

    Raises:   OSError: it cannot be started
    """
    ours, theirs = socket.socketpair()
    read_fd, write_fd = os.pipe()
    command = [sys.executable, *_interpreter_flags(), os.path.join(os.path.dirname(__file__), "__main__.py")]
    command += ["--worker", str(theirs.fileno()), "--worker-log", str(log_fd)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WARDIAN_SERVE_")}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=write_fd, stderr=write_fd, env=environ, pass_fds=(theirs.fileno(), log_fd),
            start_new_session=True,
        )  # fmt: skip
    except OSError:
        os.close(read_fd)
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(write_fd)
    ours.setblocking(False)
    return process, ours, read_fd


class Spoken(asyncio.Protocol):
    """What a worker's process writes to its standard output below Python: extension modules, programs, crash reports."""

    def __init__(self, log: Log, pid: int, limit_bytes: int):
        self._log = log
        self._pid = pid
        self._limit_bytes = limit_bytes  # a second
        self._pending = b""
        self._since = 0.0
        self._size = 0
        self._dropped = 0

    def data_received(self, data: bytes) -> None:
        """Log the lines of ``data``, as long as they are not too many a second."""
        now = time.monotonic()
        if now - self._since > 1:
            self._tell_dropped()
            self._since, self._size = now, 0
        self._size += len(data)
        if self._size > self._limit_bytes:
            self._dropped += len(data)
            return
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > 2000:  # noqa: PLR2004 - a line as long as that is cut
            lines, self._pending = [*lines, self._pending], b""
        for line in lines:
            if line.strip():
                self._log.write("info", line.decode("utf-8", "backslashreplace"), logger="output", worker=self._pid)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process and all that it started are gone."""
        del exc
        self._tell_dropped()
        if self._pending.strip():
            self._log.write("info", self._pending.decode("utf-8", "backslashreplace"), logger="output", worker=self._pid)

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._log.write("warning", f"{self._dropped} bytes of output are not in the log", worker=self._pid)
            self._dropped = 0


def _interpreter_flags() -> list[str]:
    given = {"isolated": "-I", "no_user_site": "-s", "no_site": "-S", "ignore_environment": "-E", "dont_write_bytecode": "-B"}
    return [option for name, option in given.items() if getattr(sys.flags, name, 0)]


def end(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status of a process that has ended, or soon has; what it left behind is ended, and so is it if need be.

    None: the kernel does not let it end yet; ask again.
    """
    status = _waited(process, 0.2)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    return _waited(process, 1.0) if status is None else status


def _waited(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None


def said(status: int | None) -> str:
    """Return an exit status in words; None: there is none yet."""
    if status is None:
        return "it does not end"
    if status < 0:
        try:
            return f"signal {signal.Signals(-status).name}"
        except ValueError:
            return f"signal {-status}"
    return f"exit status {status}"
