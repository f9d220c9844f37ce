"""Secrets in URLs: what a definition may not hold."""

from __future__ import annotations

import re

SECRET_HINT = "leave the secret out: use a ${VARIABLE} in its place, netrc, or `wardian secret set`"  # noqa: S105 - a hint, not a secret

_VARIABLES = re.compile(r"(\$\{[A-Za-z0-9_]+\})*")
_AUTHORITY = re.compile(r"://([^/?#]*)@")
_QUERY = re.compile(
    r"[?&](?:[\w.-]*(?:token|secret|password|passwd|signature|credential)|sig|api[_-]?key|access[_-]?key)=([^&#\s]+)",
    re.IGNORECASE,
)
_KNOWN = re.compile(
    r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}|\bhf_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{30,}|\bAKIA[0-9A-Z]{16}\b"
)
_CONDA_TOKEN = re.compile(r"/t/(?!(?:\$\{[A-Za-z0-9_]+\})+(?![\w$-]))[^/\s]")  # what conda puts before a channel's path
_LONGEST_USER = 20  # longer ones without a password are tokens


def holds_secret(url: str) -> bool:
    """Whether ``url`` holds a password, a token or a signature that is not a ``${VARIABLE}``."""
    for match in _AUTHORITY.finditer(url):
        user, _, password = match.group(1).partition(":")
        if not _VARIABLES.fullmatch(password):
            return True
        if not password and len(user) >= _LONGEST_USER and not _VARIABLES.fullmatch(user):
            return True
    if any(not _VARIABLES.fullmatch(value) for value in _QUERY.findall(url)):
        return True
    return bool(_KNOWN.search(url))


def holds_conda_secret(url: str) -> bool:
    """Whether ``url``, of a conda channel or of a file in one, holds a secret; ``/t/<token>/`` is one too."""
    return holds_secret(url) or bool(_CONDA_TOKEN.search(url))
