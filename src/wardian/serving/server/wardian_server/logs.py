"""Log lines: one JSON object (or one line of text) each, to a file descriptor that front and workers share.

A line is one ``write`` of at most ``MAX_LINE_BYTES``, so lines of several processes never mix, on a pipe neither.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import traceback
from collections import deque
from contextvars import ContextVar
from typing import Any

MAX_LINE_BYTES = 4096
_MAX_TEXT = 3000  # characters of a message or traceback in one line; more goes into further lines
_MAX_WAITING = 20_000  # lines that wait for a reader that is slow; more are dropped, and counted
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def timestamp() -> str:
    """The time in UTC with milliseconds: ``2026-01-31T12:00:00.000Z``."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"


class Log:
    """Writes log lines.

    ``buffered``: a thread writes them, so that nobody waits for a slow reader; ``flush`` waits for it.
    """

    def __init__(self, fd: int, style: str = "json", level: str = "INFO", *, buffered: bool = False):
        self._fd = fd
        self._as_json = style == "json"
        self._least = LEVELS.get(level.lower(), 20)
        self._waiting: deque[bytes] | None = deque() if buffered else None
        self._dropped = 0
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._ends = False
        if buffered:
            threading.Thread(target=self._write_on, name="log", daemon=True).start()

    def write(self, level: str, message: str, **values: Any) -> None:
        """Write one line, or several if ``message`` or ``values["traceback"]`` is long. None values are left out."""
        if LEVELS[level] < self._least:
            return
        trace = values.pop("traceback", None)
        values = {name: value for name, value in values.items() if value is not None}
        for piece in _pieces(message):
            self._line(level, {"message": piece, **values})
        for number, piece in enumerate(_pieces(trace)) if trace else ():
            self._line(level, {"message": message if not number else "…", "traceback": piece, **values}, only_trace=True)

    def failure(self, message: str, error: BaseException, **values: Any) -> None:
        """Write ``message`` and the traceback of ``error``."""
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.write("error", message, traceback=trace, **values)

    def raw(self, line: bytes) -> None:
        """Write ``line``, which is complete."""
        waiting = self._waiting
        if waiting is None:
            _write_all(self._fd, line)
        elif len(waiting) >= _MAX_WAITING:
            self._dropped += 1
        else:
            waiting.append(line)
            if not self._wake.is_set():
                self._idle.clear()
                self._wake.set()

    def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until what was written is out, or ``timeout_s``."""
        if self._waiting is None:
            return
        until = time.monotonic() + timeout_s
        self._ends = True
        self._wake.set()
        while (self._waiting or not self._idle.is_set()) and time.monotonic() < until:
            time.sleep(0.001)
        self._ends = False

    @property
    def as_json(self) -> bool:
        """Are the lines JSON objects?"""
        return self._as_json

    def has(self, level: str) -> bool:
        """Is ``level`` logged?"""
        return LEVELS[level] >= self._least

    def _line(self, level: str, values: dict[str, Any], *, only_trace: bool = False) -> None:
        if self._as_json:
            text = json.dumps({"time": timestamp(), "level": level, **values}, default=str, ensure_ascii=False)
        else:
            trace = values.pop("traceback", None)
            message = values.pop("message")
            rest = " ".join(f"{name}={value}" for name, value in values.items())
            body = str(trace).rstrip("\n") if only_trace else str(message)
            text = f"{timestamp()} {level[0].upper()} {body}{'  ' if rest else ''}{rest}"
        self.raw(text.encode("utf-8", "backslashreplace") + b"\n")

    def _write_on(self) -> None:
        waiting = self._waiting
        assert waiting is not None
        while True:
            self._wake.wait()
            if not self._ends:
                time.sleep(0.02)  # lines of the next moment go with these
            self._wake.clear()
            while waiting:
                lines, size = [], 0
                while waiting and size < 64 * 1024:
                    lines.append(waiting.popleft())
                    size += len(lines[-1])
                _write_all(self._fd, b"".join(lines))
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self.write("warning", f"{dropped} log lines were dropped: their reader is too slow")
            if not self._wake.is_set():
                self._idle.set()


def _pieces(text: str) -> list[str]:
    """Cut ``text`` so that each piece, escaped, has its place in one line."""
    pieces = [text[start : start + _MAX_TEXT] for start in range(0, len(text), _MAX_TEXT)] or [""]
    while any(len(json.dumps(piece)) > _MAX_TEXT + 500 for piece in pieces):
        pieces = [half for piece in pieces for half in (piece[: len(piece) // 2], piece[len(piece) // 2 :])]
    return pieces


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody made the pipe non-blocking
            time.sleep(0.01)
        except OSError:  # nobody reads any more: the server goes on without its log
            return


class Printed:
    """What the script prints, as log lines with the id of its request; stands in for ``sys.stdout`` and ``sys.stderr``."""

    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self, log: Log, name: str, state: Output, fd: int):
        self._log = log
        self._name = name
        self._state = state
        self._fd = fd

    def write(self, text: str) -> int:
        """Log each line of ``text``; a line without its end waits for the rest."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._state.take(self._log, self._name, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Do nothing: lines are written as they end."""

    def isatty(self) -> bool:
        """It is not a terminal."""
        return False

    def fileno(self) -> int:
        """The descriptor below, for programs that the script starts; the front logs what they write."""
        return self._fd

    def readable(self) -> bool:
        """It cannot be read."""
        return False

    def writable(self) -> bool:
        """It can be written."""
        return True

    @property
    def buffer(self) -> Any:
        """The same for bytes."""
        return _Bytes(self)


