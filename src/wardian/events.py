"""What Wardian says while it works: plain events handed to a listener. The library itself prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    ``kind`` is one of ``phase`` (a phase begins; ``text`` names it), ``progress`` (``done`` of ``total`` units),
    ``notice`` (worth a line on stderr), ``warning`` (worth a line and a thought), ``loss`` (what a reader or writer of another
    format could not carry over; ``data`` is `Loss.as_document`) and ``output`` (a line of a tool's output). ``data`` holds plain values for machines.
    """

    kind: str
    text: str
    done: int | None = None
    total: int | None = None
    data: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


def silent(_event: Event) -> None:
    """A listener that drops everything: the default."""
