"""Options that take a name and a value."""

from __future__ import annotations

import click


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Return ``K=V`` texts as a mapping.

    Raises:   UsageError: a text is no pair; two say different things of one name.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} takes NAME=VALUE, not `{text}`")
        if found.setdefault(key, value) != value:
            raise click.UsageError(f"{option} {key}=… is given twice, with `{found[key]}` and `{value}`: give it once")
    return found
