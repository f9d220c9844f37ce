"""What the server answers: health and scoring right here, for speed; every other path through the ASGI application."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import time
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from random import getrandbits
from typing import TYPE_CHECKING, Any, Awaitable, Callable
from urllib.parse import unquote_to_bytes

from . import __version__, frames
from .answers import INTERNAL, error_body
from .connection import Connection
from .pool import Busy, Pool
from .process import Job

if TYPE_CHECKING:
    from .config import Config
    from .http1 import Head
    from .logs import Log
    from .metrics import Metrics

Application = Callable[[Any, Any, Any], Awaitable[None]]
Refusal = "tuple[int, bytes, bytes]"

MAX_ID_CHARACTERS = 100
_JSON = b"content-type: application/json\r\n"
_HTML = b"content-type: text/html; charset=utf-8\r\n"
_NOT_FAILED = b"x-ms-run-function-failed: False\r\n"
_FAILED = b"x-ms-run-function-failed: True\r\n"
_RETRY = b"retry-after: 1\r\n"
_NOT_ALLOWED = "The method is not allowed for the requested URL."
_OPEN = frozenset((b"/", b"/live", b"/ready", b"/v2/health/live", b"/v2/health/ready"))
_STARTS = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


class TooLong(Exception):
    """An id in a header is longer than ids may be; the message goes to the client, and the header lines ``ids``."""

    def __init__(self, message: str, ids: bytes):
        super().__init__(message)
        self.ids = ids


class Front:
    """Decides about every request; lives in the event loop."""

    def __init__(self, config: Config, log: Log, metrics: Metrics, pool: Pool, application: Application):
        self.config = config
        self.connections: set[Connection] = set()
        self.draining = False
        self.held_bytes = 0  # of bodies that are kept
        self._log = log
        self._metrics = metrics
        self._pool = pool
        self._application = application
        self._keys = self._given_keys = [bytes.fromhex(key) for key in config.keys]
        self._version = b""
        if os.environ.get("SERVER_VERSION_LOG_RESPONSE_ENABLED", "true").lower() == "true":
            self._version = b"x-ms-server-version: wardian-server/" + __version__.encode() + b"\r\n"
        self._origins = {origin.lower().encode() for origin in config.cors}
        self._starts: dict[int, bytes] = {}
        self._clock = 0
        self._stamp = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._logs_access = config.access_log and log.has("info")
        metrics.gauges["wardian_in_flight"] = ("Requests that workers work on.", lambda: pool.in_flight)
        metrics.gauges["wardian_waiting"] = ("Requests that wait for a worker.", lambda: pool.waiting_count)
        metrics.gauges["wardian_connections"] = ("Open connections.", lambda: len(self.connections))
        metrics.gauges["wardian_held_bytes"] = ("Bytes of bodies that are kept.", lambda: self.held_bytes)
        metrics.gauges["wardian_workers_ready"] = ("Workers that are ready.", lambda: sum(w.ready for w in pool.workers))

    def connect(self, **_: Any) -> Connection:
        """Return what speaks on a new connection; uvicorn calls this as its HTTP protocol."""
        return Connection(self)

    def accept_from_owner(self, digest: bytes) -> None:
        """Accept a key of this sha256, too, instead of the owner's before; from any thread. Without keys all are accepted already."""
        if self._given_keys:
            self._keys = [*self._given_keys, digest]

    # -- requests

    def refusal(self, connection: Connection, head: Head) -> tuple[int, bytes, bytes] | None:
        """Return the answer to a request without the key that it needs, or None."""
        del connection
        if not self._keys or head.path in _OPEN or (head.method == b"OPTIONS" and head.path == b"/score"):
            return None
        if self._has_key(head):
            return None
        return (
            401,
            _JSON + b'www-authenticate: Bearer realm="wardian"\r\n' + _NOT_FAILED,
            error_body("A valid API key is missing. Send it as `Authorization: Bearer <key>`."),
        )

    def asked(self, connection: Connection, head: Head, body: bytes) -> None:
        """Answer a request that is complete, now or later."""
        path = head.path
        if b"%" in path:
            path = head.path = unquote_to_bytes(path)
        refused = self.refusal(connection, head) if self._keys else None
        if refused is not None:
            connection.answer(head, *refused)
        elif path == b"/score":
            self._score(connection, head, body)
        elif path in {b"/", b"/live", b"/ready"}:
            self._health(connection, head, path)
        else:
            task = asyncio.ensure_future(self._elsewhere(connection, head, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _score(self, connection: Connection, head: Head, body: bytes) -> None:
        try:
            ids = self._ids(connection, head.headers)
        except TooLong as error:
            connection.answer(head, 431, _JSON + _NOT_FAILED + error.ids, error_body(str(error)))
            return
        method, about = head.method, self._pool.about
        if method not in {b"POST", b"GET", b"OPTIONS", b"HEAD"}:
            connection.answer(head, 405, _JSON + b"allow: POST, GET, OPTIONS, HEAD\r\n" + _NOT_FAILED, error_body(_NOT_ALLOWED))
            return
        if method == b"OPTIONS" and (about.get("input") != "raw" or (self._keys and not self._has_key(head))):
            connection.answer(head, 200, _HTML + _NOT_FAILED + ids, b"")
            return
        if method == b"POST" and about.get("body_only"):
            kind, meta = frames.BODY, connection.request_id
        else:
            kind, meta = frames.REQUEST, _described(connection, head)
        job = Job(kind, meta, body, partial(self._scored, connection, head, ids))
        connection.job = job
        try:
            self._pool.submit(job)
        except Busy:
            self._scored(connection, head, ids, frames.Frame(0, 0, 503, 0, 0.0, b"", _BUSY))

    def _scored(self, connection: Connection, head: Head, ids: bytes, frame: frames.Frame) -> None:
        """Send what a worker replied."""
        _, _, status, flags, elapsed_ms, meta, body = frame
        headers = (meta or _JSON) + ids
        if not flags & frames.OWN_FAILED:
            headers += _FAILED if flags & frames.RUN_FAILED else _NOT_FAILED
        if flags & frames.TIMED:
            connection.run_ms = elapsed_ms
            headers += b"x-ms-run-fn-exec-ms: %.3f\r\n" % elapsed_ms
            self._metrics.run.add(elapsed_ms)
        if flags & frames.RUN_FAILED:
            self._metrics.run_failed += 1
        if status == 503 and not flags & frames.OWN_FAILED:  # noqa: PLR2004 - the script's own says for itself
            headers += _RETRY
        connection.answer(head, status, headers, body)

    def _health(self, connection: Connection, head: Head, path: bytes) -> None:
        try:
            ids = self._ids(connection, head.headers)
        except TooLong as error:
            connection.answer(head, 431, _JSON + _NOT_FAILED + error.ids, error_body(str(error)))
            return
        if head.method == b"OPTIONS":
            connection.answer(head, 200, _HTML + b"allow: GET, HEAD, OPTIONS\r\n" + ids, b"")
        elif head.method not in {b"GET", b"HEAD"}:
            connection.answer(head, 405, _JSON + b"allow: GET, HEAD, OPTIONS\r\n" + _NOT_FAILED, error_body(_NOT_ALLOWED))
        elif path == b"/ready" and (self.draining or not self._pool.ready):
            why = "The server is ending." if self.draining else "No worker is ready."
            connection.answer(head, 503, _JSON + _RETRY + ids, error_body(why))
        else:
            text = {b"/": b"Healthy", b"/live": b"Live", b"/ready": b"Ready"}[path]
            connection.answer(head, 200, _HTML + ids, text)

    def _ids(self, connection: Connection, headers: dict[bytes, bytes]) -> bytes:
        """Return the header lines that name the request, by the rules of azureml-inference-server-http."""
        request_id = headers.get(b"x-request-id")
        if request_id is None:
            number = getrandbits(128)
            request_id = b"%08x-%04x-4%03x-%04x-%012x" % (
                number >> 96, number >> 80 & 0xFFFF, number >> 68 & 0xFFF, number >> 52 & 0x3FFF | 0x8000, number & 0xFFFFFFFFFFFF,
            )  # fmt: skip
        elif len(request_id) > MAX_ID_CHARACTERS:
            raise TooLong(f"x-request-id must not exceed {MAX_ID_CHARACTERS} characters", self._version)
        connection.request_id = request_id
        lines = self._version + (b"x-request-id: %b\r\n" % request_id if request_id else b"")
        client_id = headers.get(b"x-ms-client-request-id", b"")
        old_id = headers.get(b"x-ms-request-id", b"")
        client_id = client_id or old_id
        old_id = old_id or client_id or request_id
        if len(old_id) > MAX_ID_CHARACTERS or len(client_id) > MAX_ID_CHARACTERS:
            raise TooLong(f"x-ms-request-id and x-ms-client-request-id must not exceed {MAX_ID_CHARACTERS} characters", lines)
        if old_id:
            lines += b"x-ms-request-id: %b\r\n" % old_id
        if client_id:
            lines += b"x-ms-client-request-id: %b\r\n" % client_id
        if b"traceid" in headers:
            lines += b"TraceId: %b\r\n" % headers[b"traceid"]
        if self._origins and b"origin" in headers:
            lines += self._cors(headers)
        return lines

    def _cors(self, headers: dict[bytes, bytes]) -> bytes:
        """Return what tells a browser that its page may ask here; nothing if its origin may not."""
        origin = headers[b"origin"]
        if not self._origins & {b"*", origin.lower()}:
            return b""
        lines = b"access-control-allow-origin: %b\r\nvary: Origin\r\n" % origin
        if headers.get(b"access-control-request-method", b"").upper() in {b"GET", b"POST"}:
            lines += b"access-control-allow-methods: GET, POST\r\n"
            if b"access-control-request-headers" in headers:
                lines += b"access-control-allow-headers: %b\r\n" % headers[b"access-control-request-headers"]
        return lines

    def _has_key(self, head: Head) -> bool:
        """Does the request have one of the keys? Takes as long for a wrong key as for a right one."""
        scheme, _, key = head.headers.get(b"authorization", b"").partition(b" ")
        given = hashlib.sha256(key.strip()).digest()
        found = False
        for known in self._keys:
            found |= hmac.compare_digest(given, known)
        return found and scheme.lower() == b"bearer"

    async def _elsewhere(self, connection: Connection, head: Head, body: bytes) -> None:
        """Answer through the ASGI application."""
        events = iter(({"type": "http.request", "body": body, "more_body": False},))
        answer: dict[str, Any] = {"status": 500, "headers": [], "body": []}

        async def receive() -> dict[str, Any]:
            return next(events, {"type": "http.disconnect"})

        async def send(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.start":
                answer["status"], answer["headers"] = event["status"], event.get("headers", [])
            else:
                answer["body"].append(event.get("body", b""))

        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": f"1.{head.minor}",
            "method": head.method.decode(), "scheme": "http", "path": head.path.decode("utf-8", "replace"), "raw_path": head.path,
            "query_string": head.query, "root_path": "", "headers": head.pairs, "client": None, "server": None, "state": {},
        }  # fmt: skip
        try:
            scope["wardian.ids"] = self._ids(connection, head.headers)
        except TooLong as error:
            connection.answer(head, 431, _JSON + _NOT_FAILED + error.ids, error_body(str(error)))
            return
        try:
            await self._application(scope, receive, send)
            lines = b"".join(b"%b: %b\r\n" % (n, v) for n, v in answer["headers"] if n.lower() != b"content-length")
            connection.answer(head, answer["status"], lines + scope["wardian.ids"], b"".join(answer["body"]))
        except Exception as error:
            self._log.failure(f"a request failed inside the server: {type(error).__name__}: {error}", error)
            connection.answer(head, 500, _JSON + _NOT_FAILED, error_body(INTERNAL))

    # -- answers

    def start_of(self, status: int) -> bytes:
        """Return the status line and the date."""
        now = int(time.time())
        if now != self._clock:
            self._clock = now
            self._starts = {}
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        start = self._starts.get(status)
        if start is None:
            line = _STARTS.get(status) or f"HTTP/1.1 {status} Unknown\r\n".encode()
            start = self._starts[status] = line + f"date: {formatdate(now, usegmt=True)}\r\n".encode()
        return start

    def answered(self, connection: Connection, head: Head | None, status: int, elapsed_ms: float, size: int) -> None:
        """Count and log one request."""
        metrics = self._metrics
        metrics.by_status[status] = metrics.by_status.get(status, 0) + 1
        metrics.request.add(elapsed_ms)
        if not self._logs_access:
            return
        method = head.method.decode("latin-1") if head else "-"
        path = head.path.decode("latin-1") if head else "-"
        request_id = connection.request_id.decode("latin-1")
        run_ms = connection.run_ms
        if not path[1:].isalnum():  # decoded, it may have any character
            path = json.dumps(path)[1:-1]
        if not request_id.replace("-", "").isalnum():
            request_id = json.dumps(request_id)[1:-1]
        if not self._log.as_json:
            self._log.write("info", f"{method} {path} {status} {elapsed_ms:.3f}ms {size}", request_id=request_id or None)
            return
        run = "" if run_ms is None else f', "run_ms": {run_ms:.3f}'
        self._log.raw(
            (
                f'{{"time": "{self._stamp}.{int(time.time() * 1000) % 1000:03d}Z", "level": "info", "message": "request", '
                f'"request_id": "{request_id}", "method": "{method}", "path": "{path}", "status": {status}, '
                f'"duration_ms": {elapsed_ms:.3f}{run}, "bytes": {size}}}\n'
            ).encode()
        )

    # -- time

    def look(self, now: float) -> None:
        """End what has taken too long; called every now and then."""
        self._pool.look(now)
        for connection in list(self.connections):
            connection.look(now)


def _described(connection: Connection, head: Head) -> bytes:
    """The request as the worker reads it."""
    return json.dumps(
        {
            "id": connection.request_id.decode("latin-1"),
            "method": head.method.decode("latin-1"),
            "target": (head.path + b"?" + head.query if head.query else head.path).decode("latin-1"),
            "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.pairs],
        }
    ).encode()


_BUSY = error_body("The server has more requests than it can take. Try again.")
