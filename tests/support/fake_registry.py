"""A registry in memory that keeps to the distribution specification, with tokens if wanted, until told to misbehave. No pytest in here."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import re
import secrets
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})")
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([^/]*)")
_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")
_TAGS = re.compile(r"/v2/(.+)/tags/list")
_REFERRERS = re.compile(r"/v2/(.+)/referrers/(sha256:[0-9a-f]{64})")


@dataclass
class Request:
    """One line of the access log."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    received: int = 0
    client: int = 0  # the port of the connection

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


@dataclass
class Misdeed:
    """What goes wrong for requests whose ``METHOD path`` matches ``pattern`` (shell pattern); ``times`` None: always.

    ``status``: answered at once, with ``headers`` and ``body``. ``truncate``: the connection closes after this many bytes of the
    announced body. ``flip``: one bit of the body's byte at this offset. ``body``: served in place of the content.
    ``lose_after``: of an upload's body so many bytes are kept, then the connection is reset. ``unsized``: no length is
    announced, and the connection closes at the end. ``hang``: no answer before the server stops; with ``truncate``, nothing after these bytes. ``delay_s``: or before
    this time has passed. ``lose_answer``: it is done,
    and the connection is reset in place of an answer. ``drop_headers``: not sent.
    """

    pattern: str
    times: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    truncate: int | None = None
    flip: int | None = None
    lose_after: int | None = None
    unsized: bool = False
    hang: bool = False
    delay_s: float = 0.0
    lose_answer: bool = False
    drop_headers: tuple[str, ...] = ()


