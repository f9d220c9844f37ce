"""Ignore files: which paths their patterns name, by git's rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": " \\t", "cntrl": "\\x00-\\x1f\\x7f", "digit": "0-9", "graph": "!-~",
    "lower": "a-z", "print": " -~", "punct": "!-/:-@\\[-`{-~", "space": "\\s", "upper": "A-Z", "xdigit": "0-9a-fA-F",
}  # fmt: skip
_WILD = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True)
class _Rule:
    """One pattern. Most are a name or a suffix: those need no regular expression, whose compilation costs 0.1 ms each."""

    includes: bool  # a `!` pattern
    directories_only: bool
    whole_path: bool  # else the last part alone
    literal: str | None = None
    suffix: str | None = None
    expression: re.Pattern[str] | None = None

    def matches(self, path: str, name: str, *, is_directory: bool) -> bool:
        if self.directories_only and not is_directory:
            return False
        subject = path if self.whole_path else name
        if self.literal is not None:
            return subject == self.literal
        if self.suffix is not None:
            return subject.endswith(self.suffix)
        return self.expression is not None and self.expression.fullmatch(subject) is not None


class IgnoreRules:
    """The patterns of one ignore file.

    Source:   gitignore(5)
    """

    def __init__(self, text: str) -> None:
        """Read the file's text. A pattern that git would never match, such as ``[a``, matches nothing here either."""
        rules = [_parse(line.removesuffix("\r")) for line in text.removeprefix("\ufeff").split("\n")]
        self._last_first = [rule for rule in reversed(rules) if rule is not None]

    def decide(self, path: str, *, is_directory: bool) -> bool | None:
        """Return whether ``path`` is ignored; None: no pattern names it.

        What is below an ignored directory is ignored whatever the patterns say: don't ask for it.

        Args:     path: relative to the directory of the ignore file, with ``/``.
        """
        name = path.rpartition("/")[2]
        for rule in self._last_first:
            if rule.matches(path, name, is_directory=is_directory):
                return not rule.includes
        return None


def _parse(line: str) -> _Rule | None:
    pattern = _without_trailing_spaces(line)
    if not pattern or pattern.startswith("#"):
        return None
    includes = pattern.startswith("!")
    pattern = pattern[1:] if includes else pattern
    directories_only = pattern.endswith("/")
    pattern = pattern[:-1] if directories_only else pattern
    whole_path = "/" in pattern
    pattern = pattern.removeprefix("/")
    if not pattern:
        return None
    if not _WILD.search(pattern):
        return _Rule(includes, directories_only, whole_path, literal=pattern)
    if not whole_path and pattern[0] == "*" and not _WILD.search(pattern, 1):
        return _Rule(includes, directories_only, whole_path, suffix=pattern[1:])
    expression = _expression(pattern)
    return (
        None
        if expression is None
        else _Rule(includes, directories_only, whole_path, expression=re.compile(expression, re.DOTALL))
    )


def _without_trailing_spaces(line: str) -> str:
    bare = line.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if backslashes % 2 and bare != line else bare


def _expression(pattern: str) -> str | None:
    """Return a regular expression for the wildcards of ``pattern``; None: it can match nothing."""
    parts: list[str] = []
    at, end = 0, len(pattern)
    while at < end:
        char = pattern[at]
        if char == "*":
            stars = re.compile(r"\*+").match(pattern, at)
            after = stars.end() if stars else at + 1
            alone = (at == 0 or pattern[at - 1] == "/") and (after == end or pattern[after] == "/")
            if after - at == 2 and alone:  # noqa: PLR2004 - `**` as a whole part of a path: any number of parts
                if after == end:
                    parts.append(".+" if at else ".*")
                else:
                    parts.append("(?:[^/]+/)*")
                    after += 1
            else:
                parts.append("[^/]*")
            at = after
        elif char == "?":
            parts.append("[^/]")
            at += 1
        elif char == "[":
            bracket = _bracket(pattern, at)
            if bracket is None:
                return None
            text, at = bracket
            parts.append(text)
        elif char == "\\":
            if at + 1 == end:
                return None
            parts.append(re.escape(pattern[at + 1]))
            at += 2
        else:
            parts.append(re.escape(char))
            at += 1
    return "".join(parts)


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """Return the expression for the ``[…]`` at ``start``, and where it ends; None: it does not end."""
    at = start + 1
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    inside: list[str] = []
    first = True
    while at < len(pattern) and (first or pattern[at] != "]"):
        first = False
        if pattern.startswith("[:", at) and (close := pattern.find(":]", at)) > 0:
            members = _CLASSES.get(pattern[at + 2 : close])
            if members is None:
                return None
            inside.append(members)
            at = close + 2
            continue
        low, at = _member(pattern, at)
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("]", ""):
            high, at = _member(pattern, at + 1)
            if low <= high:
                inside.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            inside.append(re.escape(low))
    if at >= len(pattern):
        return None
    body = "".join(inside)
    if negated:
        return (f"[^/{body}]", at + 1)
    return (f"(?!/)[{body}]" if body else "(?!)", at + 1)


def _member(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "\\" and at + 1 < len(pattern):
        return pattern[at + 1], at + 2
    return pattern[at], at + 1
