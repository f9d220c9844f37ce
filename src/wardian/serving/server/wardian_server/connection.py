"""One client's connection: requests in, answers out. Limits hold here; what is slow, large or malformed ends here."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from .answers import error_body
from .http1 import MAX_HEAD_BYTES, BadRequest, Chunks, Head, parse_head

if TYPE_CHECKING:
    from .front import Front
    from .process import Job

HEAD, BODY, BUSY, LINGER = range(4)
_MAX_AHEAD_BYTES = 64 * 1024  # what a client may send before its last request is answered
_SLOWEST_BODY = 1024  # bytes a second
_LINGER_S = 2.0
_STUCK_S = 60.0  # a client that does not read its answer is left after that
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PRINTABLE = re.compile(rb"[\x21-\x7e]")
_RETRY = b"retry-after: 1\r\n"
_JSON = b"content-type: application/json\r\n"


class Connection(asyncio.Protocol):
    """The state of one connection. A request is answered before the next one is looked at."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_closes",
        "_ended",
        "_got",
        "_head",
        "_held",
        "_parts",
        "_paused",
        "_pumping",
        "_since",
        "_state",
        "_stuck",
        "_stuck_at",
        "front",
        "job",
        "request_id",
        "run_ms",
        "transport",
    )  # fmt: skip

    def __init__(self, front: Front):
        self.front = front
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.job: Job | None = None
        self.request_id = b""
        self.run_ms: float | None = None
        self._state = HEAD
        self._buffer = b""
        self._head: Head | None = None
        self._parts: list[bytes] = []
        self._got = 0
        self._held = 0  # bytes of the body, as far as it is counted
        self._chunks: Chunks | None = None
        self._closes = False
        self._ended = False  # the client sends no more
        self._pumping = False
        self._paused = False
        self._stuck = 0
        self._stuck_at = 0.0
        self._since = time.monotonic()  # of the current state

    @property
    def is_idle(self) -> bool:
        """Is nothing asked that is not answered?"""
        return self._state == HEAD and not self._buffer and not self._stuck_at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = transport  # type: ignore[assignment]
        connections = self.front.connections
        if len(connections) >= self.front.config.max_connections:
            self._state = LINGER
            self.transport.close()
            return
        connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone; its request, if it waits for a worker, is not worth starting."""
        del exc
        self.front.connections.discard(self)
        self._hold(-self._held)
        if self.job is not None:
            self.job.gone = True
            self.job = None
        self._state = LINGER
        self._buffer = b""
        self._parts = []

    def eof_received(self) -> bool:
        """The client sends no more; it may still read what it asked for."""
        self._ended = True
        return self._state == BUSY

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        self._stuck_at = time.monotonic()
        self._stuck = self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """It has read."""
        self._stuck_at = 0.0
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._state == BODY:
            try:
                self._take_body(data)
            except BadRequest as bad:
                self.refuse(bad.status, bad.message)
            if self._state == HEAD and self._buffer:
                self._pump()
        elif self._state == LINGER:
            return
        else:
            self._buffer = self._buffer + data if self._buffer else data
            if self._state == HEAD:
                self._pump()
            elif len(self._buffer) > _MAX_AHEAD_BYTES and not self._paused:
                self._paused = True
                self.transport.pause_reading()

    def _pump(self) -> None:
        """Take requests out of the buffer for as long as they are answered at once."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._state == HEAD and self._buffer and not self._stuck_at and self._take_head():
                pass
        except BadRequest as bad:
            self.refuse(bad.status, bad.message)
        finally:
            self._pumping = False
        if self._paused and len(self._buffer) <= _MAX_AHEAD_BYTES:
            self._paused = False
            if self._state != LINGER:
                self.transport.resume_reading()

    def _take_head(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD_BYTES:
            if buffer[:2] == b"\r\n":  # an empty line before a request is to be ignored (RFC 9112, section 2.2)
                self._buffer = buffer[2:]
                return True
            if len(buffer) > MAX_HEAD_BYTES:
                raise BadRequest(431, f"The head of a request must not exceed {MAX_HEAD_BYTES} bytes")
            if not _PRINTABLE.match(buffer) or (b"\n" in buffer and b"\r\n" not in buffer):  # not HTTP: nothing to wait for
                raise BadRequest(400, "The request line is malformed")
            if not self._head and self._got == 0:
                self._got, self._since = 1, time.monotonic()  # the head has begun
            return False
        if end == 0:
            self._buffer = buffer[2:]
            return True
        while buffer[:2] == b"\r\n":
            buffer, end = buffer[2:], end - 2
        head = parse_head(buffer[: end + 2])
        rest = buffer[end + 4 :]
        self._buffer = b""
        self._closes = not head.keeps_alive
        length = head.length
        front = self.front
        if length == 0:
            self._buffer = rest
            self._asked(head, b"")
            return True
        if length is not None and len(rest) >= length <= front.config.max_body_bytes:
            self._buffer = rest[length:]
            self._asked(head, rest[:length])
            return True
        if length is not None and length > front.config.max_body_bytes:
            raise BadRequest(413, f"The body must not exceed {front.config.max_body_bytes} bytes")
        self._head = head
        refused = front.refusal(self, head)
        if refused is not None:  # before the body comes: nobody needs it
            self._closes = True
            self._state = BUSY
            self.answer(head, *refused)
            return True
        if head.expects_continue and not rest:
            self.transport.write(_CONTINUE)
        self._state, self._since = BODY, time.monotonic()
        self._parts, self._got = [], 0
        self._chunks = Chunks(front.config.max_body_bytes) if length is None else None
        self._hold(length or 0)
        self._take_body(rest)
        return True

    def _take_body(self, data: bytes) -> None:
        head = self._head
        assert head is not None
        self._got += len(data)
        if self._chunks is not None:
            self._hold(len(data))
            rest = self._chunks.feed(data)
            if rest is None:
                return
            body = self._chunks.body
        else:
            assert head.length is not None
            self._parts.append(data)
            if self._got < head.length:
                return
            whole = b"".join(self._parts)
            body, rest = whole[: head.length], whole[head.length :]
        self._chunks, self._parts, self._head = None, [], None
        self._buffer = rest
        self._asked(head, body)

    def _hold(self, count: int) -> None:
        """Count bytes that are kept for this request, on behalf of all connections."""
        front = self.front
        self._held += count
        front.held_bytes += count
        if count > 0 and front.held_bytes > front.config.max_held_bytes:
            raise BadRequest(503, "The server holds as many bytes of requests as it may. Try again.")

    def _asked(self, head: Head, body: bytes) -> None:
        self._state, self._got = BUSY, 0
        self._since = time.monotonic()
        self.request_id, self.run_ms = b"", None
        self.front.asked(self, head, body)

    def answer(self, head: Head | None, status: int, headers: bytes, body: bytes) -> None:
        """Send the answer to the current request. ``headers``: lines, each with CRLF, but for length, date and connection."""
        if self._state == LINGER or self.transport.is_closing():
            return
        front = self.front
        if front.draining or (self._ended and not self._buffer):
            self._closes = True
        elapsed_ms = (time.monotonic() - self._since) * 1000
        connection = b"" if not self._closes else b"connection: close\r\n"
        if not self._closes and head is not None and head.minor == 0:
            connection = b"connection: keep-alive\r\n"
        length = b"" if status == 204 or status == 304 else b"content-length: %d\r\n" % len(body)  # noqa: PLR1714, PLR2004
        if not length or (head is not None and head.method == b"HEAD"):
            body = b""
        text = front.start_of(status) + headers + length + connection + b"\r\n"
        if len(body) < 65536:  # noqa: PLR2004 - small: one write is cheaper than a copy is dear
            self.transport.write(text + body)
        else:
            self.transport.write(text)
            self.transport.write(body)
        self.job = None
        if self._held:
            self._hold(-self._held)
        front.answered(self, head, status, elapsed_ms, len(body))
        self._state, self._got = HEAD, 0
        self._since = time.monotonic()
        if self._closes:
            self._end()
        elif self._buffer:
            self._pump()

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error and close: where the next request begins is not known."""
        self._closes = True
        self._state = BUSY
        self.request_id, self.run_ms = b"", None
        self.answer(None, status, _JSON + (_RETRY if status == 503 else b""), error_body(message))  # noqa: PLR2004

    def _end(self) -> None:
        """Close; what the client still sends is read and dropped for a while, else it would not see its answer."""
        self._state, self._since = LINGER, time.monotonic()
        self._buffer, self._parts, self._head, self._chunks = b"", [], None, None
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        try:
            self.transport.write_eof()
        except OSError:  # the client has gone
            self.transport.abort()

    def look(self, now: float) -> None:
        """End what has taken too long; called every now and then."""
        config, waited = self.front.config, now - self._since
        if self._state == HEAD:
            if self._stuck_at:
                self._look_stuck(now)
            elif self._buffer:
                if waited > config.header_timeout_s:
                    self.refuse(408, f"The head of the request did not come within {config.header_timeout_s:g} s")
            elif waited > config.keepalive_s:
                self.transport.close()
        elif self._state == BODY:
            if waited > config.body_timeout_s and self._got < _SLOWEST_BODY * waited:
                self.refuse(408, f"The body did not come within {config.body_timeout_s:g} s")
        elif self._state == LINGER and waited > _LINGER_S:
            if self._stuck_at:
                self._look_stuck(now)
            else:
                self.transport.close()

    def _look_stuck(self, now: float) -> None:
        size = self.transport.get_write_buffer_size()
        if size != self._stuck:
            self._stuck, self._stuck_at = size, now
        elif now - self._stuck_at > _STUCK_S:
            self.transport.abort()
