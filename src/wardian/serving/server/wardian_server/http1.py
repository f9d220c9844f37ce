"""HTTP/1.1 requests out of bytes, strictly: what two parsers could read in two ways is refused (RFC 9112).

A parser of our own because it is several times as fast as the one in pure Python that uvicorn brings, and because limits (size
of the head, of the body, time) must hold before anything is kept in memory.
"""

from __future__ import annotations

import re

MAX_HEAD_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8 * 1024
MAX_HEADERS = 100
_MAX_CHUNK_LINE_BYTES = 512
_MAX_TRAILER_BYTES = 8 * 1024

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_ANY_VERSION = re.compile(_TOKEN + rb" [\x21-\x7e]+ HTTP/[0-9](?:\.[0-9])?")
_HEADER_LINES = re.compile(rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_ONCE = frozenset((b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization", b"expect"))


class BadRequest(Exception):
    """A request that is refused: ``status`` and ``message`` go to the client."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


class Head:
    """The request line and the headers of one request.

    ``headers``: name in lower case → value; values of a repeated header are joined by commas. ``pairs``: as they came.
    ``length``: the body's length in bytes, None if it is chunked.
    """

    __slots__ = ("expects_continue", "headers", "keeps_alive", "length", "method", "minor", "pairs", "path", "query", "target")

    def __init__(self, method: bytes, target: bytes, minor: int, pairs: list[tuple[bytes, bytes]], headers: dict[bytes, bytes]):
        self.method = method
        self.target = target
        self.minor = minor
        self.pairs = pairs
        self.headers = headers
        self.path, _, self.query = target.partition(b"?")
        self.length: int | None = 0
        self.keeps_alive = minor == 1
        self.expects_continue = False


def parse_head(block: bytes) -> Head:
    """Return the head that ``block`` says: everything before the empty line, each line with its CRLF.

    Raises:   BadRequest: it is malformed, ambiguous, or larger than a head may be
    Source:   RFC 9112, sections 2.2, 3, 5 and 6
    """
    end = block.find(b"\r\n")
    line = _REQUEST_LINE.fullmatch(block, 0, end)
    if line is None:
        raise _bad_request_line(block[:end])
    method, target, minor = line.groups()
    if len(target) > MAX_TARGET_BYTES:
        raise BadRequest(414, f"The request target must not exceed {MAX_TARGET_BYTES} bytes")
    if _HEADER_LINES.fullmatch(block, end + 2) is None:
        raise BadRequest(400, "A header line is malformed")
    pairs = []
    headers: dict[bytes, bytes] = {}
    for text in block[end + 2 : -2].split(b"\r\n") if len(block) > end + 2 else ():
        name, _, value = text.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        pairs.append((name, value))
        if name in headers:
            if name in _ONCE:
                raise BadRequest(400, f"The header {name.decode()} must not be repeated")
            value = headers[name] + b", " + value
        headers[name] = value
    if len(pairs) > MAX_HEADERS:
        raise BadRequest(431, f"A request must not have more than {MAX_HEADERS} headers")
    head = Head(method, target, int(minor), pairs, headers)
    if target[:1] != b"/":
        _other_target(head)
    if head.minor == 1 and b"host" not in headers:
        raise BadRequest(400, "The header host is missing")
    _frame(head)
    connection = headers.get(b"connection")
    if connection is not None:
        options = [option.strip() for option in connection.lower().split(b",")]
        head.keeps_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
    return head


def _bad_request_line(line: bytes) -> BadRequest:
    if _ANY_VERSION.fullmatch(line):
        return BadRequest(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here")
    return BadRequest(400, "The request line is malformed")


def _other_target(head: Head) -> None:
    """Take the path out of an absolute target (``http://host/score``); ``*`` is for OPTIONS."""
    scheme, found, rest = head.target.partition(b"://")
    if found and scheme.lower() in {b"http", b"https"}:
        _, slash, path = rest.partition(b"/")
        head.path, _, head.query = (slash + path or b"/").partition(b"?")
    elif not (head.target == b"*" and head.method == b"OPTIONS"):
        raise BadRequest(400, "The request target is malformed")


def _frame(head: Head) -> None:
    """Settle where the body ends; anything that two servers could settle differently is refused (request smuggling)."""
    headers = head.headers
    length = headers.get(b"content-length")
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "A request must not have both content-length and transfer-encoding")
        if head.minor == 0:
            raise BadRequest(400, "HTTP/1.0 has no transfer-encoding")
        if coding.lower() != b"chunked":
            raise BadRequest(501, "The only transfer-encoding is chunked")
        head.length = None
    elif length is not None:
        if _LENGTH.fullmatch(length) is None:
            raise BadRequest(400, "The header content-length is not a number")
        head.length = int(length)
    expect = headers.get(b"expect")
    if expect is not None and head.minor == 1:
        if expect.lower() != b"100-continue":
            raise BadRequest(417, "The only expectation is 100-continue")
        head.expects_continue = True


class Chunks:
    """A chunked body as it comes in (RFC 9112, section 7.1). Extensions and trailers are read and dropped."""

    def __init__(self, limit_bytes: int):
        self._limit_bytes = limit_bytes
        self._pending = b""
        self._left = 0  # bytes of the current chunk that are still to come, its CRLF included
        self._in_trailer = False
        self._trailer_bytes = 0
        self._parts: list[bytes] = []
        self.size_bytes = 0

    @property
    def body(self) -> bytes:
        """All data so far."""
        return b"".join(self._parts)

    def feed(self, data: bytes) -> bytes | None:
        """Take in ``data``; return what follows the body once it is complete, or None.

        Raises:   BadRequest: malformed (400), or more than the limit (413)
        """
        data = self._pending + data if self._pending else data
        position = 0
        while True:
            if self._left > 0:
                take = min(self._left, len(data) - position)
                self._take(data, position, take)
                position += take
                self._left -= take
                if self._left:
                    self._pending = b""
                    return None
            end = data.find(b"\r\n", position)
            if end < 0:
                self._pending = data[position:]
                if len(self._pending) > _MAX_CHUNK_LINE_BYTES:
                    raise BadRequest(400, "A line of the chunked body is too long")
                return None
            line = data[position:end]
            position = end + 2
            if self._in_trailer:
                self._trailer_bytes += len(line) + 2
                if self._trailer_bytes > _MAX_TRAILER_BYTES:
                    raise BadRequest(431, "The trailer of the chunked body is too large")
                if not line:
                    return data[position:]
                if _HEADER_LINES.fullmatch(line + b"\r\n") is None:
                    raise BadRequest(400, "The trailer of the chunked body is malformed")
                continue
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None or len(line) > _MAX_CHUNK_LINE_BYTES:
                raise BadRequest(400, "A size of the chunked body is malformed")
            size = int(match.group(1), 16)
            if self.size_bytes + size > self._limit_bytes:
                raise BadRequest(413, f"The body must not exceed {self._limit_bytes} bytes")
            self.size_bytes += size
            if size == 0:
                self._in_trailer = True
            else:
                self._left = size + 2

    def _take(self, data: bytes, position: int, count: int) -> None:
        """Keep ``count`` bytes of the chunk: its last two must be CRLF and are dropped."""
        content = max(0, min(count, self._left - 2))
        if content:
            self._parts.append(data[position : position + content])
        after = self._left - content  # 2: both of CRLF are to come; 1: the CR came before
        for byte in data[position + content : position + count]:
            if byte != (13 if after == 2 else 10):  # noqa: PLR2004 - CR, then LF
                raise BadRequest(400, "A chunk of the body does not end with CRLF")
            after -= 1
