"""What to do about a line that is no requirement: the mistakes that people make, each with its step."""

from __future__ import annotations

import re

_FALLBACK = "for example `numpy>=1.26,<2`, `./package` or `name @ https://…`"
_TEMPLATE = re.compile(r"\{\{|\{%|%\}|\}\}|^<[\w -]+>$")
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(<{7}|={7}|>{7}|\|{7})( |$)"), "a merge conflict is left in the file: keep one side, and delete its marks"),
    (re.compile(r"<(!doctype|html|head|body|div|pre)\b", re.IGNORECASE), "this is a page for a browser: download the file itself, its raw form"),
    (re.compile(r"\[[\w.\[\] -]+\]$"), "this is a table of TOML: is the file a Pipfile or a pyproject.toml?"),
    (re.compile(r"[$!%>]?\s*(sudo |python3? -m |[\w./]+/)?(pip3?|uv pip|conda|mamba) (install|add)\b"),
     "this is a command: write what it installs, one requirement on each line"),
    (re.compile(r"""['"`]|.*[\u2018\u2019\u201c\u201d]"""), "quotes belong to a shell: write the requirement without them"),
    (re.compile(r"[\w.\[\],-]+#"), "a comment begins with a space before its `#`"),
    (re.compile(r"[\w.-]+ *=[^=<>~!]+=[\w.]+$|_\w+=[^=]"),
     "this is a line of conda's: name the file environment.yml and put it below `dependencies:`, or write `name==version`"),
    (re.compile(r".*=[<>]"), "pip writes `>=` and `<=`"),
    (re.compile(r"[\w.\[\],-]+ *=[^=]"), "pip writes `==` where this has `=`"),
    (re.compile(r"[\w.\[\],-]+ *\^"), "pip has no `^`: `^1.5` is `>=1.5,<2`"),
    (re.compile(r"[\w.\[\],-]+ *@ *v?[0-9]"), "pip writes `==` where this has `@`"),
    (re.compile(r"[\w.\[\],-]+ +v?[0-9]"), "put `==` between the name and its version"),
    (re.compile(r"[\w.\[\],-]+ *[<>=!~]=?[^,;]*[^,;\s] +[<>=!~]"), "put a comma between the versions: `>=1.26,<2`"),
    (re.compile(r"(?!.*://)[^<>=!~;@]*[^\x00-\x7f]"), "a project's name is made of ASCII letters and digits, `-`, `_` and `.`"),
)  # fmt: skip
_LONGEST = 300  # characters that are looked at
_FROZEN = "if pip wrote it of a package of conda's, write its version: `pip list --format=freeze` does"


def template_hint(text: str) -> str | None:
    """Return what to do about ``text`` if it is part of a template that nobody has filled in; None: it is not."""
    return "this is a template: fill it in first, with the tool that it was made for" if _TEMPLATE.search(text) else None


def pip_advice(line: str) -> str:
    """Return the step that most probably makes a requirement of ``line``."""
    bare = line[:_LONGEST].strip()
    return template_hint(bare) or next((step for pattern, step in _STEPS if pattern.match(bare)), _FALLBACK)


def frozen_hint(text: str) -> str | None:
    """Return what to do about ``name @ file:///…``, which pip writes of packages that something else has installed."""
    return _FROZEN if re.match(r"[\w.\[\],-]+ *@ *file:/", text[:_LONGEST].strip(), re.IGNORECASE) else None
