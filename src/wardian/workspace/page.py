"""One page of a long list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from wardian.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T_co = TypeVar("T_co", covariant=True)

LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """Some items, and where the next page begins.

    Pages follow a key, not a position: an item added or removed meanwhile neither repeats nor hides another one.

    Attributes:
        next: what to give as ``after`` to get the next page; None: this is the last one.
    """

    items: Sequence[T_co]
    next: str | None = None

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def check_limit(limit: int) -> int:
    """Return ``limit``, the size of a page.

    Raises:   InvalidInput: not between 1 and 1000.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidInput(f"a page has 1 to {LARGEST_PAGE} items, not {limit}", code="bad_limit")
    return limit
