"""A TCP relay that resets a connection after so many bytes towards the server. No pytest in here."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self

_PIECE = 1 << 16
_LINGER_NOT = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Relays from a free port to ``target`` (``HOST:PORT``); ``host`` is its own address.

    Args:     cuts: the first connections that carry so many bytes towards the server are reset then, one for each.
    """

    def __init__(self, target: str, cuts: list[int]):
        name, _, port = target.partition(":")
        self._target = (name, int(port))
        self.cuts = list(cuts)
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                threading.Thread(target=self._relay, args=(server, client), daemon=True).start()
                threading.Thread(target=self._upwards, args=(client, server), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def _upwards(self, client: socket.socket, server: socket.socket) -> None:
        done = 0
        with contextlib.suppress(OSError):
            while piece := client.recv(_PIECE):
                with self._lock:
                    if self.cuts and done + len(piece) > self.cuts[0]:
                        server.sendall(piece[: self.cuts.pop(0) - done])
                        for one in (client, server):
                            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                            one.close()
                        return
                done += len(piece)
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)
