"""Markers of a ``uv.lock`` that speak of extras and groups which exclude each other: decided once it is known which are wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_CHOICE = re.compile(r"extra\s*(==|!=)\s*'((?:extra|group|project)-[0-9]+-[^']*)'")
_TOKEN = re.compile(r"""\s*(?:(?P<bracket>[()])|(?P<joint>and|or)\b|(?P<atom>(?:'[^']*'|"[^"]*"|(?!and\b|or\b)[^\s()'"]+)\s*"""
                    r"""(?:(?:===|==|~=|!=|<=|>=|<|>)|(?:not\s+)?in\b)\s*(?:'[^']*'|"[^"]*"|[^\s()'"]+)))""")  # fmt: skip
_MAX_DEPTH = 50


def choice(kind: str, package: str, name: str = "") -> str:
    """Return how a marker calls an extra or group of ``package``, or its own dependencies.

    Args:     kind: ``extra`` | ``group`` | ``project``.
    Source:   uv's universal lock file: encoded conflict markers
    """
    return f"{kind}-{len(package)}-{package}" + (f"-{name}" if name else "")


def decided(marker: str, wanted: AbstractSet[str]) -> str | None:
    """Return what is left of ``marker`` when exactly the choices ``wanted`` are made; empty: it always holds, None: never.

    A marker that says nothing of choices, or that cannot be read, is returned as it is: who evaluates it says so.
    """
    if not _CHOICE.search(marker):
        return marker
    try:
        reader = _Reader(marker, wanted)
        found = reader.either(0)
        return marker if reader.word is not None else found
    except ValueError:
        return marker


class _Reader:
    """Reads one marker. What it returns: ``""`` for true, None for false, else the text that is left."""

    def __init__(self, text: str, wanted: AbstractSet[str]) -> None:
        self.text = text
        self.wanted = wanted
        self.at = 0
        self.kind = ""
        self.word: str | None = None
        self.take()

    def take(self) -> None:
        if not self.text[self.at :].strip():
            self.kind, self.word = "", None
            return
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            raise ValueError(self.text)
        self.at = match.end()
        self.kind = str(match.lastgroup)
        self.word = match[self.kind]

    def either(self, depth: int) -> str | None:
        parts = [self.both(depth)]
        while self.kind == "joint" and self.word == "or":
            self.take()
            parts.append(self.both(depth))
        if "" in parts:
            return ""
        left = [part for part in parts if part is not None]
        return " or ".join(left) if left else None

    def both(self, depth: int) -> str | None:
        parts = [self.one(depth)]
        while self.kind == "joint" and self.word == "and":
            self.take()
            parts.append(self.one(depth))
        left = [part for part in parts if part]
        if None in parts:
            return None
        return " and ".join(f"({part})" if len(left) > 1 and " or " in part else part for part in left)

    def one(self, depth: int) -> str | None:
        word = self.word
        if self.kind == "bracket" and word == "(" and depth < _MAX_DEPTH:
            self.take()
            found = self.either(depth + 1)
            if self.word != ")":
                raise ValueError(self.text)
            self.take()
            return found
        if self.kind != "atom" or word is None:
            raise ValueError(self.text)
        self.take()
        made = _CHOICE.fullmatch(word.strip())
        if made is None:
            return word.strip()
        return "" if (made[2] in self.wanted) == (made[1] == "==") else None
