"""Small immutable values that definitions are made of."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping


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


def clean_text(text: str) -> str:
    """Return ``text`` in NFC with LF line ends: the one form that identities are taken of (semantics §1)."""
    if text.isascii():
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
