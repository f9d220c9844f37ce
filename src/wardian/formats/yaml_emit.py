"""Text as YAML: plain where every reader takes it for that very text, quoted or as a block where not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# begins like text and holds nothing that YAML reads as its own: no `: `, no ` #`, single spaces
_PLAIN = re.compile(r"""(?:[A-Za-z_./]|--?(?=[A-Za-z]))(?:[\w./+<>=,~!*|@$()^;'"\[\]{}%?&-]|:(?=\S)|(?<=\S)#|[ ](?=[^\s#]))*""")
_IN_FLOW = re.compile(r"[,\[\]{}:?#]")
# what YAML 1.1 or 1.2 takes for something else than text; words only, as _PLAIN excludes what begins with a digit
_NOT_TEXT = re.compile(r"(?i)(?:~|null|true|false|yes|no|on|off|y|n|=|<<|[.]inf|[.]nan|[.][0-9_.e+-]*|---.*|[.]{3}.*)")
_LONG_KEY = 1000  # YAML ends its search for the colon of a key after 1,024 characters
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def scalar(text: str, *, flow: bool = False) -> str:
    """Return ``text`` as a YAML scalar of one line that reads back as ``text``.

    Args:     flow: whether it stands in ``[…]`` or ``{…}``.
    """
    if _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text) and not (flow and _IN_FLOW.search(text)):
        return text
    return _ESCAPED.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(text, ensure_ascii=False))


def entry(key: str, text: str, indent: int) -> list[str]:
    """Return the lines of ``key: text``, several lines of text as a literal block."""
    pad = " " * indent
    lines = text.split("\n")
    block = len(lines) > 1 and text[0] not in " \t\n" and all(line.isprintable() and line == line.rstrip() for line in lines)
    name = scalar(key)
    head = f"{pad}{name}:" if len(name) < _LONG_KEY else f"{pad}? {name}\n{pad}:"
    if not block:
        return [f"{head} {scalar(text)}"]
    body = text.rstrip("\n")
    chomp = {0: "-", 1: ""}.get(len(text) - len(body), "+")
    shown = (text[:-1] if chomp == "+" else body).split("\n")
    return [f"{head} |{chomp}", *(f"{pad}  {line}".rstrip() for line in shown)]


def listing(key: str, items: Iterable[str], indent: int) -> list[str]:
    """Return the lines of a list, an item each; none for an empty list."""
    pad = " " * indent
    lines = [f"{pad}  - {scalar(item)}" for item in items]
    return [f"{pad}{key}:", *lines] if lines else []


def table(key: str, entries: Mapping[str, str], indent: int) -> list[str]:
    """Return the lines of a mapping of texts; none for an empty mapping."""
    lines = [line for name, value in entries.items() for line in entry(name, value, indent + 2)]
    return [f"{' ' * indent}{key}:", *lines] if lines else []