class FakeRegistry:
    """Serves on 127.0.0.1 and a free port, from ``with`` to its end.

    Args:     tokens: a bearer token is asked for; ``/token`` gives it to ``user`` with ``password``, and to anybody if ``user`` is
              empty.  realm: the token service's address, if it is another's.  ranges, mounts, referrers: whether it can.
              page: most tags in one answer.
    """

    def __init__(
        self, *, tokens: bool = False, user: str = "", password: str = "", realm: str = "", ranges: bool = True,
        mounts: bool = True, referrers: bool = False, page: int = 1000,
    ):  # fmt: skip
        self.tokens, self.user, self.password, self.realm = tokens, user, password, realm
        self.ranges, self.mounts, self.referrers, self.page = ranges, mounts, referrers, page
        self.life_s: float | None = 300
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, dict[str, tuple[bytes, str]]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[Request] = []
        self.token_scopes: dict[str, set[str]] = {}
        self.misdeeds: list[Misdeed] = []
        self.lock = threading.RLock()
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        registry: FakeRegistry = self

        class Handler(_Handler):
            fake = registry

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.close_all()
        self._server.server_close()

    def misbehave(self, pattern: str, **what: Any) -> None:
        """Let requests like ``GET */blobs/*`` go wrong; the newest rule wins. See ``Misdeed``."""
        self.misdeeds.insert(0, Misdeed(pattern, **what))

    def heal(self) -> None:
        """Behave."""
        self.misdeeds.clear()

    def expire_tokens(self) -> None:
        """Let no token count any more that was given out."""
        with self.lock:
            self.token_scopes.clear()

    def asked(self, pattern: str) -> list[Request]:
        """Return the requests whose ``METHOD path status`` matches."""
        with self.lock:
            return [request for request in self.requests if fnmatch.fnmatchcase(str(request), pattern)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any):
        self.open_sockets: set[socket.socket] = set()
        super().__init__(*arguments)

    def get_request(self) -> Any:
        connection, address = super().get_request()
        self.open_sockets.add(connection)
        return connection, address

    def close_all(self) -> None:
        for connection in list(self.open_sockets):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections are broken on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: FakeRegistry

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    # -- frame -----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        fake = self.fake
        self.request_line = Request(
            self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, client=self.client_address[1]
        )
        with fake.lock:
            fake.requests.append(self.request_line)
            self.misdeed = self._misdeed()
        if self.misdeed.delay_s:
            fake.stopping.wait(self.misdeed.delay_s)
        if self.misdeed.hang and self.misdeed.truncate is None:
            fake.stopping.wait()
            self.close_connection = True
            return
        if self.misdeed.status is not None:
            self._read_all()
            self._answer(self.misdeed.status, self.misdeed.body or b"", self.misdeed.headers)
            return
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if parts.path == "/token":
            self._token(parts.query)
        elif not self._is_allowed(parts.path):
            self._read_all()
        else:
            self._route(parts.path)

    def _misdeed(self) -> Misdeed:
        line = f"{self.command} {self.path}"
        for rule in self.fake.misdeeds:
            if rule.times != 0 and fnmatch.fnmatchcase(line, rule.pattern):
                if rule.times is not None:
                    rule.times -= 1
                return rule
        return Misdeed("")

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, length: int | None = None
    ) -> None:
        self.request_line.status = status
        misdeed = self.misdeed
        if misdeed.lose_answer:
            self._reset()
            return
        if misdeed.body is not None:
            body = misdeed.body
        if misdeed.flip is not None and body:
            changed = bytearray(body)
            changed[misdeed.flip] ^= 1
            body = bytes(changed)
        self.send_response(status)
        for name, value in {**(headers or {}), **(misdeed.headers if misdeed.status is None else {})}.items():
            if name.lower() not in misdeed.drop_headers:
                self.send_header(name, value)
        if misdeed.unsized:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if misdeed.truncate is not None:
            self.wfile.write(body[: misdeed.truncate])
            self.wfile.flush()
            if misdeed.hang:
                self.fake.stopping.wait()
            self.close_connection = True
            return
        self.wfile.write(body)

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
        self._answer(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        self.rfile.close()

    def _read_all(self, into: bytearray | None = None) -> bool:
        """Read the request's body; return False if the connection was reset in the midst of it."""
        left = int(self.headers.get("Content-Length") or 0)
        keep = self.misdeed.lose_after if self.misdeed.lose_after is not None else left
        while left:
            piece = self.rfile.read(min(left, 1 << 16, keep) or 1)
            if not piece:
                self.close_connection = True
                return False
            if not keep:
                self._reset()
                return False
            left -= len(piece)
            keep -= len(piece)
            self.request_line.received += len(piece)
            if into is not None:
                with self.fake.lock:
                    into += piece
        return True

    # -- login -----------------------------------------------------------------------------------------------------

    def _token(self, query: str) -> None:
        fake = self.fake
        body = bytearray()
        self._read_all(body)
        form = parse_qs(body.decode())
        if self.command == "POST":
            accepted = form.get("refresh_token") == [f"identity-{fake.user}"]
            scopes = form.get("scope", [""])[0].split(" ")
        else:
            wanted = base64.b64encode(f"{fake.user}:{fake.password}".encode()).decode()
            accepted = not fake.user or self.headers.get("Authorization") == f"Basic {wanted}"
            scopes = parse_qs(query).get("scope", [])
        if not accepted:
            self._error(401, "UNAUTHORIZED")
            return
        token = secrets.token_hex(8)
        granted = {
            f"{name}:{action}" for scope in scopes for _, name, actions in [scope.split(":")] for action in actions.split(",")
        }
        with fake.lock:
            fake.token_scopes[token] = granted
        document = {"token": token} if fake.life_s is None else {"token": token, "expires_in": fake.life_s}
        self._answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _is_allowed(self, path: str) -> bool:
        fake = self.fake
        if not fake.tokens:
            return True
        match = re.match(r"/v2/(.+?)/(blobs|manifests|tags|referrers)/", path)
        name = match[1] if match else ""
        action = "pull" if self.command in ("GET", "HEAD") and "/uploads/" not in path else "push"
        with fake.lock:
            granted = fake.token_scopes.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if granted is not None and (not name or f"{name}:{action}" in granted):
            return True
        realm = fake.realm or f"{fake.url}/token"
        challenge = f'Bearer realm="{realm}",service="fake",scope="repository:{name}:pull,push"'
        self._error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return False

    # -- the specification -----------------------------------------------------------------------------------------

    def _route(self, path: str) -> None:
        if path == "/v2/":
            self._answer(200, b"{}")
        elif match := _UPLOAD.fullmatch(path):
            self._upload(match[1], match[2])
        elif match := _BLOB.fullmatch(path):
            self._blob(match[1], match[2])
        elif match := _MANIFEST.fullmatch(path):
            self._manifest(match[1], match[2])
        elif match := _TAGS.fullmatch(path):
            self._tags(match[1])
        elif (match := _REFERRERS.fullmatch(path)) and self.fake.referrers:
            self._referrers(match[1], match[2])
        else:
            self._read_all()
            self._answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})

    def _blob(self, name: str, digest: str) -> None:
        content = self.fake.blobs.get(name, {}).get(digest)
        if content is None:
            self._error(404, "BLOB_UNKNOWN")
            return
        if self.command == "HEAD":
            self._answer(200, length=len(content))
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.fake.ranges:
            start = int(asked[1])
            if start >= len(content):
                self._error(416, "RANGE_INVALID")
                return
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._answer(206, content[start:], {"Content-Range": span})
            return
        self._answer(200, content)

    def _upload(self, name: str, number: str) -> None:
        fake = self.fake
        if self.command == "POST":
            self._read_all()
            mount, origin = self.query.get("mount", ""), self.query.get("from", "")
            if fake.mounts and mount and mount in fake.blobs.get(origin, {}):
                with fake.lock:
                    fake.blobs.setdefault(name, {})[mount] = fake.blobs[origin][mount]
                self._answer(201, headers={"Location": f"/v2/{name}/blobs/{mount}"})
                return
            number = secrets.token_hex(6)
            fake.uploads[number] = bytearray()
            self._answer(202, headers=self._where(name, number))
            return
        upload = fake.uploads.get(number)
        if upload is None:
            self._read_all()
            self._error(404, "BLOB_UPLOAD_UNKNOWN")
        elif self.command == "GET":
            self._answer(204, headers=self._where(name, number))
        elif self.command == "DELETE":
            del fake.uploads[number]
            self._answer(204)
        elif self.command == "PATCH":
            start = self.headers.get("Content-Range", "0-").partition("-")[0]
            if int(start) != len(upload):
                self._read_all()
                self._error(416, "RANGE_INVALID", self._where(name, number))
            elif self._read_all(upload):
                self._answer(202, headers=self._where(name, number))
        elif self._read_all(upload):
            digest = self.query.get("digest", "")
            del fake.uploads[number]
            if digest != f"sha256:{hashlib.sha256(upload).hexdigest()}":
                self._error(400, "DIGEST_INVALID")
                return
            with fake.lock:
                fake.blobs.setdefault(name, {})[digest] = bytes(upload)
            self._answer(201, headers={"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _where(self, name: str, number: str) -> dict[str, str]:
        size = len(self.fake.uploads[number])
        return {"Location": f"/v2/{name}/blobs/uploads/{number}?state=x", "Range": f"0-{max(size - 1, 0)}"}

    def _manifest(self, name: str, reference: str) -> None:
        fake = self.fake
        if self.command == "PUT":
            body = bytearray()
            if self._read_all(body):
                self._put_manifest(name, reference, bytes(body))
            return
        found = fake.manifests.get(name, {}).get(reference)
        if found is None:
            self._error(404, "MANIFEST_UNKNOWN" if name in fake.manifests else "NAME_UNKNOWN")
            return
        content, kind = found
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._answer(200, content, {"Content-Type": kind, "Docker-Content-Digest": digest})

    def _put_manifest(self, name: str, reference: str, content: bytes) -> None:
        fake = self.fake
        document = json.loads(content)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        known = fake.manifests.get(name, {}) if "manifests" in document else fake.blobs.get(name, {})
        needs = document["manifests"] if "manifests" in document else [document["config"], *document["layers"]]
        if any(need["digest"] not in known for need in needs):
            self._error(404, "MANIFEST_BLOB_UNKNOWN")
            return
        with fake.lock:
            mine = fake.manifests.setdefault(name, {})
            mine[digest] = mine[reference] = (content, self.headers["Content-Type"])
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        if fake.referrers and "subject" in document:
            headers["OCI-Subject"] = document["subject"]["digest"]
        self._answer(201, headers=headers)

    def _tags(self, name: str) -> None:
        known = self.fake.manifests.get(name)
        if known is None:
            self._error(404, "NAME_UNKNOWN")
            return
        tags = sorted(tag for tag in known if not tag.startswith("sha256:") and tag > self.query.get("last", ""))
        page = tags[: self.fake.page]
        headers = {"Content-Type": "application/json"}
        if len(page) < len(tags):
            headers["Link"] = f'</v2/{name}/tags/list?n={self.fake.page}&last={page[-1]}>; rel="next"'
        self._answer(200, json.dumps({"name": name, "tags": page}).encode(), headers)

    def _referrers(self, name: str, digest: str) -> None:
        found = []
        for reference, (content, kind) in self.fake.manifests.get(name, {}).items():
            document = json.loads(content)
            if reference.startswith("sha256:") and document.get("subject", {}).get("digest") == digest:
                found.append({"mediaType": kind, "digest": reference, "size": len(content),
                              "artifactType": document.get("artifactType", "")})  # fmt: skip
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found}
        self._answer(200, json.dumps(index).encode(), {"Content-Type": str(index["mediaType"])})
