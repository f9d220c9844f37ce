"""The safe fixes: each takes one line away or adds one; every other character stays, comments too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wardian import formats
from wardian.errors import InvalidInput
from wardian.formats.pip_lines import logical_lines, read_parts
from wardian.formats.yaml_edit import remove_item
from wardian.formats.yaml_proof import checked, root_of, value_at
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence

if TYPE_CHECKING:
    from wardian.formats.yaml_text import YamlNode
    from wardian.lint.finding import Finding

_STEP = re.compile(r"([A-Za-z_][\w-]*)|\[(\d+)\]")


def fixed_text(text: str, format_name: str, finding: Finding) -> str | None:
    """Return ``text`` without what ``finding`` is about; None if that takes a human.

    Raises:   InvalidInput: aliases tie the place to another one; code ``edit_by_hand``.
    """
    if finding.id == "missing-pip":
        return formats.add(text, format_name, ["pip"], manager="conda")
    if finding.id == "prefix-ignored":
        return _without_key(text, "prefix")
    if format_name == "requirements":
        return _without_line(text, finding.line)
    if format_name in ("conda", "wardian") or format_name.startswith("azureml-"):
        return _without_item(text, finding.field)
    return None


def _without_line(text: str, number: int | None) -> str | None:
    lines = text.splitlines(keepends=True)
    found = next((line for line in logical_lines(text)[0] if line.first == number), None)
    if found is None or found.constraint or not _is_one(found.text):
        return None
    comment = found.comment.strip()
    return "".join([*lines[: found.first - 1], *([f"{comment}\n"] if comment else []), *lines[found.last :]])


def _is_one(text: str) -> bool:
    """Whether the line holds one option or one requirement, and nothing beside it."""
    try:
        parts = read_parts(text)
    except InvalidInput:
        return False
    return len(parts.options) + (parts.requirement is not None) == 1


def _without_item(text: str, path: str) -> str | None:
    """Return the YAML ``text`` without the item of a list at ``path``; a comment behind it gets a line of its own."""
    steps = [match[1] or int(match[2]) for match in _STEP.finditer(path)]
    key: YamlScalar | None = None
    node: YamlNode | None = root_of(text)
    owner: YamlNode | None = None
    for step in steps:
        owner = node
        if isinstance(step, int) and isinstance(node, YamlSequence) and step < len(node.items):
            node = node.items[step]
        elif isinstance(node, YamlMapping):
            key = next((name for name, _ in node.entries if name.value == step), None)
            node = node.find(str(step))
        else:
            return None
    index = steps[-1] if steps else None
    if not (isinstance(owner, YamlSequence) and isinstance(node, YamlScalar) and isinstance(index, int) and key):
        return None
    if len(owner.items) == 1 or (node.value.startswith("-") and not _is_one(node.value)):
        return None  # an emptied list is for a human to look at
    comment = "" if owner.flow else _comment_behind(text, node)
    new = remove_item(text, owner, index, key)
    if comment:
        start = text.rfind("\n", 0, node.start) + 1
        indent = re.match(r"[ \t]*", text[start:])
        new = f"{new[:start]}{indent[0] if indent else ''}{comment}\n{new[start:]}"

    def change(data: Any) -> None:
        del value_at(data, tuple(steps[:-1]))[index]

    return checked(text, new, change)


def _comment_behind(text: str, node: YamlScalar) -> str:
    end = text.find("\n", node.end)
    rest = text[node.end : len(text) if end < 0 else end].strip()
    return rest if rest.startswith("#") and node.style not in ("|", ">") else ""


def _without_key(text: str, key: str) -> str | None:
    root = root_of(text)
    name = next((name for name, _ in root.entries if name.value == key), None)
    value = root.find(key)
    if root.flow or name is None or not isinstance(value, YamlScalar) or value.style in ("|", ">"):
        return None
    start = text.rfind("\n", 0, name.start) + 1
    end = text.find("\n", max(value.end, name.end))
    comment = _comment_behind(text, value)
    rest = "" if end < 0 else text[end + 1 :]
    return checked(text, text[:start] + (f"{comment}\n" if comment else "") + rest, lambda data: data.pop(key))
