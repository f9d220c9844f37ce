"""A scoring server that runs: started from its source as Wardian starts it, asked over plain sockets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from wardian.serving.server_wheel import SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; the headers' names are in lower case, as (name, value)."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header that comes once at most."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """One connection: bytes out, answers in."""

    def __init__(self, where: tuple[str, int] | str):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
        self.socket.settimeout(_PATIENCE_S)
        try:
            self.socket.connect(where)
        except OSError:
            self.socket.close()
            raise
        self._pending = b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def ask(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and return its answer."""
        named = {"host": "localhost", **(headers or {})}
        if (body or method == "POST") and "transfer-encoding" not in named:
            named.setdefault("content-length", str(len(body)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body)
        return self.read(head_only=method == "HEAD")

    def read(self, *, head_only: bool = False) -> Answer:
        """Return the next answer. Raises ConnectionError if there is none."""
        while b"\r\n\r\n" not in self._pending:
            self._more()
        head, _, rest = self._pending.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = tuple((n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines))
        status = int(first.split(" ")[1])
        self._pending = rest
        named = dict(pairs)
        body = b""
        if not head_only and status >= 200:
            if "content-length" in named:
                size = int(named["content-length"])
                while len(self._pending) < size:
                    self._more()
                body, self._pending = self._pending[:size], self._pending[size:]
            elif named.get("connection") == "close":
                with contextlib.suppress(ConnectionError):
                    while True:
                        self._more()
                body, self._pending = self._pending, b""
        return Answer(status, pairs, body)

    def is_closed(self) -> bool:
        """Wait until the server closes; False if it sends something instead."""
        if self._pending:
            return False
        try:
            return not self.socket.recv(1)
        except ConnectionError:
            return True

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server has closed the connection")
        self._pending += data


class ScoringServer:
    """Starts a server for ``script`` (its text) in ``directory`` and waits until it is ready, or has failed.

    Options are fields of the server's configuration. ``python``: another environment's interpreter.
    """

    def __init__(
        self,
        directory: Path,
        script: str | None = None,
        *,
        python: str | Path = sys.executable,
        variables: Mapping[str, str] | None = None,
        wait: bool = True,
        pass_fds: tuple[int, ...] = (),
        **options: Any,
    ):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log_path = directory / "server.log"
        self.ready_path = directory / "ready.json"
        if script is not None:
            (directory / "score.py").write_text(script)
            options.setdefault("entry", "score.py")
        config = {
            "source": str(directory),
            "listen": {"host": "127.0.0.1", "port": 0},
            "ready": str(self.ready_path),
            **options,
        }
        (directory / "config.json").write_text(json.dumps(config))
        self.ready_path.unlink(missing_ok=True)
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("AZUREML", "AML_", "WARDIAN_SERVE"))
        }
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [str(python), str(SOURCE / "__main__.py"), "--config", str(directory / "config.json")],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=directory, pass_fds=pass_fds,
                env={**environ, "PYTHONDONTWRITEBYTECODE": "1", **(variables or {})},
            )  # fmt: skip
        self.mark: dict[str, Any] = {}
        if wait:
            try:
                self.wait_for_mark()
            except BaseException:
                self.kill()
                raise

    def wait_for_mark(self) -> dict[str, Any]:
        """Wait for the ready mark and return it."""
        until = time.monotonic() + _PATIENCE_S
        while not self.ready_path.exists():
            assert self.process.poll() is None or self.ready_path.exists(), (
                f"the server has ended:\n{self.log_path.read_text()}"
            )
            assert time.monotonic() < until, f"the server is not ready:\n{self.log_path.read_text()}"
            time.sleep(0.005)
        self.mark = json.loads(self.ready_path.read_text())
        return self.mark

    @property
    def port(self) -> int:
        """Its port on loopback."""
        return int(self.mark["port"])

    def client(self) -> Client:
        """Open a connection."""
        return Client(("127.0.0.1", self.port))

    def ask(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Ask once, on a connection of its own."""
        with self.client() as client:
            return client.ask(method, target, body, headers)

    def score(self, body: bytes | str, headers: Mapping[str, str] | None = None) -> Answer:
        """POST ``body`` to /score."""
        data = body.encode() if isinstance(body, str) else body
        return self.ask("POST", "/score", data, {"content-type": "application/json", **(headers or {})})

    def log_lines(self) -> list[dict[str, Any]]:
        """What is logged so far; lines that are not JSON have ``{"raw"}``."""
        lines = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                lines.append(dict(json.loads(line)))
            except ValueError:
                lines.append({"raw": line})
        return lines

    def wait_for_log(self, **wanted: Any) -> dict[str, Any]:
        """Wait until a line has these values, and return it; texts only have to be within."""

        def fits(line: dict[str, Any]) -> bool:
            return all(
                value in line.get(name, "")
                if isinstance(value, str) and isinstance(line.get(name), str)
                else line.get(name) == value
                for name, value in wanted.items()
            )

        until = time.monotonic() + _PATIENCE_S
        while True:
            for line in self.log_lines():
                if fits(line):
                    return line
            assert time.monotonic() < until, f"no line of the log has {wanted}:\n{self.log_path.read_text()}"
            time.sleep(0.01)

    def stop(self) -> int:
        """Drain and wait for the end; return the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
