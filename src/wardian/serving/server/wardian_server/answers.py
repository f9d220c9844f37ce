"""What ``run()`` returned, as the parts of an answer."""

from __future__ import annotations

import json
import re
from typing import Any

from . import aml, frames

UNEXPECTED = "An unexpected error occurred in scoring script. Check the logs for more info."
INTERNAL = "An unexpected internal error occurred. Check the logs for more info."
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    ("connection", "content-length", "date", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
_MAX_HEADERS_BYTES = 64 * 1024


class BadAnswer(Exception):
    """The result of ``run()`` cannot be sent; the message says why, for the log."""


def error_body(message: str) -> bytes:
    """The body of every error: ``{"message": …}``."""
    return json.dumps({"message": message}).encode()


def body_of(result: Any) -> bytes:
    """Return ``result`` as JSON; nothing (None) is ``{}``.

    Raises:   BadAnswer: JSON cannot say it
    """
    if result is None:
        return b"{}"
    try:
        return json.dumps(result).encode()
    except (TypeError, ValueError, RecursionError) as error:
        hint = "; return its .tolist()" if hasattr(result, "tolist") else ""
        raise BadAnswer(f"run() returned {type(result).__name__}, which JSON cannot say: {error}{hint}") from None


def is_response(result: Any) -> bool:
    """Is ``result`` an ``AMLResponse`` (ours or the environment's) or one of Flask?"""
    return isinstance(result, aml.AMLResponse) or (
        hasattr(result, "status_code") and hasattr(result, "headers") and callable(getattr(result, "get_data", None))
    )


def parts_of(response: Any) -> tuple[int, int, bytes, bytes]:
    """Return (status, flags, header lines, body) of a response.

    Raises:   BadAnswer: its status or a header is impossible
    """
    status = response.status_code
    if not isinstance(status, int) or not 200 <= status <= 599:  # noqa: PLR2004 - final statuses
        raise BadAnswer(f"run() answered with the status {status!r}")
    pairs = response.headers if isinstance(response.headers, list) else response.headers.items()
    lines, flags = [], frames.OWN_FAILED
    for name, value in pairs:
        text = str(value)
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(text):
            raise BadAnswer(f"run() answered with the header {name!r}: {text!r}, which HTTP cannot say")
        low = name.lower()
        if low == "x-ms-run-function-failed":
            flags |= frames.RUN_FAILED if text == "True" or status >= 500 else 0  # noqa: PLR2004 - server errors
            text = "True" if flags & frames.RUN_FAILED else text
        if low not in _OURS:
            lines.append(f"{name}: {text}\r\n")
    if status >= 500 and not flags & frames.RUN_FAILED:  # noqa: PLR2004 - server errors
        flags |= frames.RUN_FAILED
        lines.append("x-ms-run-function-failed: True\r\n")
    meta = "".join(lines).encode("latin-1")
    if len(meta) > _MAX_HEADERS_BYTES:
        raise BadAnswer(f"run() answered with {len(meta)} bytes of headers, more than {_MAX_HEADERS_BYTES}")
    body = response.get_data()
    return status, flags, meta, bytes(body)


def jsonable(value: Any) -> Any:
    """Return predictions as JSON has them: arrays as lists, tables as lists of rows by name, times in ISO 8601."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return getattr(value, "item", lambda: value)()  # numpy's float64 is a float
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return [{str(name): jsonable(one) for name, one in row.items()} for row in value.to_dict(orient="records")]
    if hasattr(value, "toarray"):  # a sparse matrix
        value = value.toarray()
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, dict):
        return {str(name): jsonable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [jsonable(one) for one in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if callable(getattr(value, "model_dump", None)):  # pydantic
        return value.model_dump(mode="json")
    if hasattr(value, "__dataclass_fields__"):
        return {name: jsonable(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
