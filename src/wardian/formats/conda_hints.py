"""What to do about an item of a conda file that is no line of text: mostly a version below its package's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.formats.yaml_fields import did_you_mean
from wardian.formats.yaml_text import YamlMapping, YamlScalar

if TYPE_CHECKING:
    from wardian.formats.yaml_text import YamlNode


_NAME = re.compile(r"[A-Za-z0-9][\w.\[\],-]*")
_VERSION = re.compile(r"[<>=!~]{0,3}\s*[0-9]")


def dependency_hint(item: YamlNode) -> str:
    """Return what to do about ``item`` among the dependencies, which is neither text nor ``pip:``."""
    if isinstance(item, YamlMapping) and len(item.entries) == 1:
        key, value = item.entries[0]
        if re.match(r"sel\(|(osx|linux|win|unix)$", key.value):
            return "conda knows no selectors: make one file for each system, or leave the line out"
        if key.value.startswith("-"):
            return "options go under `pip:`"
        return f"write `- {_joined(key, value, '=')}`" if isinstance(value, YamlScalar) else did_you_mean(key.value, ("pip",))
    return "a dependency is one line such as `numpy>=1.26`; only `pip:` has lines of its own"


def pip_line_hint(item: YamlNode) -> str | None:
    """Return what to do about ``item`` below ``pip:``, which is no text; None: nothing is known."""
    if not isinstance(item, YamlMapping):
        return None
    if len(item.entries) == 1:
        key, value = item.entries[0]
        if isinstance(value, YamlScalar) and _NAME.fullmatch(key.value) and _VERSION.match(value.value):
            return f"write `- {_joined(key, value, '==')}`"
    return 'put the line in quotes: `- "…"`'


def _joined(name: YamlScalar, version: YamlScalar, operator: str) -> str:
    return f"{name.value}{'' if version.value[:1] in ('<', '>', '=', '!', '~') else operator}{version.value}"
