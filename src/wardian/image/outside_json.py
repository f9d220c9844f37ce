"""JSON that comes from outside, read so that whatever it holds can be shown, written and passed on.

Whoever pushes to a registry decides what is in it: a document may be nested without end, hold half of a character that no output takes,
or a text where there should be a list. Readers ask here for what they need, and every fault names its field.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import InvalidDigest

if TYPE_CHECKING:
    from collections.abc import Mapping

DEEPEST = 64
_HALF = re.compile(r"[\ud800-\udfff]")
_HALF_WRITTEN = re.compile(rb"\\u[dD][89a-fA-F]")
_NAMES = {dict: "an object", list: "a list", str: "a text", int: "a number", bool: "true or false"}


class WrongJson(ValueError):
    """A document from outside is none, or holds something that it must not; the message names the field."""


def read_json(content: bytes) -> Any:
    """Return the document that ``content`` is.

    Raises:   WrongJson: it is not UTF-8 or not JSON, is nested more than ``DEEPEST`` deep, or holds a lone surrogate.
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise WrongJson("it is not UTF-8") from error
    except ValueError as error:
        raise WrongJson(f"this is not JSON: {str(error)[:200]}") from error
    except RecursionError as error:
        raise WrongJson("it is nested too deeply") from error
    _check(document, texts=_HALF_WRITTEN.search(content) is not None)
    return document


def read_object(content: bytes) -> dict[str, Any]:
    """Return the object that ``content`` is.

    Raises:   WrongJson.
    """
    document = read_json(content)
    if not isinstance(document, dict):
        raise WrongJson("this is not a JSON object")
    return document


def object_in(document: Mapping[str, Any], key: str, path: str = "") -> dict[str, Any]:
    """Return the object that stands at ``key``; empty: there is none, or it is null. ``path``: of ``document``, for messages."""
    return _get(document, key, path, dict) or {}


def list_in(document: Mapping[str, Any], key: str, path: str = "") -> list[Any]:
    """Return the list that stands at ``key``; empty: there is none, or it is null."""
    return _get(document, key, path, list) or []


def text_in(document: Mapping[str, Any], key: str, path: str = "") -> str:
    """Return the text that stands at ``key``; empty: there is none, or it is null. No text has a NUL."""
    return _text(_get(document, key, path, str) or "", _at(path, key))


def texts_in(document: Mapping[str, Any], key: str, path: str = "") -> tuple[str, ...]:
    """Return the list of texts that stands at ``key``."""
    found = list_in(document, key, path)
    return tuple(_text(item, f"{_at(path, key)}[{number}]") for number, item in enumerate(found))


def pairs_in(document: Mapping[str, Any], key: str, path: str = "") -> dict[str, str]:
    """Return the object of texts that stands at ``key``; null is an empty text."""
    found = object_in(document, key, path)
    return {name: _text("" if item is None else item, _at(_at(path, key), name)) for name, item in found.items()}


def digest_in(value: Any, path: str) -> Digest:
    """Return the sha256 digest that stands at ``path``.

    Raises:   WrongJson: it is none.
    """
    try:
        return Digest(value)
    except (InvalidDigest, AttributeError, TypeError) as error:
        raise WrongJson(f"`{path[:120]}` is no sha256 digest: {shown(value)}") from error


def refuse_floats(value: Any, path: str = "") -> None:
    """Make sure that ``value`` can be written as canonical JSON.

    Raises:   WrongJson: a number in it is no integer.
    """
    for below, item in _items(value):
        here = _below(path, below)
        if isinstance(item, float):
            raise WrongJson(f"`{here[:120]}` is {item!r}, and images have no numbers but integers")
        refuse_floats(item, here)


def shown(value: Any) -> str:
    """Return a value for a message: what it is, briefly."""
    return (
        f"`{value[:80]}`"
        if isinstance(value, str)
        else next((n for kind, n in _NAMES.items() if type(value) is kind), repr(value)[:40])
    )


def _get(document: Mapping[str, Any], key: str, path: str, kind: type) -> Any:
    value = document.get(key)
    if value is not None and not isinstance(value, kind):
        raise WrongJson(f"`{_at(path, key)[:120]}` is {shown(value)}, and not {_NAMES[kind]}")
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise WrongJson(f"`{path[:120]}` is {shown(value)}, and not a text")
    if "\0" in value:
        raise WrongJson(f"`{path[:120]}` has a NUL in it")
    return value


def _check(document: Any, *, texts: bool) -> None:
    pending = [(document, "", 1)]
    while pending:
        value, path, depth = pending.pop()
        if depth > DEEPEST:
            raise WrongJson(f"it is nested too deeply, at `{path[:60]}`")
        for key, item in _items(value):
            if isinstance(item, dict | list):
                pending.append((item, _below(path, key), depth + 1))
            if texts and ((isinstance(item, str) and _HALF.search(item)) or (isinstance(key, str) and _HALF.search(key))):
                raise WrongJson(f"`{_HALF.sub('?', _below(path, key))[:120]}` holds half of a character: a lone surrogate")


def _items(value: Any) -> Any:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _below(path: str, key: str | int) -> str:
    return f"{path}[{key}]" if isinstance(key, int) else _at(path, key)


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
