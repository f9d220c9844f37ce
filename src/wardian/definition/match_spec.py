"""conda's match specs: checked and normalised."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wardian.definition.values import clean_text
from wardian.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|\*")


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """One conda requirement. ``name`` is in lower case; ``rest`` is as written, without white space around operators."""

    name: str
    rest: str = ""
    channel: str | None = None

    @classmethod
    def parse(cls, text: str) -> MatchSpec:
        """Return the match spec that ``text`` states.

        Raises:   InvalidInput: code ``bad_match_spec``.
        """
        line = " ".join(clean_text(text).split())
        channel, separator, body = line.rpartition("::")
        match = _NAME.match(body)
        if match is None:
            raise InvalidInput(f"`{text[:120]}` is not a conda match spec", code="bad_match_spec")
        return cls(match.group(0).lower(), body[match.end() :], channel if separator else None)

    def __str__(self) -> str:
        return (f"{self.channel}::" if self.channel else "") + self.name + self.rest