class _Bytes:
    def __init__(self, text: Printed):
        self._text = text

    def write(self, data: Any) -> int:
        self._text.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)

    def flush(self) -> None:
        pass


class _Said:
    """What one request has printed: how much, and the lines that have not ended."""

    def __init__(self, request_id: str | None = None):
        self.request_id = request_id
        self.size = 0
        self.open: dict[str, str] = {}


class Output:
    """What the current request prints, in whatever thread or task it is carried out; and each thread that belongs to none."""

    def __init__(self, limit_bytes: int):
        self._limit_bytes = limit_bytes
        self._said: ContextVar[_Said | None] = ContextVar("said", default=None)
        self._threads = threading.local()

    @property
    def request_id(self) -> str | None:
        """The id of the request that is carried out here."""
        said = self._said.get()
        return said.request_id if said is not None else None

    def begin(self, request_id: str | None) -> None:
        """A request begins here."""
        self._said.set(_Said(request_id))

    def end(self, log: Log) -> None:
        """The request ends: log what has no end of line, and how much was dropped."""
        said = self._own()
        for name, text in said.open.items():
            if text:
                said.open[name] = ""
                log.write("info", text, logger=name, request_id=said.request_id, worker=os.getpid())
        if said.size > self._limit_bytes:
            log.write(
                "warning", f"{said.size - self._limit_bytes} further characters that were printed are not in the log",
                request_id=said.request_id, worker=os.getpid(),
            )  # fmt: skip

    def take(self, log: Log, name: str, text: str) -> None:
        """Log the lines that ``text`` ends."""
        said = self._own()
        left = self._limit_bytes - said.size
        said.size += len(text)
        if left <= 0:
            return
        text = text[:left]
        *lines, rest = (said.open.get(name, "") + text).split("\n")
        if len(rest) > _MAX_TEXT:
            lines, rest = [*lines, rest], ""
        said.open[name] = rest
        for line in lines:
            if line.strip("\r"):
                log.write("info", line.rstrip("\r"), logger=name, request_id=said.request_id, worker=os.getpid())

    def _own(self) -> _Said:
        said = self._said.get() or getattr(self._threads, "said", None)
        if said is None:
            said = self._threads.said = _Said()
        return said


class Handler(logging.Handler):
    """Records of the standard library's ``logging``, as log lines."""

    def __init__(self, log: Log, state: Output):
        super().__init__()
        self._log = log
        self._state = state

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        try:
            level = record.levelname.lower() if record.levelname.lower() in LEVELS else "info"
            trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info and record.exc_info[0] else None
            self._log.write(
                level, record.getMessage(), logger=record.name, traceback=trace,
                request_id=self._state.request_id, worker=os.getpid(),
            )  # fmt: skip
        except Exception:
            self.handleError(record)
