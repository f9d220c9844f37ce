"""Reads what uv's solve prints: pinned requirements, where each came from and who wanted it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wardian.definition.requirement import canonical_name

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<extras>\[[^\]]*\])?(?:==(?P<version>\S+)|\s*@\s*(?P<url>\S+))")


@dataclass(slots=True)
class Pin:
    """One solved distribution. ``via`` names who needs it; ``root`` is true if the definition itself does."""

    text: str
    name: str = ""
    version: str = ""
    url: str = ""
    marker: str = ""
    hashes: list[str] = field(default_factory=list)
    via: list[str] = field(default_factory=list)
    index: str | None = None
    root: bool = False

    @property
    def line(self) -> str:
        """The pin as one requirement line, without marker and hashes."""
        return f"{self.name}=={self.version}" if self.version else self.text


def parse_pins(text: str) -> list[Pin]:
    """Return the pins of uv's annotated output, in its order."""
    pins: list[Pin] = []
    in_via = False
    for raw in text.splitlines():
        line = raw.strip()
        if not line:
            continue
        if line.startswith("#"):
            if not pins:
                continue
            comment = line[1:].strip()
            if comment.startswith("from "):
                pins[-1].index = comment.removeprefix("from ").strip()
                in_via = False
            elif comment.startswith("via") or in_via:
                in_via = True
                source = comment.removeprefix("via").strip()
                if source.startswith(("-r ", "-c ")):
                    pins[-1].root |= source.startswith("-r ")
                elif source:
                    pins[-1].via.append(canonical_name(re.split(r"[\s\[(]", source)[0]))
            continue
        in_via = False
        line = line.removesuffix("\\").strip()
        if line.startswith("--hash="):
            pins[-1].hashes.append(line.removeprefix("--hash="))
            continue
        body, _, marker = line.partition(" ; ")
        pin = Pin(text=body.strip(), marker=marker.strip())
        if match := _PIN.fullmatch(body.strip()):
            pin.name = canonical_name(match.group("name"))
            pin.version = match.group("version") or ""
            pin.url = match.group("url") or ""
        pins.append(pin)
    return pins


def depends(pins: list[Pin]) -> dict[str, tuple[str, ...]]:
    """Return, by name, the names of the distributions that each needs."""
    found: dict[str, set[str]] = {}
    for pin in pins:
        for parent in pin.via:
            found.setdefault(parent, set()).add(pin.name)
    return {name: tuple(sorted(children)) for name, children in found.items()}
