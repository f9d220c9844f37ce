"""uvicorn, as far as it accepts connections for us; and the end of the server: drained, so that no request is lost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket

    from .front import Front


class Server:
    """Accepts connections on ``listener``. ``shared``: others accept on it too, so what waits there is theirs as well."""

    def __init__(self, front: Front, listener: socket.socket, *, shared: bool):
        self._front = front
        self._listener = listener
        self._shared = shared
        self._opened = False
        self.stopped = asyncio.Event()
        config = uvicorn.Config(
            front._application, http=front.connect, ws="none", lifespan="off", log_config=None, access_log=False,  # type: ignore[arg-type]
            backlog=2048,
        )  # fmt: skip
        config.load()
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.lifespan = config.lifespan_class(config)

    async def open(self) -> None:
        """Accept connections from now on."""
        self._listener.setblocking(False)
        self._opened = True
        await self._uvicorn.startup(sockets=[self._listener.dup()])

    def stop(self) -> None:
        """Ask for the end: on a signal."""
        self.stopped.set()

    async def drain(self, limit_s: float, idle_s: float) -> None:
        """Stop accepting, answer what is open, and return when all is answered, or after ``limit_s``.

        Connections that ask nothing are given ``idle_s`` for one more request: their clients may just be sending it.
        """
        self._front.draining = True
        if self._opened:
            for server in self._uvicorn.servers:
                server.close()
            if not self._shared:
                await self._accept_the_rest()
        self._listener.close()
        started = time.monotonic()
        while self._front.connections and time.monotonic() - started < limit_s:
            if time.monotonic() - started > min(idle_s, limit_s):
                for connection in [c for c in self._front.connections if c.is_idle]:
                    connection.transport.close()
            await asyncio.sleep(0.01)
        for connection in list(self._front.connections):
            connection.transport.close()

    async def _accept_the_rest(self) -> None:
        """Take in the connections that the kernel has already accepted for us: closing the socket would reset them."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._front.connect, connection)
