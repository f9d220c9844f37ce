"""What a rule is, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wardian.formats.read_definition import Place
    from wardian.lint.subject import Subject

SEVERITIES = ("error", "warning", "note")  # the worst first


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a rule found.

    Attributes:
        message: what is there, naming the value.
        fix: what to write here; None: what the rule itself says.
        severity: other than the rule's, where a place makes it so.
        fixable: whether ``--fix`` knows what to write in this very place.
    """

    place: Place
    message: str
    fix: str | None = None
    severity: str | None = None
    fixable: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: stable, kebab-case.  severity: one of `SEVERITIES`.
        finds: what it finds, for lists.  why: why it matters, one sentence.  fix: what to write.
        check: yields what it finds; None for what a reader finds.
        codes: of faults and warnings of readers that are this rule's findings.
        fixable: whether ``--fix`` knows what to write.
        azure: the finding of Azure ML that it answers to.
    """

    id: str
    severity: str
    finds: str
    why: str
    fix: str
    check: Callable[[Subject], Iterator[Problem]] | None = None
    codes: tuple[str, ...] = ()
    fixable: bool = False
    azure: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says about one place of a definition.

    ``line`` counts from 1; None where the whole file is meant. ``field`` is a path such as ``dependencies[2].pip[0]``.
    """

    id: str
    severity: str
    message: str
    file: str
    line: int | None
    field: str
    why: str
    fix: str
    fixable: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        field = f" {self.field}:" if self.field else ""
        return f"{place}:{field} {self.message} [{self.id}]"

    def as_document(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {"id": self.id, "severity": self.severity, "message": self.message, "file": self.file, "line": self.line,
                "field": self.field, "why": self.why, "fix": self.fix, "fixable": self.fixable}  # fmt: skip
