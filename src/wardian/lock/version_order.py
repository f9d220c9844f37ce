"""Which of two versions is newer, in the words of either ecosystem."""

from __future__ import annotations

import re
from functools import total_ordering
from itertools import zip_longest

_PIECE = re.compile(r"[0-9]+|[a-z]+|\*")


def is_newer(version: str, than: str, *, conda: bool) -> bool:
    """Return whether ``version`` is newer than ``than``.

    PyPI versions compare as PEP 440 has it, conda versions (and PyPI versions that PEP 440 does not know) as conda does.

    Source:   PEP 440; conda's ``VersionOrder``
    """
    if not conda:
        from packaging.version import InvalidVersion, Version

        try:
            return Version(version) > Version(than)
        except InvalidVersion:
            pass
    return CondaVersion(version) > CondaVersion(than)


@total_ordering
class CondaVersion:
    """A conda version, comparable: ``0.4.1.rc < 0.4.1 < 0.4.1.post1``, ``1!0.1 > 9``, ``1.1dev1 < 1.1a1``."""

    def __init__(self, text: str) -> None:
        epoch, _, rest = text.strip().lower().rpartition("!")
        public, _, local = rest.partition("+")
        self._key = (int(epoch) if epoch.isdecimal() else 0, _parts(public), _parts(local))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CondaVersion) and not self < other and not other < self

    def __hash__(self) -> int:  # equal versions may be spelled differently: `1.0` and `1.0.0`
        return hash(self._key[0])

    def __lt__(self, other: CondaVersion) -> bool:
        if self._key[0] != other._key[0]:
            return self._key[0] < other._key[0]
        for mine, theirs in zip(self._key[1:], other._key[1:], strict=True):
            for a, b in zip_longest(mine, theirs, fillvalue=()):
                for x, y in zip_longest(a, b, fillvalue=_ZERO):
                    if x != y:
                        return x < y
        return False


_Piece = tuple[int, int, str]
_ZERO: _Piece = (3, 0, "")
_RANKS = {"*": 0, "dev": 1, "post": 4}  # other words rank 2, numbers 3


def _parts(text: str) -> tuple[tuple[_Piece, ...], ...]:
    parts = []
    for part in re.split(r"[._-]", text):
        pieces = [_piece(piece) for piece in _PIECE.findall(part)]
        # `rc1` compares as `0rc1` would, so that it comes before any number
        parts.append(tuple(pieces if part[:1].isdecimal() else [_ZERO, *pieces] if pieces else []))
    return tuple(parts)


def _piece(text: str) -> _Piece:
    return (3, int(text), "") if text.isdecimal() else (_RANKS.get(text, 2), 0, text)
