"""Small immutable values that definitions are made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

_VARIABLE = re.compile(r"\$\{[^}]*\}")


class FrozenMap(Mapping[str, str]):
    """An immutable, hashable mapping of strings, ordered by key. Equal to any mapping with the same items."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()):
        cleaned = {clean_text(key): clean_text(value) for key, value in dict(items).items()}
        self._items: dict[str, str] = dict(sorted(cleaned.items()))  # sorted last: NFC may move a key

    def __getitem__(self, key: str) -> str:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(self._items.items()))

    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"


def variable_fault(text: str) -> tuple[str, str] | None:
    """Return why ``text``, no URL, may not hold the variable ``${NAME}`` that it holds, and what to do; None: it holds none."""
    found = _VARIABLE.search(text)
    if found is None:
        return None
    return (
        f"it holds the variable `{found[0][:60]}`, and variables are read in URLs alone",
        "write what it stands for: a definition says by itself what it asks for",
    )


def clean_text(text: str) -> str:
    """Return ``text`` in NFC with LF line ends: the one form that identities are taken of (semantics §1)."""
    if text.isascii():
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
