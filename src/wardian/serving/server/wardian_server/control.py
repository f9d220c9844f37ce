"""The control socket: gives the listening socket to whoever may open it, tells how the server is, and takes its owner's key.

One JSON line asks, one JSON line answers: ``{"op": "status"}`` → ``{"ready", "workers", "in_flight", "waiting", "served",
"failed", "draining"}``; ``{"op": "listener"}`` → ``{"ok": true}`` with the listening socket as ancillary data (SCM_RIGHTS); ``{"op": "owner", "sha256": HEX}`` →
``{"ok": true}``: a key of this digest is accepted from now on, beside those of the configuration, until there is another owner.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from typing import Any, Callable

_TIMEOUT_S = 5.0
_MAX_LINE_BYTES = 4096
_DIGEST_BYTES = 32


class Control:
    """Answers on the unix socket ``path``, in a thread of its own, until ``close``."""

    def __init__(
        self, path: str, listener: socket.socket, status: Callable[[], dict[str, Any]], accept: Callable[[bytes], None]
    ):
        self._path = path
        self._accept = accept
        self._listener = listener.dup()
        self._status = status
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _remove(path)
        old = os.umask(0o177)
        try:
            self._socket.bind(path)
        finally:
            os.umask(old)
        self._socket.listen(8)
        threading.Thread(target=self._serve, name="control", daemon=True).start()

    def close(self) -> None:
        """Stop answering, and remove the socket."""
        _remove(self._path)
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(_TIMEOUT_S)
                try:
                    self._answer(connection)
                except (OSError, ValueError, TypeError):  # its other side is gone, or asks nonsense
                    continue

    def _answer(self, connection: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
            data = connection.recv(_MAX_LINE_BYTES)
            if not data:
                return
            line += data
        asked = json.loads(line)
        op = asked.get("op") if isinstance(asked, dict) else None
        if op == "listener":
            socket.send_fds(connection, [b'{"ok": true}\n'], [self._listener.fileno()])
        elif op == "status":
            connection.sendall(json.dumps(self._status()).encode() + b"\n")
        elif op == "owner":
            digest = bytes.fromhex(asked.get("sha256") or "")
            if len(digest) != _DIGEST_BYTES:
                raise ValueError("no sha256")
            self._accept(digest)
            connection.sendall(b'{"ok": true}\n')
        else:
            connection.sendall(b'{"error": "op is listener, status or owner"}\n')


def _remove(path: str) -> None:
    """Remove what is left of an earlier socket; anything else stays, and binding fails."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
