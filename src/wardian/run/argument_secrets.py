"""Arguments that hold secrets: found by their names and shapes, and left out of records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.definition.secret_text import looks_secret
from wardian.definition.url_secret import holds_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = "…"  # stands for a secret

_SHOWN = 80  # characters of an argument
_OPTION = re.compile(r"--?[A-Za-z][\w.-]*")
_ASSIGNMENT = re.compile(r"([-+]*[A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAME = re.compile(r"(?i)(^|_)(passphrase|pwd|(db|user|root|admin|smtp|ftp)_?pass)$")
# in machine learning most tokens are words, and what is called a file of secrets holds them somewhere else
_ORDINARY_NAME = re.compile(
    r"(?i)(^|_)(pad|eos|bos|unk|mask|cls|sep|stop|start|begin|end|special|image|next|max|min|num|n|per)_token$"
    r"|_(file|path|dir|name|env|var|id|ids|url|length|len|limit|count|size|type|policy|field|column|dim|dropout|rate|ratio|budget|position)$"
)
_ORDINARY_VALUE = re.compile(
    r"(?i)|true|false|yes|no|on|off|none|null|[01]|[^\s:@]+\.(json|ya?ml|toml|ini|cfg|txt|pem|key|env)"
)
_AUTHORITY = re.compile(r"(://)([^/?#\s@]*)(@)")
_QUERY = re.compile(r"([?&][\w.-]+=)([^&#\s'\"]+)()")
_HEADER = re.compile(
    r"((?i:authorization|x-api-key|private-token|x-auth-token)\s*:\s*(?:(?i:bearer|basic|token)\s+)?)([^\s'\"]+)"
)
_WORD = re.compile(r"[^\s'\"=,;&?]+")
_AROUND_HIDDEN = re.compile(rf"[\w-]*[=:]?{HIDDEN}")


def without_secrets(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return ``arguments`` with ``…`` in the place of each secret, and the positions of those that held one.

    The value of an option counts by the option's name (``--api-key=X``, ``--password X``, ``wandb.api_key=X``); anything else by
    its shape: passwords and tokens in URLs, headers, known kinds of tokens, as in a variable's value. What is returned has none that would be found again.

    Source:   semantics §7
    """
    shown: list[str] = []
    positions: list[int] = []
    option = ""
    for position, argument in enumerate(arguments):
        found, is_secret = _hidden(argument, option)
        shown.append(found)
        if is_secret:
            positions.append(position)
        option = argument if _OPTION.fullmatch(argument) else ""
    return tuple(shown), tuple(positions)


def named(arguments: Sequence[str], positions: Sequence[int]) -> str:
    """Return the arguments at ``positions``, whose secrets are left out, for people: each with the option that it belongs to."""
    found = []
    for at in positions:
        text = arguments[at] if len(arguments[at]) <= _SHOWN else f"{arguments[at][:_SHOWN]} …"
        found.append(f"{arguments[at - 1]} {text}" if at and _OPTION.fullmatch(arguments[at - 1]) and text == HIDDEN else text)
    return ", ".join(f"`{text}`" for text in found)


def _hidden(argument: str, option: str) -> tuple[str, bool]:
    """Return ``argument``, which stands behind ``option``, without its secrets, and whether it held one."""
    if option and not argument.startswith("-") and _is_secret(option, argument):
        return HIDDEN, True
    if (match := _ASSIGNMENT.fullmatch(argument)) and _is_secret(match[1], match[2]):
        return f"{match[1]}={HIDDEN}", True
    count = 0

    def counted(text: str) -> str:
        nonlocal count
        count += 1
        return text

    def authority(match: re.Match[str]) -> str:
        if not holds_secret(match[0]):
            return match[0]
        user, colon, _ = match[2].partition(":")
        return counted(f"://{user if colon else ''}{colon}{HIDDEN}@")

    text = _AUTHORITY.sub(authority, argument)
    text = _QUERY.sub(lambda m: counted(m[1] + HIDDEN) if holds_secret(m[0]) else m[0], text)
    text = _HEADER.sub(lambda m: counted(m[1] + HIDDEN), text)
    text = _WORD.sub(lambda m: counted(HIDDEN) if _has_shape(m[0]) else m[0], text)
    if _has_shape(text):  # one that is more than a word
        return HIDDEN, True
    return text, count > 0


def _is_secret(option: str, value: str) -> bool:
    name = _CAPITAL.sub("_", option.lstrip("-+")).replace("-", "_").replace(".", "_")
    if _ORDINARY_NAME.search(name) or _ORDINARY_VALUE.fullmatch(value) or value.startswith("${"):
        return False
    return bool(_NAME.search(name)) or looks_secret(name, "any value")


def _has_shape(text: str) -> bool:
    return looks_secret("", _AROUND_HIDDEN.sub("$", text))
