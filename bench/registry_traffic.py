"""A relay that counts the bytes to and from a registry."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

_PIECE = 1 << 18


class CountingRelay:
    """Relays from a free port to ``target`` (``HOST:PORT``); ``host`` is its own address.

    Attributes:
        sent_bytes: towards the registry, requests and all.  received_bytes: from it.
    """

    def __init__(self, target: str):
        name, _, port = target.partition(":")
        self._target = (name, int(port))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.sent_bytes = 0
        self.received_bytes = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            left = [self._listener, *self._open]
        for one in left:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            pair = {client, server}
            for one in pair:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= pair
            back = threading.Thread(target=self._relay, args=(server, client, "received_bytes"), daemon=True)
            back.start()
            self._relay(client, server, "sent_bytes")
            back.join()
            with self._lock:
                self._open -= pair

    def _relay(self, source: socket.socket, target: socket.socket, counter: str) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                with self._lock:
                    setattr(self, counter, getattr(self, counter) + len(piece))
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
