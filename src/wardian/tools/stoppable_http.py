"""Connections of requests that end when the thread that uses them is told to stop."""

from __future__ import annotations

from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from wardian.tools.stopping import check_stopping, talks_over


class _Connection(HTTPConnection):
    def _new_conn(self) -> Any:  # connected, before TLS
        check_stopping()
        made = super()._new_conn()
        talks_over(made)
        return made

    def putrequest(self, *arguments: Any, **options: Any) -> Any:
        if self.sock is not None:  # kept from an earlier request
            talks_over(self.sock)
        return super().putrequest(*arguments, **options)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> Any:
        check_stopping()
        made = super()._new_conn()
        talks_over(made)
        return made

    def connect(self) -> None:
        super().connect()
        talks_over(self.sock)

    def putrequest(self, *arguments: Any, **options: Any) -> Any:
        if self.sock is not None:
            talks_over(self.sock)
        return super().putrequest(*arguments, **options)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class StoppableAdapter(HTTPAdapter):
    """An adapter whose connections know the thread that uses them (``wardian.tools.stopping``)."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools; see ``HTTPAdapter``."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pools that go through ``proxy``; see ``HTTPAdapter``."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
