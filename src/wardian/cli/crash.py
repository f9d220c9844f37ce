"""Writes down a bug of ours, so that it can be reported."""

from __future__ import annotations

import platform
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import wardian

if TYPE_CHECKING:
    from collections.abc import Sequence


def write_report(error: BaseException, arguments: Sequence[str]) -> Path:
    """Write a report of ``error`` and return where it is. What stands after a ``=`` is left out: it may be secret."""
    shown = [f"{name}=…" if equals else name for name, equals, _ in (argument.partition("=") for argument in arguments)]
    lines = [f"wardian {wardian.__version__}, Python {platform.python_version()}, {platform.platform()}", f"arguments: {shown}", "",
             *traceback.format_exception(error)]  # fmt: skip
    with tempfile.NamedTemporaryFile("w", prefix="wardian-bug-", suffix=".txt", delete=False) as stream:
        stream.write("\n".join(lines))
    return Path(stream.name)
