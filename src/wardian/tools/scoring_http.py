"""Requests to a scoring server of this machine. Wraps urllib3 (ADR 0007)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardian.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class ScoringConnection:
    """One connection that is kept; not for several threads. No proxy stands between.

    Args:     url: ``http://HOST:PORT``.  timeout_s: for one answer; None: as long as it takes.
    """

    def __init__(self, url: str, *, timeout_s: float | None = None) -> None:
        import urllib3

        self._pool: urllib3.HTTPConnectionPool = urllib3.connection_from_url(
            url, maxsize=1, timeout=urllib3.Timeout(connect=10.0, read=timeout_s)
        )

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send ``body`` once, and return the answer.

        Raises:   Unavailable: ``no_answer``: nobody is there, or the connection broke off; ``answer_timeout``.
        """
        import urllib3

        try:
            found = self._pool.request("POST", path, body=body, headers=headers, retries=False, redirect=False)
        except urllib3.exceptions.NewConnectionError as error:
            raise Unavailable(f"nobody answers at {self._pool.host}:{self._pool.port}", code="no_answer") from error
        except urllib3.exceptions.TimeoutError as error:
            raise Unavailable(f"{self._pool.host}:{self._pool.port} does not answer in time", code="answer_timeout") from error
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"{self._pool.host}:{self._pool.port} does not answer: {error}", code="no_answer") from error
        return Answer(found.status, found.data, dict(found.headers))

    def close(self) -> None:
        """Close it."""
        self._pool.close()
