"""YAML as text with places: every scalar as it is written, every value with its line. Nothing is constructed.

The parser's events are put together here rather than by PyYAML, so that depth, number of values and aliases are bounded
before anything is built, and `3.10`, `on` and `0777` stay what the user wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from wardian.definition.advice import template_hint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.formats.faults import Faults

LIMIT_DEPTH = 50
LIMIT_VALUES = 50_000
LIMIT_REPEATED = 10_000

# what YAML calls unprintable; NEL, LS and PS break lines for YAML but for no editor, so they would shift every place
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_CONFLICT = re.compile(r"^<{7} ", re.MULTILINE)
_TAG_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)
_NULLS = ("", "~", "null", "Null", "NULL")
_PLAIN_TAGS = {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}


@dataclass(frozen=True, slots=True)
class YamlScalar:
    """One value as it is written, quotes resolved. ``start`` and ``end`` are offsets into the text, in characters."""

    value: str
    line: int
    start: int
    end: int
    style: str | None = None  # None for plain, else one of ' " | >
    kind = "text"

    @property
    def is_null(self) -> bool:
        """Whether nothing is written here, or a plain ``null``."""
        return self.style is None and self.value in _NULLS


@dataclass(frozen=True, slots=True)
class YamlSequence:
    """A list. ``flow``: written as ``[a, b]``; ``end`` then lies behind the bracket, else it is not meaningful."""

    items: tuple[YamlNode, ...]
    line: int
    start: int
    end: int
    flow: bool
    kind = "a list"


@dataclass(frozen=True, slots=True)
class YamlMapping:
    """A mapping: keys in the order in which they are written, no key twice; merged entries (``<<``) last."""

    entries: tuple[tuple[YamlScalar, YamlNode], ...]
    line: int
    start: int
    end: int
    flow: bool
    kind = "a mapping"

    def find(self, key: str) -> YamlNode | None:
        """Return the value of ``key``, or None."""
        return next((value for name, value in self.entries if name.value == key), None)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys, in the order of the file."""
        return tuple(name.value for name, _ in self.entries)


YamlNode: TypeAlias = YamlScalar | YamlSequence | YamlMapping


class _StopError(Exception):
    """The rest of the file cannot be read; the reason is among the faults."""


def compose(text: str, faults: Faults, *, limit_values: int = LIMIT_VALUES) -> YamlNode | None:
    """Return the one document that ``text`` holds; None when it cannot be read.

    Time and memory are bounded by the length of ``text``, whatever it holds. A tag, a key that stands twice or is no
    text is a fault that does not end the reading.

    Args:     faults: where everything wrong goes: ``yaml_syntax``, ``control_character``, ``nul_byte``, ``empty_file``,
              ``several_documents``, ``too_deep``, ``too_many_values``, ``yaml_bomb``, ``recursive_alias``,
              ``undefined_alias``, ``yaml_tag``, ``duplicate_key``, ``bad_key``.
    Source:   YAML 1.1 as libyaml reads it, without type resolution
    """
    if match := _CONTROL.search(text):
        line = text.count("\n", 0, match.start()) + 1
        if match.group() == "\0":
            faults.add("nul_byte", "a NUL character has no place in a text file", line=line)
        else:
            faults.add("control_character", f"the character U+{ord(match.group()):04X} has no place in a text file", line=line,
                       hint='in double quotes it can be written as an escape, such as "\\x1b"')  # fmt: skip
        return None
    if match := _TAG_DIRECTIVE.search(text):
        faults.add("yaml_tag", "a %TAG directive has no place in a definition", line=text.count("\n", 0, match.start()) + 1)
        return None
    import yaml

    try:
        return _Composer(text, faults, limit_values).document(
            yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        )
    except _StopError:
        return None
    except yaml.MarkedYAMLError as error:
        _note_syntax(text, error, faults)
    except yaml.YAMLError as error:
        faults.add("yaml_syntax", " ".join(str(error).split()))
    return None


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    event: Any
    children: list[YamlNode] = field(default_factory=list)
    size: int = 1


