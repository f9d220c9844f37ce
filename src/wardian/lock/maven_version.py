"""The order of Maven's versions: `1.0-rc1` is older than `1.0`, `1.10` newer than `1.9`."""

from __future__ import annotations

import re
from functools import total_ordering

_KNOWN = ("alpha", "beta", "milestone", "rc", "snapshot", "", "sp")
_SAME = {"cr": "rc", "ga": "", "final": "", "release": ""}
_SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}  # before a digit

_Token = tuple[str, "int | str"]  # what stands before it, and it


@total_ordering
class MavenVersion:
    """A version that can be compared as Maven compares it.

    Source:   Maven's POM reference, "Version Order Specification"
    """

    def __init__(self, text: str):
        self.text = text
        self._tokens = _tokens(text.lower())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MavenVersion) and _compare(self._tokens, other._tokens) == 0

    def __lt__(self, other: MavenVersion) -> bool:
        return _compare(self._tokens, other._tokens) < 0

    def __hash__(self) -> int:
        return hash(tuple(self._tokens))

    def __repr__(self) -> str:
        return f"MavenVersion({self.text!r})"


def newest(versions: set[str]) -> str:
    """Return the newest of ``versions``; of those that count as the same, the first by the alphabet."""
    return max(sorted(versions), key=MavenVersion)


def _tokens(text: str) -> list[_Token]:
    parts = re.findall(r"[.-]|\d+|[^\d.-]+", text)
    found: list[_Token] = []
    before, was_separator = "", True
    for i, part in enumerate(parts):
        if part in ".-":
            if was_separator:  # an empty token counts as 0
                found.append((before or ".", 0))
            before, was_separator = part, True
            continue
        if not was_separator:
            before = "-"  # from digits to letters, or back
        value: int | str = int(part) if part.isdecimal() else part
        if isinstance(value, str):
            follows = parts[i + 1] if i + 1 < len(parts) else ""
            value = _SHORT.get(value, value) if follows.isdecimal() else value
            value = _SAME.get(value, value)
        found.append((before if found else "", value))
        was_separator = False
    return _trimmed(found)


def _trimmed(tokens: list[_Token]) -> list[_Token]:
    """Leave out what says nothing (0, `final`, …) at the end, and before each hyphen."""
    found: list[_Token] = []
    for token in tokens:
        if token[0] == "-":
            while found and found[-1][1] in (0, ""):
                found.pop()
        found.append(token)
    while found and found[-1][1] in (0, ""):
        found.pop()
    return found


def _compare(left: list[_Token], right: list[_Token]) -> int:
    for i in range(max(len(left), len(right))):
        ours = left[i] if i < len(left) else _padding(right[i])
        theirs = right[i] if i < len(right) else _padding(left[i])
        if ours != theirs and (order := (_rank(ours) > _rank(theirs)) - (_rank(ours) < _rank(theirs))):
            return order
    return 0


def _padding(other: _Token) -> _Token:
    return (other[0], 0 if isinstance(other[1], int) else "")


def _rank(token: _Token) -> tuple[int, int, int, str]:
    """Return what orders two tokens: words, then `-number`, then `.number`."""
    before, value = token
    if isinstance(value, int):
        return (1 if before == "-" else 2, value, 0, "")
    known = _KNOWN.index(value) if value in _KNOWN else len(_KNOWN)
    return (0, known, 0, "" if value in _KNOWN else value)
