"""Names of PyPI projects."""

from __future__ import annotations

import re

PROJECT_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"


def canonical_name(name: str) -> str:
    """Return a PyPI project's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()
