"""Whether the indexes have what is installed somewhere: asked before a lock is wanted that cannot be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.errors import SolveFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.lock.indexes import IndexPlan
    from wardian.tools.uv import Uv

_ASKED = re.compile(r"you require ([\w.-]+)")
_ABSENT = re.compile(r"no version of ([\w.-]+)|([\w.-]+) was not found")
_PATIENCE = {"UV_HTTP_TIMEOUT": "10", "UV_HTTP_CONNECT_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}


def unserved(pins: Sequence[str], *, uv: Uv, plan: IndexPlan, python_version: str, uv_platform: str) -> tuple[str, ...]:
    """Return those of ``pins`` (``name==version``) that none of the indexes has, in order. Nothing is built.

    Raises:   Unavailable, Denied: the indexes cannot be asked.
    """
    left, missing = list(dict.fromkeys(pins)), set[str]()
    environ = {**plan.environ, **_PATIENCE}
    while left:
        try:
            uv.files("".join(f"{pin}\n" for pin in left), python_version=python_version, uv_platform=uv_platform,
                     arguments=[*plan.arguments, "--no-build"], index_environ=environ)  # fmt: skip
        except SolveFailed as error:
            said = " ".join(error.message.split())
            asked, absent = set(_ASKED.findall(said)), {name for pair in _ABSENT.findall(said) for name in pair}
            named = [pin for pin in left if _name(pin) in asked]
            if not named:
                break  # uv says something else, and the solve will say it again
            missing.update(pin for pin in named if _name(pin) in absent)
            left = [pin for pin in left if pin not in named]
        else:
            break
    return tuple(pin for pin in dict.fromkeys(pins) if pin in missing)


def _name(pin: str) -> str:
    return re.split(r"[\[=]", pin, maxsplit=1)[0]
