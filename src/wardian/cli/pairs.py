"""Options that take a name and a value."""

from __future__ import annotations

import click


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Return ``K=V`` texts as a mapping; of two with one name the last counts.

    Raises:   UsageError.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} takes NAME=VALUE, not `{text}`")
        found[key] = value
    return found
