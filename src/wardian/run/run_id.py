"""Run ids: short, unique across processes and machines, in the order of submission."""

from __future__ import annotations

import functools
import re
import time
from os import urandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: nothing that looks like something else
LENGTH = 12

_EPOCH_MS = 1_735_689_600_000  # 2025-01-01
_TIME_BITS, _RANDOM_BITS = 40, 20
_LAST_MOMENT = (1 << _TIME_BITS) - 1
_TEXT = re.compile(f"[{ALPHABET}]{{1,{LENGTH}}}")


def new_run_id(
    newest: str = "", now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000, random: Callable[[int], bytes] = urandom
) -> str:
    """Return an id of 12 characters that sorts behind ``newest``: 8 for the millisecond (until 2059), 4 at random.

    The clock of a machine may have been ahead, or go back: then the millisecond is the one after ``newest``'s.
    """
    moment = max(now_ms() - _EPOCH_MS, 0) & _LAST_MOMENT
    if is_run_id(newest):
        moment = max(moment, min(_moment(newest) + 1, _LAST_MOMENT))
    number = moment << _RANDOM_BITS | int.from_bytes(random(3), "big") >> 24 - _RANDOM_BITS
    return "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))


def is_id_or_prefix(text: str) -> bool:
    """Return whether ``text`` may be the beginning of a run id."""
    return bool(_TEXT.fullmatch(text))


def is_run_id(text: object) -> bool:
    """Return whether ``text`` is a whole run id."""
    return isinstance(text, str) and len(text) == LENGTH and is_id_or_prefix(text)


def _moment(run_id: str) -> int:
    return functools.reduce(lambda number, character: number << 5 | ALPHABET.index(character), run_id[: _TIME_BITS // 5], 0)
