"""What people who come from other tools type, and how it is spelled here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_RUNS = ("list", "ls", "show", "logs", "wait", "cancel", "delete", "export", "reproduce")
_DEPLOYING = (("endpoint", "create"), ("endpoint", "deploy"), ("endpoints", "create"), ("model", "deploy"))
_NAME, _VERSION = ("-n", "--name"), ("-v", "--version")
_PATH = ("-p", "--path", "--model-path", "--asset-path")  # of a model
_ENVIRONMENT = ("-e", "--env", "--environment-variable", "--environment-variables")


def meant(given: Sequence[str]) -> str | None:
    """Return the command that was probably meant by arguments which have failed; None: no habit that is known."""
    words = list(given[: given.index("--")] if "--" in given else given)
    if words[:1] == ["run"] and len(words) > 1 and words[1] in _RUNS and not Path(words[1]).exists():
        return _spelled(["runs", *given[1:]])
    if tuple(words[:2]) in _DEPLOYING:
        return _spelled(["deploy", *(_named(["deploy", *words[2:]]) or ["", *words[2:]])[1:], *given[len(words) :]])
    if words[:2] == ["endpoint", "bench"] and "--requests" not in words:  # its -n is a number
        files = [word for word in words[3:] if word.endswith((".json", ".jsonl", ".ndjson"))]
        return (
            _spelled([*words[:3], "--requests", *files[:1], *(word for word in words[3:] if word not in files[:1])])
            if files
            else None
        )
    if (found := _named(words)) is not None:
        return _spelled([*found, *given[len(words) :]])
    if (found := _variables(words)) != words:
        return _spelled([*found, *given[len(words) :]])
    return None


def _named(words: Sequence[str]) -> list[str] | None:
    """`env show -n NAME -v V` → `env show NAME:V`."""
    rest, name, version = [], "", ""
    position = 0
    while position < len(words):
        word = words[position]
        option, equals, value = word.partition("=")
        if option in (*_NAME, *_VERSION) and (equals or position + 1 < len(words)):
            value = value if equals else words[position + 1]
            position += 1 if equals else 2
            name, version = (value, version) if option in _NAME else (name, value)
            continue
        rest.append(word)
        position += 1
    if not name or len(rest) < 1:
        return None
    head = 1 if rest[0] in ("run", "shell", "deploy") else 2
    if rest[:2] in (["model", "create"], ["model", "register"]):
        rest = [word for word in rest if word not in _PATH]
        return [*rest[:2], name, *rest[2:], *(["--version", version] if version else [])]
    reference = f"{name}:{version}" if version else name
    return [*rest[:head], *(["-e"] if rest[0] == "run" else []), reference, *rest[head:]]


def _variables(words: Sequence[str]) -> list[str]:
    """`-e A=B` → `-V A=B`."""
    found = list(words)
    for position, word in enumerate(words[:-1]):
        if word in _ENVIRONMENT and re.match(r"[A-Za-z_]\w*=", words[position + 1]):
            found[position] = "-V"
    return found


def _spelled(arguments: Sequence[str]) -> str:
    return shlex.join(["wardian", *arguments])
