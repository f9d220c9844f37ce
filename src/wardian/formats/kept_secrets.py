"""Secrets in the text that a version keeps of a file: in comments, in the URLs of a lock file, in tables of other tools."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.definition.secret_text import SECRET_VALUE
from wardian.definition.url_secret import holds_secret
from wardian.errors import Fault, InvalidDefinition
from wardian.formats.faults import MOST_FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.formats.read_definition import ReadDefinition

_URL = re.compile(r"://[^\s\"'<>`,]*")

# `/t/…` alone stands in addresses of forums, too
_CONDA_TOKEN = re.compile(r"/t/(?:[a-z]{2}-[0-9a-zA-Z-]{8,}(?:/|$)|[^/${]+/.*\.(?:conda|tar\.bz2)$)")


def refuse_secrets(read: ReadDefinition, file: str, text: str) -> None:
    """Refuse what was read of ``file`` if a version would keep a secret with it, which everybody sees who gets the version.

    Args:     text: the file's own text: says in which line something stands.
    Raises:   InvalidDefinition: code ``secret_in_definition``, one fault for each line.
    """
    kept = [read.text, *(kept for _, kept in read.texts.values())]
    found = {line for each in dict.fromkeys(kept) for line in _lines_with_secrets(each)}
    if found:
        raise InvalidDefinition(_faults(found, file, text)[:MOST_FAULTS])


def _lines_with_secrets(text: str) -> list[str]:
    spots = [match.start() for match in SECRET_VALUE.finditer(text)]
    spots += [
        match.start() for match in _URL.finditer(text) if holds_secret(match.group()) or _CONDA_TOKEN.search(match.group())
    ]
    return [text[text.rfind("\n", 0, spot) + 1 : _end(text, spot)].strip() for spot in spots]


def _end(text: str, spot: int) -> int:
    end = text.find("\n", spot)
    return len(text) if end < 0 else end


def _faults(found: set[str], file: str, text: str) -> list[Fault]:
    fault = Fault(
        code="secret_in_definition", message="this line holds what looks like a secret, and a version keeps the file's text", file=file,
        hint="take it out, of a comment too; of a lock file: lock anew with URLs without logins (`wardian secret set NAME --url URL` keeps one)",
    )  # fmt: skip
    lines: Sequence[int] = [number for number, line in enumerate(text.split("\n"), 1) if line.strip() in found]
    return [replace(fault, line=number) for number in lines] or [fault]
