"""Changes to lists in a YAML text, made where they stand: every other character stays as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.formats.yaml_emit import scalar
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.formats.yaml_text import YamlNode

_GAP = re.compile(r"(?:[ \t\n]|(?<=[ \t\n])#[^\n]*)*")  # white space and comments between the parts of a flow list


def replace_item(text: str, items: YamlSequence, index: int, item: str) -> str:
    """Return ``text`` with the item at ``index``, a scalar, replaced by ``item``; its comment is kept."""
    node = items.items[index]
    end = node.start + len(text[node.start : node.end].rstrip())
    return text[: node.start] + scalar(item, flow=items.flow) + text[end:]


def replace_by_lines(
    text: str, items: YamlSequence, index: int, lines: Sequence[tuple[str | None, str]], key: YamlScalar
) -> str:
    """Return ``text`` with the item at ``index``, a scalar, replaced by ``lines``: items (or None) with comments (or none).

    In a list in brackets comments have no place and are left out.

    Args:     key: the key whose value the list is; an emptied list is written ``[]`` behind it.
    """
    new = [item for item, _ in lines if item is not None]
    if not lines or (items.flow and not new):
        return remove_item(text, items, index, key)
    node = items.items[index]
    end = node.start + len(text[node.start : node.end].rstrip())
    if items.flow:
        return text[: node.start] + ", ".join(scalar(item, flow=True) for item in new) + text[end:]
    pad = " " * (items.start - _line_start(text, items.start))
    first, *rest = (f"- {scalar(item)}{comment}" if item is not None else comment.strip() for item, comment in lines)
    dash, after = _dash_of(text, items, index), _line_end(text, end)
    text = text[:dash] + first + text[end:after] + "".join(f"\n{pad}{line}" for line in rest) + text[after:]
    return text if new or len(items.items) > 1 else _with_empty_list(text, key)


def insert_item(text: str, items: YamlSequence, item: str, *, before: int | None = None) -> str:
    """Return ``text`` with ``item`` (one line of YAML, or several with their indentation) in the list ``items``.

    Args:     before: the index of the item that it comes before; None puts it last.
    """
    if items.flow:
        if not items.items:
            return text[: items.start + 1] + item + text[items.start + 1 :]
        if before is not None:
            at = items.items[before].start
            return f"{text[:at]}{item}, {text[at:]}"
        at = deep_end(items.items[-1])
        return f"{text[:at]}, {item}{text[at:]}"
    column = items.start - _line_start(text, items.start)
    line = f"{' ' * column}- {item}\n"
    if before is not None:
        at = _line_start(text, _dash_of(text, items, before))
        return text[:at] + line + text[at:]
    return _insert_line(text, _line_end(text, _content_end(text, items.items[-1])), line)


def remove_item(text: str, items: YamlSequence, index: int, key: YamlScalar) -> str:
    """Return ``text`` without the item at ``index``; lines that hold only a comment stay.

    Args:     key: the key whose value the list is; an emptied list is written ``[]`` behind it.
    """
    node = items.items[index]
    if items.flow:
        return _without_flow_item(text, items, index)
    start = _line_start(text, _dash_of(text, items, index))
    end = _line_end(text, _content_end(text, node)) + 1
    text = text[:start] + text[end:]
    return text if len(items.items) > 1 else _with_empty_list(text, key)


def put_list(text: str, owner: YamlMapping, key: str, lines: Sequence[str], *, flow: str) -> str:
    """Return ``text`` with the list ``key`` in the mapping ``owner``, which has no value for it yet.

    Args:     lines: the list's own lines (``- numpy``), without indentation.  flow: the list in one line (``[numpy]``).
    """
    name = next((name for name, _ in owner.entries if name.value == key), None)
    if name is not None:
        value = owner.find(key)
        colon = text.index(":", name.end) + 1
        if owner.flow or (isinstance(value, YamlScalar) and value.value):  # `key: null`
            end = value.end if value is not None and value.start >= colon else colon
            return f"{text[:colon]} {flow}{text[end:]}"
        column = name.start - _line_start(text, name.start)
        return _insert_line(text, _line_end(text, colon), "".join(f"{' ' * (column + 2)}{line}\n" for line in lines))
    if owner.flow:
        if not owner.entries:
            return f"{text[: owner.start + 1]}{key}: {flow}{text[owner.start + 1 :]}"
        at = deep_end(owner.entries[-1][1])
        return f"{text[:at]}, {key}: {flow}{text[at:]}"
    column = owner.entries[0][0].start - _line_start(text, owner.entries[0][0].start) if owner.entries else 0
    pad = " " * column
    block = f"{pad}{key}:\n" + "".join(f"{pad}  {line}\n" for line in lines)
    return _insert_line(text, _line_end(text, _content_end(text, owner)), block)


def deep_end(node: YamlNode) -> int:
    """Return the offset behind the last character of ``node`` that is written, comments and blank lines left out."""
    if isinstance(node, YamlScalar) or node.flow:
        return node.end
    children = node.items if isinstance(node, YamlSequence) else [part for entry in node.entries for part in entry]
    return max((deep_end(child) for child in children), default=node.end)


def _with_empty_list(text: str, key: YamlScalar) -> str:
    colon = text.index(":", key.end) + 1
    return f"{text[:colon]} []{text[colon:]}"


def _content_end(text: str, node: YamlNode) -> int:
    """Like `deep_end`; a block of several lines ends at its last line with text."""
    return len(text[: deep_end(node)].rstrip()) if deep_end(node) > node.start else node.start


def _without_flow_item(text: str, items: YamlSequence, index: int) -> str:
    node = items.items[index]
    behind = _GAP.match(text, node.end)
    comma = behind.end() if behind else node.end
    if text[comma : comma + 1] == ",":  # take the comma behind it
        text = text[:comma] + text[comma + 1 :]
    elif index:  # the last item: take the comma before it
        before = _GAP.match(text, items.items[index - 1].end)
        comma = before.end() if before else node.start
        text = text[:comma] + text[comma + 1 :]
        return _cut(text, node.start - 1, node.end - 1)
    return _cut(text, node.start, node.end)


def _cut(text: str, start: int, end: int) -> str:
    """Return ``text`` without start to end, the blanks behind it, and the line if nothing else or only a comment is on it."""
    while text[end : end + 1] in (" ", "\t") and text[end : end + 1]:
        end += 1
    first, last = _line_start(text, start), _line_end(text, end)
    if first and not text[first:start].strip() and text[end:last].strip()[:1] in ("", "#"):
        return text[:first] + text[last + 1 :]
    if text[end : end + 1] in ("]", "\n"):
        start = len(text[:start].rstrip(" \t"))
    return text[:start] + text[end:]


def _insert_line(text: str, at: int, lines: str) -> str:
    """Return ``text`` with whole ``lines`` behind the line that ends at ``at``."""
    if at >= len(text):
        return text + ("\n" if text and not text.endswith("\n") else "") + lines
    return text[: at + 1] + lines + text[at + 1 :]


def _dash_of(text: str, items: YamlSequence, index: int) -> int:
    """Return the offset of the dash of the item at ``index``: all dashes of a list stand in one column."""
    column = items.start - _line_start(text, items.start)
    at = items.items[index].start
    while at > items.start:
        at = _line_start(text, at)
        if text[at + column : at + column + 1] == "-" and not text[at : at + column].strip():
            return at + column
        at -= 1
    return items.start


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
