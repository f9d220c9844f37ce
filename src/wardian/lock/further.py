"""Clashes that have nothing to do with each other: looked for one after the other, and named together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import SolveFailed, WardianError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

HEAD = "no set of packages satisfies the definition"
_MOST = 3  # clashes that are named at once


def with_further(
    first: SolveFailed,
    asked: Sequence[int],
    solve: Callable[[Sequence[int]], object],
    involved: Callable[[SolveFailed], Collection[int]],
) -> SolveFailed:
    """Return ``first`` with the clashes that remain among the requirements that have no part in it.

    Args:     asked: numbers of the requirements.
              solve: tries these requirements alone; raises SolveFailed, explained, if they clash, too.
              involved: the requirements that an error speaks of.
    """
    found = [first]
    rest = list(asked)
    while len(found) < _MOST:
        gone = involved(found[-1])
        if not gone or not (rest := [number for number in rest if number not in gone]):
            break
        try:
            solve(rest)
        except SolveFailed as error:
            found.append(error)
        except WardianError:  # an index that does not answer now must not hide what is known
            break
        else:
            break
    return _together(found) if len(found) > 1 else first


def _together(errors: Sequence[SolveFailed]) -> SolveFailed:
    first = errors[0]
    parts = [first.message, *("and, independently of that:\n" + _without_head(error.message) for error in errors[1:])]
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    details = dict(first.details)
    for key, value in details.items():
        others = [error.details[key] for error in errors[1:] if key in error.details]
        details[key] = (
            [*value, *(one for other in others for one in other)] if isinstance(value, list) else "\n\n".join([value, *others])
        )
    return SolveFailed("\n".join(parts), hint="; ".join(hints) or None, code=first.stable_code, details=details)


def _without_head(message: str) -> str:
    head, _, rest = message.partition("\n")
    return rest if head.startswith(HEAD) and rest else message
