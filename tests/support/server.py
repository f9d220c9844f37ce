"""A loopback HTTP server for tests: access log, authentication, ranges, ETags, and faults by path. No pytest in here."""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import socket
import ssl
import subprocess
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK = 64 * 1024


@dataclass
class Request:
    """One line of the access log; ``bytes`` is the size of the body that was sent."""

    method: str
    path: str
    status: int
    bytes: int = 0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong for paths that match ``pattern`` (shell pattern over the whole path); ``times`` None: always.

    ``flip``: the byte at this offset (negative: from the end) has one bit changed. ``truncate``: the connection closes after this
    many bytes of the announced length. ``pause_s``: waits between pieces of ``piece_bytes``. ``hold``: the answer starts
    only when this event is set. ``body``: sent in place of the content.
    """

    pattern: str
    status: int | None = None
    truncate: int | None = None
    flip: int | None = None
    body: bytes | None = None
    pause_s: float = 0.0
    piece_bytes: int = CHUNK
    redirect: str | None = None
    hold: threading.Event | None = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = None


@dataclass
class Answer:
    """What a server answers before faults are applied."""

    body: bytes = b""
    content_type: str = "application/octet-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Server(ABC):
    """Serves ``answer(path, headers)`` on 127.0.0.1 and a free port from ``start`` (or ``with``) until ``stop``.

    Args:     user, password: Basic authentication is asked for.  token: ``Authorization: Bearer`` or a path that begins with
              ``/t/<token>/`` is asked for (either will do; with ``user`` too, any of the three).
              tls: speaks TLS with this certificate (``self_signed``).
    """

    def __init__(
        self,
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ):
        self.tls = tls
        self.user, self.password, self.token = user, password, token
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def answer(self, path: str, headers: dict[str, str]) -> Answer | None:
        """Return what ``path`` (decoded, without query and token) is; None: 404."""

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self, port: int = 0) -> None:
        """Listen; ``port`` 0: a free one. A stopped server can be started again at its old port."""
        self._stopping.clear()
        self._http = _Http(self, port)
        if self.tls is not None:  # each connection's thread does its handshake
            self._http.socket = self.tls.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop for good: no connection stays open, no thread stays alive, the port is free. Idempotent."""
        if self._http is None or self._thread is None:
            return
        self._stopping.set()
        for fault in self.faults:
            if fault.hold:
                fault.hold.set()
        self._http.shutdown()
        self._thread.join()
        self._http.close_connections()
        self._http.server_close()
        self._http = None

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._http is None:
            msg = "the server is not running"
            raise RuntimeError(msg)
        return self._http.server_address[1]

    @property
    def root_url(self) -> str:
        """``http://127.0.0.1:<port>`` (``https``: with a certificate), without credentials."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def with_credentials(self, url: str) -> str:
        """Return ``url`` with the user and password of this server in it."""
        return url.replace("://", f"://{self.user}:{self.password}@", 1) if self.user else url

    def with_token(self, url: str) -> str:
        """Return ``url`` with ``/t/<token>`` before its path."""
        return url.replace(self.root_url, f"{self.root_url}/t/{self.token}", 1)

    # -- faults and log --------------------------------------------------------------------------------------------

    def fail(self, pattern: str, **what: Any) -> Fault:
        """Add a ``Fault`` for paths that match ``pattern``; see there. Newer ones win."""
        fault = Fault(pattern, **what)
        self.faults.insert(0, fault)
        return fault

    def heal(self) -> None:
        """Remove all faults; held answers go on."""
        for fault in self.faults:
            if fault.hold:
                fault.hold.set()
        self.faults.clear()

    def wait_for_request(self, matches: Callable[[Request], bool], *, count: int = 1, timeout_s: float = 30.0) -> None:
        """Return when ``count`` logged requests satisfy ``matches``; requests are logged before their body is sent.

        Raises:   TimeoutError
        """
        with self._changed:
            if not self._changed.wait_for(lambda: sum(map(matches, self.requests)) >= count, timeout_s):
                raise TimeoutError(f"only {sum(map(matches, self.requests))} of {count} requests came: {self.requests[-5:]}")

    def forget_requests(self) -> None:
        """Empty the access log."""
        with self._changed:
            self.requests.clear()

    def _log(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def _fault(self, path: str) -> Fault | None:
        with self._changed:
            for fault in self.faults:
                if fnmatch.fnmatchcase(path, fault.pattern) and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def _allows(self, path: str, authorization: str) -> bool:
        if self.user is None and self.token is None:
            return True
        if self.token is not None and (authorization == f"Bearer {self.token}" or path.startswith(f"/t/{self.token}/")):
            return True
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return self.user is not None and authorization == f"Basic {expected}"


class DirectoryServer(Server):
    """Serves the files below ``directory``."""

    def __init__(self, directory: Path, **options: Any):
        super().__init__(**options)
        self.directory = directory

    def answer(self, path: str, headers: dict[str, str]) -> Answer | None:  # noqa: ARG002
        target = (self.directory / path.lstrip("/")).resolve()
        if not target.is_relative_to(self.directory.resolve()) or not target.is_file():
            return None
        kind = "application/json" if target.suffix == ".json" else "application/octet-stream"
        return Answer(target.read_bytes(), kind)

    @property
    def url(self) -> str:
        """Where ``directory`` is."""
        return self.root_url


def self_signed(directory: Path) -> ssl.SSLContext:
    """Return a server's side of TLS whose certificate nobody vouches for; it is for 127.0.0.1. ``directory``: for key and certificate."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate, *subject],
                   check=True, capture_output=True)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, owner: Server, port: int):
        self.owner = owner
        self.open: set[socket.socket] = set()
        self.guard = threading.Lock()
        self.workers: list[threading.Thread] = []
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self.guard:
            self.open.add(request)
            self.workers = [t for t in self.workers if t.is_alive()] + [thread]
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self.guard:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""

    def close_connections(self) -> None:
        with self.guard:
            connections, workers = list(self.open), list(self.workers)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for worker in workers:
            if worker.ident is not None:
                worker.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http
    wbufsize = CHUNK
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def _serve(self) -> None:
        owner = self.server.owner
        path = unquote(urlsplit(self.path).path)
        headers = {k.lower(): v for k, v in self.headers.items()}
        log = Request(self.command, path, 0, headers=headers)
        answer = Answer(b"unauthorized\n", "text/plain", 401, {"WWW-Authenticate": 'Basic realm="tests"'})
        fault = None
        if owner._allows(path, headers.get("authorization", "")):
            if owner.token is not None:
                path = path.removeprefix(f"/t/{owner.token}")
            answer = owner.answer(path, headers) or Answer(b"not found\n", "text/plain", 404)
            if fault := owner._fault(path):
                answer = _faulty(answer, fault)
        answer = _conditional(answer, headers)
        log.status, log.bytes = answer.status, 0 if self.command == "HEAD" else len(answer.body)
        owner._log(log)
        if fault and fault.hold:
            fault.hold.wait()
            if owner._stopping.is_set():
                self.close_connection = True
                return
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD" and answer.status != 304:
            log.bytes = self._send(answer.body, fault)
        self.wfile.flush()

    def _send(self, body: bytes, fault: Fault | None) -> int:
        end = len(body)
        if fault and fault.truncate is not None and fault.truncate < end:
            end, self.close_connection = fault.truncate, True
        piece = fault.piece_bytes if fault else CHUNK
        sent = 0
        try:
            for start in range(0, end, piece):
                if fault and fault.pause_s:
                    self.wfile.flush()
                    if self.server.owner._stopping.wait(fault.pause_s):
                        self.close_connection = True
                        return sent
                self.wfile.write(body[start : min(start + piece, end)])
                sent = min(start + piece, end)
            self.wfile.flush()
        except OSError:
            self.close_connection = True
        return sent

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing on stderr: ``requests`` is the log."""


def _faulty(answer: Answer, fault: Fault) -> Answer:
    if fault.redirect:
        return Answer(b"", "text/plain", fault.status or 302, {"Location": fault.redirect})
    if fault.status:
        return Answer(fault.body or f"status {fault.status}\n".encode(), "text/plain", fault.status, dict(fault.headers))
    body = answer.body if fault.body is None else fault.body
    if fault.flip is not None:
        changed = bytearray(body)
        changed[fault.flip] ^= 1
        body = bytes(changed)
    return Answer(body, answer.content_type, answer.status, {**answer.headers, **fault.headers})


def _conditional(answer: Answer, headers: dict[str, str]) -> Answer:
    if answer.status != 200:
        return answer
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    answer.headers = {"ETag": tag, "Accept-Ranges": "bytes", **answer.headers}
    if headers.get("if-none-match") == tag:
        return Answer(b"", answer.content_type, 304, answer.headers)
    wanted = headers.get("range", "")
    if not wanted.startswith("bytes=") or "," in wanted or headers.get("if-range", tag) != tag:
        return answer
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    size = len(answer.body)
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        return Answer(b"", "text/plain", 416, {"Content-Range": f"bytes */{size}"})
    answer.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Answer(answer.body[start:stop], answer.content_type, 206, answer.headers)
