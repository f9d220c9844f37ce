"""TOML with places: its values, and where in the text each of them stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidDefinition

if TYPE_CHECKING:
    from wardian.formats.faults import Faults

TomlPath = tuple[str | int, ...]

# tomllib needs memory with the square of a key's parts: 400 KB of dots would take the machine down
_LONG_KEY = re.compile(r"(?:^[ \t]*\[{0,2}|[{,])[ \t]*(?:(?:[\w-]+|\"[^\"\n]*\"|'[^'\n]*')[ \t]*\.[ \t]*){40}", re.MULTILINE)
_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LITERAL = re.compile(r"'''.*?'''(?!')'{0,2}|'[^'\n]*'", re.DOTALL)
_BASIC = re.compile(r'"""(?:[^"\\]++|\\.|"(?!""))*+"{3,5}|"(?:[^"\\\n]++|\\.)*+"', re.DOTALL)
_PLAIN = re.compile(r"[^,\]}#\n]*[^,\]}#\n \t\r]")


@dataclass(frozen=True, slots=True)
class TomlText:
    """A parsed text. ``spans`` holds, for each path, where its value begins and ends; ``keys`` where its key begins.

    A path is made of keys and, within arrays, indexes: ``("project", "dependencies", 2)``.
    """

    text: str
    values: dict[str, Any]
    spans: dict[TomlPath, tuple[int, int]] = field(default_factory=dict)
    keys: dict[TomlPath, int] = field(default_factory=dict)
    newlines: list[int] = field(default_factory=list)

    def line_of(self, path: TomlPath) -> int | None:
        """Return the line, from 1, of what is at ``path``: of an array's element itself, else of its key; None if it is nowhere."""
        at = self.spans[path][0] if path and isinstance(path[-1], int) and path in self.spans else self.keys.get(path)
        return None if at is None else bisect_right(self.newlines, at - 1) + 1

    def get(self, path: TomlPath) -> Any:
        """Return the value at ``path``; None if there is none."""
        value: Any = self.values
        for key in path:
            if not isinstance(value, dict | list):
                return None
            try:
                value = value[key]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def field_of(path: TomlPath) -> str:
    """Return ``path`` as people read it: ``project.dependencies[2]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def parse_toml(text: str, faults: Faults, *, line_offset: int = 0) -> TomlText:
    """Return ``text`` parsed.

    Args:     text: line ends LF.  faults: what was wrong before; raised together.  line_offset: lines of its file before it.
    Raises:   InvalidDefinition: codes ``bad_toml``, ``duplicate_key``, ``too_deep``; with the line.
    """
    import tomllib

    if match := _LONG_KEY.search(text):
        faults.add("too_deep", "a key has more than 40 parts", line=text.count("\n", 0, match.end()) + 1 + line_offset)
    faults.raise_if_any()
    try:
        values = tomllib.loads(text)
        places = _Scanner(text)
    except RecursionError:
        faults.add("too_deep", "arrays and tables are nested too deeply", line=1 + line_offset)
        raise InvalidDefinition(faults.found) from None
    except ValueError as error:
        message = str(error)
        place = re.search(r" \(at line (\d+), column \d+\)$| \(at end of document\)$", message)
        line = (int(place[1]) if place and place[1] else text.rstrip("\n").count("\n") + 1) + line_offset
        code = "duplicate_key" if re.search(r"overwrite|twice|[Dd]uplicate|Cannot (mutate|declare)", message) else "bad_toml"
        faults.add(code, message[: place.start()] if place else message, line=line)
        raise InvalidDefinition(faults.found) from None
    newlines = [match.start() for match in re.finditer("\n", text)]
    return TomlText(text, values, places.spans, places.keys, newlines)


class _Scanner:
    """Walks a text that tomllib accepted and notes where things are; it trusts the syntax."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.spans: dict[TomlPath, tuple[int, int]] = {}
        self.keys: dict[TomlPath, int] = {}
        self._counts: dict[TomlPath, int] = {}  # tables in each array of tables so far
        table: TomlPath = ()
        while self.skip_space() < len(text):
            start = self.at
            if text[start] == "[":
                table = self.header(start)
            else:
                self.pair(table, start)

    def skip_space(self) -> int:
        self.at = self.match(_SPACE).end()
        return self.at

    def match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if found is None:  # tomllib accepted what this does not know
            raise ValueError(f"unexpected text (at line {self.text.count(chr(10), 0, self.at) + 1}, column 1)")
        return found

    def header(self, start: int) -> TomlPath:
        double = self.text.startswith("[[", start)
        self.at += 2 if double else 1
        path = self.resolved((), self.dotted_key(), whole=not double)
        self.skip_space()
        self.at += 2 if double else 1
        if double:
            self.keys.setdefault(path, start)
            self._counts[path] = self._counts.get(path, 0) + 1
            path = (*path, self._counts[path] - 1)
        self.keys[path] = start
        return path

    def resolved(self, table: TomlPath, keys: list[str], *, whole: bool) -> TomlPath:
        """Return the path that ``keys`` mean in ``table``: a name of an array of tables stands for its last table."""
        path = table
        for i, key in enumerate(keys):
            path = (*path, key)
            if path in self._counts and (whole or i < len(keys) - 1):
                path = (*path, self._counts[path] - 1)
        return path

    def dotted_key(self) -> list[str]:
        keys: list[str] = []
        while True:
            self.skip_space()
            first = self.text[self.at]
            if first == '"':
                keys.append(self.decoded(_BASIC))
            elif first == "'":
                keys.append(self.decoded(_LITERAL))
            else:
                keys.append(self.match(_BARE).group(0))
                self.at += len(keys[-1])
            self.skip_space()
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def decoded(self, pattern: re.Pattern[str]) -> str:
        import tomllib

        quoted = self.match(pattern).group(0)
        self.at += len(quoted)
        return str(tomllib.loads(f"x={quoted}")["x"])

    def pair(self, table: TomlPath, start: int) -> None:
        keys = self.dotted_key()
        for i in range(1, len(keys)):
            self.keys.setdefault(self.resolved(table, keys[:i], whole=True), start)
        path = self.resolved(table, keys, whole=False)
        self.keys.setdefault(path, start)
        self.at += 1  # the equals sign
        self.skip_space()
        self.value(path)

    def value(self, path: TomlPath) -> None:
        start = self.at
        first = self.text[start]
        if first == "[":
            self.items(path)
        elif first == "{":
            self.inline_table(path)
        else:
            pattern = _BASIC if first == '"' else _LITERAL if first == "'" else _PLAIN
            self.at = self.match(pattern).end()
        self.spans[path] = (start, self.at)

    def items(self, path: TomlPath) -> None:
        self.at += 1
        index = 0
        while self.text[self.skip_space()] != "]":
            self.value((*path, index))
            index += 1
            if self.text[self.skip_space()] == ",":
                self.at += 1
        self.at += 1

    def inline_table(self, path: TomlPath) -> None:
        self.at += 1
        while self.text[self.skip_space()] != "}":
            self.pair(path, self.at)
            if self.text[self.skip_space()] == ",":
                self.at += 1
        self.at += 1
