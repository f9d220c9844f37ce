"""HTTP through a socket in the file system, for requests."""

from __future__ import annotations

import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

_CONNECT_S = 10.0


class UnixAdapter(HTTPAdapter):
    """An adapter whose connections all go to the socket ``path``; proxies have no part in them."""

    def __init__(self, path: str):
        super().__init__(max_retries=0)

        class Connection(HTTPConnection):
            def _new_conn(self) -> Any:
                made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                made.settimeout(_CONNECT_S)
                try:
                    made.connect(path)
                except BaseException:
                    made.close()
                    raise
                return made

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self._pool = Pool("localhost")

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        """Return the one pool; older releases of requests call ``get_connection``."""
        return self._pool

    get_connection = get_connection_with_tls_context

    def request_url(self, request: Any, proxies: Any) -> Any:  # noqa: ARG002 - what requests passes
        """Return what is asked for: never a proxy's."""
        return request.path_url

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
