"""The proof of an edit: the changed YAML says what it should, and nothing else changed."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from wardian.errors import Bug, InvalidDefinition, InvalidInput
from wardian.formats.faults import Faults
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence, compose

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.formats.yaml_text import YamlNode


def root_of(text: str) -> YamlMapping:
    """Return the mapping that ``text`` is; an empty one for an empty file.

    Raises:   InvalidDefinition: it is no YAML mapping, or a faulty one.
    """
    faults = Faults("")
    root = compose(text, faults)
    if root is None and [fault.code for fault in faults.found] == ["empty_file"]:
        return YamlMapping((), 1, len(text), len(text), flow=False)
    if isinstance(root, YamlMapping) and not faults:
        return root
    if root is not None and not isinstance(root, YamlMapping):
        faults.add("wrong_type", f"the file must be a mapping, not {root.kind}", line=root.line)
    raise InvalidDefinition(faults.found)


def _plain(node: YamlNode) -> Any:
    if isinstance(node, YamlScalar):
        return node.value
    if isinstance(node, YamlSequence):
        return [_plain(item) for item in node.items]
    return {key.value: _plain(value) for key, value in node.entries}


def value_at(data: Any, path: tuple[str | int, ...]) -> Any:
    """Return the part of the plain ``data`` at ``path``."""
    for step in path:
        data = data[step]
    return data


def checked(before: str, after: str, change: Callable[[Any], None]) -> str:
    """Return ``after`` if it says what ``change`` makes of what ``before`` says.

    Raises:   InvalidInput: code ``edit_by_hand``: an alias or anchor makes the change reach further.
    """
    expected = copy.deepcopy(_plain(root_of(before)))
    change(expected)
    try:
        said = _plain(root_of(after))
    except InvalidDefinition:
        said = None
    if said == expected:
        return after
    if "&" in before and "*" in before:
        raise InvalidInput(
            "the file's aliases tie this list to another place", hint="edit the file by hand", code="edit_by_hand"
        )
    raise Bug("the changed file does not say what it should", details={"before": before, "after": after})
