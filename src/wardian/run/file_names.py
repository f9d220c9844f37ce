r"""Names of files that are not UTF-8: in this program, in documents, and for people.

In this program they are what Python makes of them: each such byte is a lone surrogate. No document may hold that, so there such a
byte is a NUL character, which is in no name, and its two hexadecimal digits: ``caf\u0000e9.txt`` in JSON.
"""

from __future__ import annotations

import re
from typing import Any

_BYTE = re.compile(r"[\udc80-\udcff]")
_WRITTEN = re.compile(r"\0([89a-f][0-9a-f])")
_FIRST = 0xDC00


def to_text(name: str) -> str:
    """Return ``name`` as it stands in documents and digests: itself, if it is UTF-8. No two names have the same text."""
    return name if name.isascii() else _BYTE.sub(lambda match: f"\0{ord(match[0]) - _FIRST:02x}", name)


def from_text(text: str) -> str:
    """Return the name that ``to_text`` made ``text`` of."""
    return _WRITTEN.sub(lambda match: chr(_FIRST + int(match[1], 16)), text) if "\0" in text else text


def to_document(value: Any) -> Any:
    """Return plain JSON values with every string, keys included, as ``to_text`` has it: what is written of them is UTF-8."""
    return _each(value, to_text)


def from_document(value: Any) -> Any:
    """Return plain JSON values that ``to_document`` made these of."""
    return _each(value, from_text)


def readable(text: str) -> str:
    r"""Return ``text`` for people: a byte that is not UTF-8 is ``\xe9``."""
    return text if text.isascii() else _BYTE.sub(lambda match: f"\\x{ord(match[0]) - _FIRST:02x}", text)


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_each(key, change): _each(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each(item, change) for item in value]
    return value
