"""What a reader or a writer could not carry over as it is: every such thing with its place, the reason, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = ("dropped", "changed", "stripped", "added")
_LONGEST_VALUE = 2000


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that is not on the other side as it is on this one.

    Attributes:
        kind: ``dropped``; ``changed``: it is there in another form; ``stripped``: a secret was taken out; ``added``: it was
            not here, and the other side needs it.
        field: its path where it stands: ``python.baseCondaEnvironment``.
        why: the reason, as a sentence without a full stop.
        hint: what to do about it; None: nothing.
        value: what stood there, for what nothing else keeps; never a secret.
        file, line: where; empty and None for what has no place in a file.
    """

    kind: str
    field: str
    why: str
    hint: str | None = None
    value: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line is not None else self.file
        head = f"{self.kind}: {place} {self.field}" if place else f"{self.kind}: {self.field}"
        return f"{head}: {self.why}" + (f" ({self.hint})" if self.hint else "")

    def as_document(self) -> dict[str, str | int | None]:
        """Return the loss as plain values for machines."""
        return {"kind": self.kind, "field": self.field, "why": self.why, "hint": self.hint, "value": self.value,
                "file": self.file, "line": self.line}  # fmt: skip


class Ledger:
    """The losses of one reading or writing, collected on the way.

    Args:     file: the name of the file for people; empty for what has no file.
              prefix: where in this file the part stands that is read: put before fields of its own.
    """

    def __init__(self, file: str = "", *, prefix: str = "") -> None:
        self.file, self.prefix = file, prefix
        self._losses: list[Loss] = []

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The losses so far: those of a file in the order of its lines."""
        return tuple(sorted(self._losses, key=lambda loss: (loss.file != self.file, loss.file, loss.line or 0)))

    def note(
        self,
        kind: str,
        field: str,
        why: str,
        *,
        hint: str | None = None,
        value: str = "",
        line: int | None = None,
        file: str = "",
    ) -> None:
        """Note one loss; a long ``value`` is cut."""
        place = field if file else f"{self.prefix}{field}"
        self._losses.append(Loss(kind, place, why, hint, value[:_LONGEST_VALUE], file or self.file, line))

    def take(self, losses: Iterable[Loss]) -> None:
        """Note the losses of another reading, as they are."""
        self._losses += losses
