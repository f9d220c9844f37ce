"""What the front and its workers say to each other over a socket pair: frames of a fixed head, a meta part and a body."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket

# front to worker
CONFIG = 1  # meta: the configuration as JSON
BODY = 2  # a POST whose script wants nothing but the body; meta: the request id
REQUEST = 3  # any other request for the script; meta: JSON {"id", "method", "target", "headers"}
INFER = 4  # a request of the Open Inference Protocol; meta: JSON {"id", "header_bytes", "model"}
STOP = 5
# worker to front
READY = 10  # meta: JSON of what the script is
FAILED = 11  # meta: JSON {"error"}
REPLY = 12  # meta: further header lines, each with CRLF; empty: the body is JSON

# flags of a reply
RUN_FAILED = 1  # x-ms-run-function-failed: True
TIMED = 2  # x-ms-run-fn-exec-ms is known
RETIRE = 4  # the worker has reached its limit of memory or requests
OWN_FAILED = 8  # the script's response has said itself whether it failed

HEAD = struct.Struct("<IIIHBBd")  # bytes of meta, bytes of body, request number, status, kind, flags, milliseconds


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    number: int
    status: int
    flags: int
    elapsed_ms: float
    meta: bytes
    body: bytes


def pack(
    kind: int,
    number: int = 0,
    meta: bytes = b"",
    body: bytes = b"",
    *,
    status: int = 0,
    flags: int = 0,
    elapsed_ms: float = 0.0,
) -> bytes:
    """Return the bytes of one frame."""
    return HEAD.pack(len(meta), len(body), number, status, kind, flags, elapsed_ms) + meta + body


class Reader:
    """Frames from a blocking socket, one after the other."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._pending = b""

    def read(self) -> Frame | None:
        """Return the next frame, or None when the other side is gone."""
        pending = self._pending
        while len(pending) < HEAD.size:
            data = self._connection.recv(65536)
            if not data:
                return None
            pending = pending + data if pending else data
        meta_size, body_size, number, status, kind, flags, elapsed_ms = HEAD.unpack_from(pending)
        total = HEAD.size + meta_size + body_size
        if len(pending) < total:
            whole = bytearray(total)
            whole[: len(pending)] = pending
            view, filled = memoryview(whole), len(pending)
            while filled < total:
                count = self._connection.recv_into(view[filled:])
                if not count:
                    return None
                filled += count
            view.release()
            pending = bytes(whole)
        self._pending = pending[total:]
        start = HEAD.size + meta_size
        return Frame(kind, number, status, flags, elapsed_ms, pending[HEAD.size : start], pending[start:total])


class Splitter:
    """Frames out of data that comes in pieces; for the side that must not block."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._needed = HEAD.size

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that ``data`` completes."""
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return []
            data = bytes(self._pending)
            self._pending = bytearray()
        frames, position, size = [], 0, len(data)
        while True:
            if size - position < HEAD.size:
                self._needed = HEAD.size
                break
            meta_size, body_size, number, status, kind, flags, elapsed_ms = HEAD.unpack_from(data, position)
            start = position + HEAD.size
            end = start + meta_size + body_size
            if end > size:
                self._needed = end - position
                break
            frames.append(
                Frame(kind, number, status, flags, elapsed_ms, data[start : start + meta_size], data[start + meta_size : end])
            )
            position = end
        if position < size:
            self._pending += data[position:]
        return frames
