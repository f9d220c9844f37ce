"""Environment markers: checked against the grammar, written in one way."""

from __future__ import annotations

import re

from wardian.errors import InvalidInput

_TOKEN = re.compile(
    r"[ \t]*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<operator>===|==|~=|!=|<=|>=|<|>)|(?P<bracket>[()])|(?P<word>[A-Za-z_][A-Za-z_.]*))"
)
_OLD_NAMES = {
    "os.name": "os_name",
    "sys.platform": "sys_platform",
    "platform.version": "platform_version",
    "platform.machine": "platform_machine",
    "platform.python_implementation": "platform_python_implementation",
    "python_implementation": "platform_python_implementation",
}
_VARIABLES = {
    "python_version", "python_full_version", "os_name", "sys_platform", "platform_release", "platform_system", "platform_version",
    "platform_machine", "platform_python_implementation", "implementation_name", "implementation_version", "extra", "extras",
    "dependency_groups", *_OLD_NAMES,
}  # fmt: skip
_MAX_DEPTH = 50


def normalised_marker(text: str) -> str:
    """Return ``text`` with one space between words, double quotes where they fit and PEP 508 names; else as written.

    Idempotent. The rules are Wardian's own: an identity that leant on a library's way of printing would change with it.

    Raises:   InvalidInput: code ``bad_marker``.
    Source:   PEP 508; PEP 751 for ``extras`` and ``dependency_groups``
    """
    reader = _Reader(text)
    reader.read_or(0)
    if reader.word:
        raise reader.error("`and` or `or`")
    line = ""
    for word in reader.written:
        line += word if not line or line.endswith("(") or word == ")" else f" {word}"
    return line


class _Reader:
    """A recursive-descent reader of one marker. ``word`` is the next one (empty at the end), ``written`` those behind."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.at = self.start = 0
        self.written: list[str] = []
        self.kind, self.word = self._next()

    def read_or(self, depth: int) -> None:
        self.read_and(depth)
        while self.word == "or":
            self.take()
            self.read_and(depth)

    def read_and(self, depth: int) -> None:
        self.read_comparison(depth)
        while self.word == "and":
            self.take()
            self.read_comparison(depth)

    def read_comparison(self, depth: int) -> None:
        if self.word == "(":
            if depth == _MAX_DEPTH:
                raise self.error(f"an end to brackets, {_MAX_DEPTH} deep,")
            self.take()
            self.read_or(depth + 1)
            if self.word != ")":
                raise self.error("`)`")
            self.take()
            return
        self.read_value()
        if self.kind == "operator" or self.word == "in":
            self.take()
        elif self.word == "not":
            self.take()
            if self.word != "in":
                raise self.error("`in` after `not`")
            self.take()
        else:
            raise self.error("a comparison such as `==`, `<` or `in`")
        self.read_value()

    def read_value(self) -> None:
        if self.kind == "text":
            inside = self.word[1:-1]
            self.word = f"'{inside}'" if '"' in inside else f'"{inside}"'
        elif self.word in _VARIABLES:
            self.word = _OLD_NAMES.get(self.word, self.word)
        else:
            raise self.error("a marker variable or a quoted text")
        self.take()

    def take(self) -> None:
        self.written.append(self.word)
        self.kind, self.word = self._next()

    def _next(self) -> tuple[str, str]:
        self.start = self.at
        if self.at == len(self.text):
            return "end", ""
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            raise self.error("a variable, a quoted text or a comparison")
        self.at = match.end()
        return str(match.lastgroup), str(match[str(match.lastgroup)])

    def error(self, wanted: str) -> InvalidInput:
        here = self.text[self.start :].strip()[:30]
        where = f"at `{here}`" if here else "at its end"
        return InvalidInput(
            f"`{self.text[:120]}` is not a marker: {wanted} is missing {where}",
            hint='for example `; python_version < "3.12" and sys_platform == "linux"`', code="bad_marker",
        )  # fmt: skip
