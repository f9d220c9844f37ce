"""Hosts and ports in URLs: what cannot be one is found while a definition is read, not where it would be fetched from."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_VARIABLE = re.compile(r"\$\{[A-Za-z0-9_]+\}")


def address_fault(url: str) -> str | None:
    """Return what is wrong with the host or the port of ``url``, as the end of a sentence; None: nothing.

    A ``${VARIABLE}`` may stand for anything.
    """
    try:
        _ = urlsplit(_VARIABLE.sub("1", url)).port
    except ValueError as error:
        text = str(error)
        return f"its host or port cannot be one: {text[0].lower()}{text[1:]}"
    return None
