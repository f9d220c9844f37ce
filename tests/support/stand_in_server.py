"""A server that speaks the contract of the scoring server, with nothing but the standard library: `python stand_in_server.py --config FILE`.

It answers POST /score with its process, deployment and body. Variables say how it misbehaves: STAND_IN_INIT=fail|hang|exit,
STAND_IN_SLOW_S=seconds for each request; a body ``die`` ends it in the midst of the request.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


def main() -> None:
    config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    ready = Path(config["ready"])
    draining = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: draining.set())
    listener = socket.socket(fileno=config["listen"]["fd"])
    counts = {"served": 0}
    threading.Thread(target=control, args=(config["control"], listener, counts), daemon=True).start()
    how = os.environ.get("STAND_IN_INIT")
    if how == "exit":
        os._exit(7)
    if how == "hang":
        time.sleep(3600)
    if how == "fail":
        try:
            raise ValueError("the model is of another kind")
        except ValueError as error:
            sys.excepthook(*sys.exc_info())
            put(ready, {"error": f"init() failed: ValueError: {error}"})
            sys.exit(1)
    put(ready, {"pid": os.getpid(), "port": listener.getsockname()[1]})
    serve(listener, config, draining, counts)


def serve(listener: socket.socket, config: dict[str, Any], draining: threading.Event, counts: dict[str, int]) -> None:
    threads = []
    accepting = listener.dup()
    accepting.setblocking(False)
    while True:
        try:
            connection, _ = accepting.accept()
        except BlockingIOError:
            if draining.is_set():
                break
            time.sleep(0.001)
            continue
        connection.setblocking(True)
        thread = threading.Thread(target=Handler, args=(connection, config, draining, counts), daemon=True)
        thread.start()
        threads.append(thread)
    deadline = time.monotonic() + config["drain_s"]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(
        self, connection: socket.socket, config: dict[str, Any], draining: threading.Event, counts: dict[str, int]
    ) -> None:
        self.config, self.draining, self.counts = config, draining, counts
        connection.settimeout(config["drain_s"])
        with contextlib.suppress(OSError):
            super().__init__(connection, connection.getpeername(), None)  # type: ignore[arg-type]
        connection.close()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(float(os.environ.get("STAND_IN_SLOW_S", "0")))
        if body == b"die":
            os._exit(9)
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        known = self.config["keys"]
        if known and hashlib.sha256(key.encode()).hexdigest() not in known:
            self.answer(401, {"error": "a key is needed"})
            return
        self.counts["served"] += 1
        self.answer(
            200,
            {
                "pid": os.getpid(),
                "deployment": self.config["deployment"],
                "body": body.decode(),
                "greeting": os.environ.get("GREETING"),
            },
        )

    def do_GET(self) -> None:
        self.answer(200, {"pid": os.getpid(), "deployment": self.config["deployment"]})

    def answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.draining.is_set():
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def control(path: str, listener: socket.socket, counts: dict[str, int]) -> None:
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(8)
    while True:
        line, _ = server.accept()
        with line, contextlib.suppress(OSError, ValueError):
            question = json.loads(line.makefile().readline())
            if question["op"] == "listener":
                descriptor = array.array("i", [listener.fileno()])
                line.sendmsg([b"{}\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])
            else:
                line.sendall(json.dumps({"ready": True, "workers": 1, "in_flight": 0, "failed": 0, **counts}).encode() + b"\n")


def put(path: Path, document: object) -> None:
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(document))
    partial.rename(path)


if __name__ == "__main__":
    main()
