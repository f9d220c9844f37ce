"""Adding to and removing from arrays of requirements in TOML: every other character stays as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wardian.definition.requirement import PipRequirement
from wardian.errors import Bug, InvalidInput
from wardian.formats.edit_requirements import absent, key_of, replaced_index, wanted_key
from wardian.formats.faults import Faults
from wardian.formats.toml_text import TomlPath, TomlText, parse_toml
from wardian.formats.write_toml import toml_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_REST_OF_LINE = re.compile(r"[ \t]*(#[^\n]*)?(?=\n|\Z)")
_TO_COMMA = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+,")  # possessive: a comma in a comment is none


def add_to_array(text: str, path: TomlPath, requirements: Sequence[str], *, also: Sequence[TomlPath]) -> str:
    """Return ``text`` with ``requirements`` in it: in the place of the one for the same project, else at the array's end.

    Args:     path: the array that takes new ones; made if it is not there.  also: further arrays to look for old ones in.
    Raises:   InvalidInput: not a requirement with a name.  Conflict: code ``ambiguous_requirement``.
              InvalidDefinition: ``text`` is not TOML.
    """
    for requirement in requirements:
        new = PipRequirement.parse(requirement)
        if new.name is None or new.hashes:
            why = "has hashes" if new.hashes else "has no name"
            raise InvalidInput(f"`{requirement[:120]}` {why}: PEP 508 has no place for that", code="bad_requirement",
                               hint="write `name @ ./path` or `name @ https://…`")  # fmt: skip
        text = _add_one(text, path, new, also)
    return text


def remove_from_arrays(text: str, paths: Sequence[TomlPath], names: Sequence[str]) -> str:
    """Return ``text`` without the requirements for ``names`` in the arrays ``paths``.

    Raises:   NotFound: one of them is in no array.  InvalidDefinition: ``text`` is not TOML.
    """
    toml = _parsed(text)
    wanted = [wanted_key(name) for name in names]
    found = {place: key_of(requirement) for path in paths for place, requirement in _requirements(toml, path) if requirement}
    if missing := [name for name, key in zip(names, wanted, strict=True) if key not in found.values()]:
        raise absent(missing, "the list of dependencies")
    for place in sorted((place for place, key in found.items() if key in wanted), key=lambda p: -toml.spans[p][0]):
        toml = _parsed(_without(toml, place))
    return toml.text


def _add_one(text: str, path: TomlPath, new: PipRequirement, also: Sequence[TomlPath]) -> str:
    toml = _parsed(text)
    found = [pair for array in (path, *also) for pair in _requirements(toml, array)]
    at = replaced_index(new, [requirement for _, requirement in found])
    if at is not None:
        place, before = found[at]
        if str(before) == str(new):
            return text
        start, end = toml.spans[place]
        return f"{text[:start]}{toml_text(str(new))}{text[end:]}"
    if toml.get(path) is None:
        return _with_array(text, path, str(new))
    return _appended(toml, path, str(new))


def _appended(toml: TomlText, path: TomlPath, item: str) -> str:
    text = toml.text
    start, end = toml.spans[path]
    quoted = toml_text(item)
    count = len(toml.get(path))
    if count == 0:
        inside = text[start + 1 : end - 1]
        if not inside.strip():
            return f"{text[:start]}[\n    {quoted},\n]{text[end:]}"
        return f"{text[: end - 1]}{'' if inside.endswith(chr(10)) else chr(10)}    {quoted},\n{text[end - 1 :]}"
    first, last = toml.spans[(*path, count - 1)]
    comma = _TO_COMMA.match(text, last, end - 1)
    if "\n" not in text[start:end]:
        return f"{text[: comma.end()]} {quoted},{text[comma.end() :]}" if comma else f"{text[:last]}, {quoted}{text[last:]}"
    if not comma:
        text, end = f"{text[:last]},{text[last:]}", end + 1
        after = last + 1
    else:
        after = comma.end()
    line_start = text.rfind("\n", 0, first) + 1
    indent = text[line_start:first] if not text[line_start:first].strip() else "    "
    rest = _REST_OF_LINE.match(text, after)
    if rest is None or rest.end() >= end:  # the bracket stands on the same line
        return f"{text[:after]}\n{indent}{quoted},{text[after:]}"
    return f"{text[: rest.end()]}\n{indent}{quoted},{text[rest.end() :]}"


def _without(toml: TomlText, place: TomlPath) -> str:
    """Return the text without the element at ``place``, its comma and, if it stands alone on its line, the line."""
    text = toml.text
    start, end = toml.spans[place]
    array_start, array_end = toml.spans[place[:-1]]
    comma = _TO_COMMA.match(text, end, array_end - 1)
    stop = comma.end() if comma and "\n" not in comma.group(0) else end
    line_start = text.rfind("\n", 0, start) + 1
    rest = _REST_OF_LINE.match(text, stop)
    alone = line_start > array_start and not text[line_start:start].strip() and rest is not None and rest.end() < array_end
    if comma and "\n" in comma.group(0):  # a comma on a later line goes, the comments between stay
        text = text[: comma.end() - 1] + text[comma.end() :]
    if alone and rest is not None:
        return text[:line_start] + text[rest.end() + 1 :]
    if comma:
        return text[:start] + text[stop:].lstrip(" \t")
    before = text[array_start + 1 : start]
    if (
        isinstance(place[-1], int) and place[-1] > 0 and before.rstrip().endswith(",")
    ):  # the last one of a line goes with the comma before
        return text[: array_start + 1] + before.rstrip()[:-1] + text[stop:]
    return text[:start] + text[stop:]


def _with_array(text: str, path: TomlPath, item: str) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for key in path[:-1]:
        table = table[key]
    array = tomlkit.array()
    array.multiline(True)
    array.append(item)
    table[str(path[-1])] = array
    new = tomlkit.dumps(document)
    if _parsed(new).get(path) != [item]:
        raise Bug(f"adding {path[-1]} to this TOML failed")
    return new


def _requirements(toml: TomlText, path: TomlPath) -> list[tuple[TomlPath, PipRequirement | None]]:
    array = toml.get(path)
    return [((*path, i), _parse(item)) for i, item in enumerate(array)] if isinstance(array, list) else []


def _parse(item: object) -> PipRequirement | None:
    try:
        return PipRequirement.parse(item) if isinstance(item, str) else None
    except InvalidInput:
        return None  # a faulty one is not ours to touch; reading the file tells


def _parsed(text: str) -> TomlText:
    return parse_toml(text, Faults("the file"))
