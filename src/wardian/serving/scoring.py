"""Asks an endpoint, and makes of what it answers a value or an error."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from wardian.errors import Denied, InvalidInput, RunFailed, Unavailable
from wardian.tools.scoring_http import ScoringConnection

if TYPE_CHECKING:
    from wardian.tools.scoring_http import Answer

_SHOWN = 2000
_LONGEST_S = 10 * 86_400.0
_KEY = re.compile(r"[!-~]+")


def score(url: str, data: Any, *, name: str, key: str | None = None, timeout_s: float | None = None) -> Any:
    """Return what the server of the endpoint ``name`` at ``url`` answers to ``data``; see ``Endpoint.score``."""
    if timeout_s is not None and not 0 < timeout_s < _LONGEST_S:
        raise InvalidInput(f"the timeout is {timeout_s:g} s: it must be more than 0 and less than ten days", code="bad_timeout")
    body, kind = encoded(data)
    connection = ScoringConnection(url, timeout_s=timeout_s)
    try:
        return value_of(connection.post("/score", body, headers_for(key, kind)), name)
    finally:
        connection.close()


def headers_for(key: str | None, kind: str = "application/json") -> dict[str, str]:
    """Return what goes with a request.

    Raises:   InvalidInput: ``bad_key``: a key that no request can carry.
    """
    if key and not _KEY.fullmatch(key):
        raise InvalidInput("the API key holds white space or characters that no key has", code="bad_key",
                           hint="give it as it was shown: letters, digits, `-` and `_`")  # fmt: skip
    return {"Content-Type": kind, **({"Authorization": f"Bearer {key}"} if key else {})}


def encoded(data: Any) -> tuple[bytes, str]:
    """Return ``data`` as the body of a request, and its type.

    Raises:   InvalidInput: ``not_json``.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), "application/octet-stream"
    try:
        return json.dumps(data, default=_plain, allow_nan=False).encode(), "application/json"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"this cannot be sent as JSON: {error}", code="not_json", hint="give plain values, or bytes"
        ) from error


def value_of(answer: Answer, name: str) -> Any:
    """Return the value that an answer holds: of JSON plain values, else bytes.

    Raises:   Denied, InvalidInput, Unavailable, RunFailed: as its status says.
    """
    is_json = answer.headers.get("Content-Type", answer.headers.get("content-type", "")).startswith("application/json")
    if answer.status < 300:  # noqa: PLR2004
        if not is_json:
            return answer.body
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            return answer.body
    said = " ".join(answer.body[:_SHOWN].decode("utf-8", "replace").split()) or "it says nothing"
    details = {"status": answer.status}
    message = f"the endpoint answers with status {answer.status}: {said}"
    if answer.status in (401, 403):
        raise Denied(message, code="key_refused", details=details,
                     hint=f"give the key that was shown when it was deployed: `--key`, or WARDIAN_ENDPOINT_KEY; `wardian endpoint key rotate {name}` makes another")  # fmt: skip
    if answer.status in (429, 503):
        raise Unavailable(message, code="endpoint_busy", details=details)
    if answer.status < 500:  # noqa: PLR2004
        raise InvalidInput(message, code="request_refused", details=details)
    raise RunFailed(message, code="scoring_failed", details=details, hint=f"`wardian endpoint logs {name}` has the traceback")


def _plain(value: Any) -> Any:
    """Return arrays, series and frames as lists."""
    for method in ("tolist", "to_list"):
        if callable(made := getattr(value, method, None)):
            return made()
    if callable(frame := getattr(value, "to_numpy", None)):
        return frame().tolist()
    raise TypeError(f"`{type(value).__name__}` is no plain value")