class _Composer:
    def __init__(self, text: str, faults: Faults, limit_values: int) -> None:
        self._text = text
        self._faults = faults
        self._limit_values = limit_values
        self._stack: list[_Open] = []
        self._root: YamlNode | None = None
        self._anchors: dict[str, tuple[YamlNode, int] | None] = {}  # None while the anchored value is still open
        self._values = 0
        self._repeated = 0

    def document(self, events: Iterator[Any]) -> YamlNode | None:
        documents = 0
        for event in events:
            match type(event).__name__:
                case "DocumentStartEvent":
                    documents += 1
                    if documents > 1:
                        self._fatal_fault(
                            "several_documents", "a definition is one YAML document; a second one begins here", event
                        )
                case "ScalarEvent":
                    self._add(self._scalar(event), 1, event.anchor)
                case "SequenceStartEvent" | "MappingStartEvent":
                    self._open(event)
                case "SequenceEndEvent" | "MappingEndEvent":
                    self._close(event)
                case "AliasEvent":
                    self._alias(event)
        if self._root is None or (documents == 1 and isinstance(self._root, YamlScalar) and not self._root.value):
            self._faults.add("empty_file", "the file holds no definition", line=1)
            return None
        return self._root

    def _fatal_fault(self, code: str, message: str, event: Any, hint: str | None = None) -> None:
        self._faults.add(code, message, line=event.start_mark.line + 1, hint=hint)
        raise _StopError

    def _open(self, event: Any) -> None:
        if len(self._stack) >= LIMIT_DEPTH:
            self._fatal_fault("too_deep", f"lists and mappings are nested more than {LIMIT_DEPTH} deep", event)
        self._check_tag(event)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(event))

    def _close(self, end: Any) -> None:
        opened = self._stack.pop()
        start = opened.event
        place = (start.start_mark.line + 1, start.start_mark.index, end.end_mark.index, bool(start.flow_style))
        node: YamlNode
        if type(start).__name__ == "SequenceStartEvent":
            node = YamlSequence(tuple(opened.children), *place)
        else:
            node = YamlMapping(self._entries(opened.children), *place)
        self._add(node, opened.size, start.anchor)

    def _scalar(self, event: Any) -> YamlScalar:
        self._check_tag(event)
        start, end, line = event.start_mark.index, event.end_mark.index, event.start_mark.line + 1
        return YamlScalar(event.value, line, start, end, event.style or None)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._fatal_fault(
                "undefined_alias", f"`*{event.anchor}` stands for nothing: there is no `&{event.anchor}` before it", event
            )
        found = self._anchors[event.anchor]
        if found is None:
            self._fatal_fault("recursive_alias", f"`*{event.anchor}` holds itself", event)
            return
        node, size = found
        self._repeated += size
        if self._repeated > LIMIT_REPEATED:
            self._fatal_fault("yaml_bomb", f"the aliases of this file repeat more than {LIMIT_REPEATED:,} values", event)
        self._add(node, size, None)

    def _add(self, node: YamlNode, size: int, anchor: str | None) -> None:
        self._values += 1
        if self._values > self._limit_values:
            self._faults.add("too_many_values", f"the file holds more than {self._limit_values:,} values", line=node.line)
            raise _StopError
        if anchor:
            self._anchors[anchor] = (node, size)
        if self._stack:
            self._stack[-1].children.append(node)
            self._stack[-1].size += size
        else:
            self._root = node

    def _entries(self, children: list[YamlNode]) -> tuple[tuple[YamlScalar, YamlNode], ...]:
        entries: dict[str, tuple[YamlScalar, YamlNode]] = {}
        merged: list[YamlNode] = []
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, YamlScalar):
                at = self._text[max(key.start - 1, 0) : key.start + 2]
                self._faults.add("bad_key", f"a key is text, not {key.kind}", line=key.line, hint=template_hint(at))
            elif key.value == "<<" and key.style is None:
                merged += value.items if isinstance(value, YamlSequence) else [value]
            elif key.value in entries:
                first = entries[key.value][0].line
                self._faults.add("duplicate_key", f"the key `{key.value}` stands twice: in line {first} and in line {key.line}",
                                 line=key.line, field=key.value, hint="merge the two, or remove one")  # fmt: skip
            else:
                entries[key.value] = (key, value)
        for mapping in merged:
            if isinstance(mapping, YamlMapping):
                for key, value in mapping.entries:
                    entries.setdefault(key.value, (key, value))
            else:
                self._faults.add("wrong_type", f"`<<` merges mappings, not {mapping.kind}", line=mapping.line)
        return tuple(entries.values())

    def _check_tag(self, event: Any) -> None:
        if event.tag not in _PLAIN_TAGS:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._faults.add("yaml_tag", f"the tag `{tag[:80]}` has no place in a definition", line=event.start_mark.line + 1,
                             hint="leave the tag out; quote the value if it is to be text")  # fmt: skip


def _note_syntax(text: str, error: Any, faults: Faults) -> None:
    if conflict := _CONFLICT.search(text):
        faults.add("yaml_syntax", "a merge conflict is left in the file", line=text.count("\n", 0, conflict.start()) + 1,
                   hint="keep one side, and delete its marks")  # fmt: skip
        return
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    at = text[mark.index : mark.index + 1] if mark else ""
    if at == "\t":
        faults.add("yaml_syntax", "a tab stands where YAML wants spaces", line=line, hint="indent with spaces")
    elif at == "%" and (template := template_hint(text[mark.index - 1 : mark.index + 1])):
        faults.add("yaml_syntax", "no YAML value begins with `{%`", line=line, hint=template)
    elif at in ("@", "`", "%") and "cannot start any token" in str(error.problem):
        faults.add("yaml_syntax", f"no YAML value begins with `{at}`", line=line, hint="put the value in quotes")
    else:
        where = f" that begins in line {error.context_mark.line + 1}" if error.context and error.context_mark else ""
        language = "JSON" if faults.file.endswith(".json") else "YAML"
        context = f"{error.context.removeprefix('while ')}{where}: " if error.context else ""
        faults.add("yaml_syntax", f"this is not {language}: {context}{error.problem or 'it cannot be read'}", line=line,
                   hint=_syntax_hint(str(error.problem)))  # fmt: skip


def _syntax_hint(problem: str) -> str | None:
    if "mapping values" in problem:
        return "a value that holds `: ` is put in quotes; keys of one level begin in one column"
    if "block collection" in problem or "block mapping" in problem or "expected key" in problem:
        return "check the indentation: entries of one level begin in one column"
    if "unexpected end" in problem:
        return "a closing quote or bracket is missing"
    return None
