"""Adding to and removing from conda's and Wardian's own YAML: comments, blank lines and formatting stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from wardian.definition.match_spec import MatchSpec
from wardian.definition.requirement import PipRequirement
from wardian.errors import Bug, InvalidDefinition, InvalidInput, WardianError
from wardian.formats.edit_requirements import absent, key_of, replaced_index, wanted_key
from wardian.formats.faults import Faults
from wardian.formats.pip_lines import logical_lines, read_parts
from wardian.formats.yaml_edit import insert_item, put_list, remove_item, replace_by_lines, replace_item
from wardian.formats.yaml_emit import scalar
from wardian.formats.yaml_proof import checked, root_of, value_at
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wardian.formats.yaml_text import YamlNode

_T = TypeVar("_T")
_Layout: TypeAlias = "Callable[[YamlMapping, str], _List]"


def add_to_conda(text: str, requirements: Sequence[str], *, manager: str = "conda") -> str:
    """Return the conda file ``text`` with ``requirements`` in it.

    A requirement goes to the place of the one with the same name, be it conda's or pip's, and keeps the comment there. A new
    one goes to the end of the conda packages, or of pip's if only pip can read it (URLs, VCS, local code).

    Args:     manager: the environment's, `conda`; anything else looks at pip's lines alone.
    Raises:   InvalidInput: not a requirement; ``edit_by_hand``: aliases stand in the way.  InvalidDefinition: no YAML.
              Conflict: several of pip's lines ask for the project; code ``ambiguous_requirement``.
    """
    return _add(text, requirements, _conda_list, conda=manager == "conda")


def remove_from_conda(text: str, names: Sequence[str]) -> str:
    """Return the conda file ``text`` without what asks for the packages ``names``, conda's or pip's.

    Raises:   NotFound: nothing asks for one of them; the message names each.
    """
    return _remove(text, names, _conda_list)


def add_to_wardian(text: str, requirements: Sequence[str], *, manager: str) -> str:
    """Return the file ``text`` in Wardian's own YAML with ``requirements`` in it; see `add_to_conda`.

    Args:     manager: the environment's: new ones go to its conda packages if it is `conda`, else to pip's.
    """
    return _add(text, requirements, _wardian_list, conda=manager == "conda")


def remove_from_wardian(text: str, names: Sequence[str]) -> str:
    """Return the file ``text`` in Wardian's own YAML without what asks for the packages ``names``; see `remove_from_conda`."""
    return _remove(text, names, _wardian_list)


def with_pip_lines(text: str, replacements: Sequence[tuple[int, str]]) -> str:
    """Return the conda file ``text`` with some of pip's lines, by index, replaced by texts in pip's own format.

    Each requirement or option of such a text becomes an item, each comment stays one.
    """
    for index, lines in reversed(replacements):  # so that the indices before stay
        place = _conda_list(root_of(text), "pip")
        if place.node is not None and place.key is not None:
            text = replace_by_lines(text, place.node, index, _items_of(lines), place.key)
    return text


def _items_of(lines: str) -> list[tuple[str | None, str]]:
    physical = lines.split("\n")
    items: list[tuple[str | None, str]] = []
    done = 0
    for line in logical_lines(lines)[0]:
        items += [(None, one) for one in physical[done : line.first - 1] if one.strip()]
        items.append((line.text, line.comment))
        done = line.last
    return items + [(None, one) for one in physical[done:] if one.strip()]


@dataclass(frozen=True, slots=True)
class _List:
    """One of the two lists of packages: where its data and its text are. ``node`` is None while there is no list."""

    path: tuple[str | int, ...]  # in the plain data
    owner: YamlMapping | None  # the mapping that the list is, or will be, a value of
    node: YamlSequence | None = None
    key: YamlScalar | None = None


def _conda_list(root: YamlMapping, kind: str) -> _List:
    dependencies = _list_in(root, "dependencies", ("dependencies",))
    if kind == "conda":
        return dependencies
    items = dependencies.node.items if dependencies.node else ()
    for i, item in enumerate(items):
        if isinstance(item, YamlMapping) and item.find("pip") is not None:
            return _list_in(item, "pip", ("dependencies", i, "pip"))
    return _List(("dependencies", len(items), "pip"), None)


def _wardian_list(root: YamlMapping, kind: str) -> _List:
    python = root.find("python")
    if isinstance(python, YamlMapping):
        return _list_in(python, kind, ("python", kind))
    if python is not None and not (isinstance(python, YamlScalar) and python.is_null):
        raise _wrong("python", python, "a mapping")
    return _List(("python", kind), None)


def _list_in(owner: YamlMapping, name: str, path: tuple[str | int, ...]) -> _List:
    node = owner.find(name)
    key = next((key for key, _ in owner.entries if key.value == name), None)
    if isinstance(node, YamlSequence):
        return _List(path, owner, node, key)
    if node is not None and not (isinstance(node, YamlScalar) and node.is_null):
        raise _wrong(name, node, "a list")
    return _List(path, owner, None, key)


def _wrong(name: str, node: YamlNode, expected: str) -> InvalidDefinition:
    faults = Faults("")
    faults.add("wrong_type", f"`{name}` must be {expected}, not {node.kind}", line=node.line, field=name)
    return InvalidDefinition(faults.found)


# -- adding ------------------------------------------------------------------------------------------------------------


def _add(text: str, requirements: Sequence[str], layout: _Layout, *, conda: bool) -> str:
    for requirement in requirements:
        text = _add_one(text, requirement, layout, conda=conda)
    return text


def _add_one(text: str, requirement: str, layout: _Layout, *, conda: bool) -> str:
    root = root_of(text)
    in_conda, in_pip = layout(root, "conda"), layout(root, "pip")
    spec, pip = _parsed(requirement, conda=conda)
    if spec is not None:
        places = [i for i, other in enumerate(_specs(in_conda.node)) if other is not None and other.name == spec.name]
        if places:
            return _with_spec(text, in_conda, places, str(spec))
    if pip is not None and in_pip.node is not None:
        at = replaced_index(pip, _pip_requirements(in_pip.node))
        if at is not None:
            before = in_pip.node.items[at]
            editable = (
                "-e " if isinstance(before, YamlScalar) and before.value.startswith("-e") and pip.path is not None else ""
            )
            new = f"{editable}{pip}"
            return checked(text, replace_item(text, in_pip.node, at, new), lambda data: _put(data, in_pip.path, at, new))
    if conda and spec is not None:
        return _appended(text, root, in_conda, str(spec))
    return _appended(text, root, in_pip, str(pip))


def _parsed(requirement: str, *, conda: bool) -> tuple[MatchSpec | None, PipRequirement | None]:
    """Return what ``requirement`` is for conda and for pip; at least one of them is there.

    In a conda environment pip gets only what is no match spec: URLs, VCS, local code.
    """
    pip = problem = None
    try:
        pip = PipRequirement.parse(requirement)
    except InvalidInput as error:
        problem = error
    if not conda:
        if problem is not None:
            raise problem
        return None, pip
    if pip is not None and pip.path is not None and "::" not in requirement:
        return None, pip
    try:
        spec = MatchSpec.parse(requirement)
    except InvalidInput:
        if pip is not None and pip.url is not None:
            return None, pip
        raise
    return spec, None if pip is not None and (pip.path or pip.url) else pip


def _with_spec(text: str, place: _List, places: list[int], spec: str) -> str:
    """Return ``text`` with the first of ``places`` replaced by ``spec`` and the others, of the same name, removed."""
    if place.node is None or place.key is None:
        raise Bug(f"a match spec was found in no list: {spec}")
    new = text
    for index in reversed(places[1:]):
        new = remove_item(new, place.node, index, place.key)
    new = replace_item(new, place.node, places[0], spec)

    def change(data: Any) -> None:
        _put(data, place.path, places[0], spec)
        for index in reversed(places[1:]):
            del value_at(data, place.path)[index]

    return checked(text, new, change)


def _appended(text: str, root: YamlMapping, place: _List, item: str) -> str:
    kind, first = str(place.path[-1]), str(place.path[0])
    if place.node is not None:
        flow = place.node.flow
        before = next(
            (i for i, node in enumerate(place.node.items) if isinstance(node, YamlMapping)), None
        )  # `pip:` stays last
        at = len(place.node.items) if before is None else before
        new = insert_item(text, place.node, scalar(item, flow=flow), before=before)
        return checked(text, new, lambda data: value_at(data, place.path).insert(at, item))
    if place.owner is not None:
        new = put_list(text, place.owner, kind, [f"- {scalar(item)}"], flow=f"[{scalar(item, flow=True)}]")
        return checked(text, new, lambda data: value_at(data, place.path[:-1]).update({kind: [item]}))
    if first == "python":
        lines, flow_text = [f"{kind}:", f"  - {scalar(item)}"], f"{{{kind}: [{scalar(item, flow=True)}]}}"
        new = put_list(text, root, "python", lines, flow=flow_text)
        return checked(text, new, lambda data: data.update({"python": {kind: [item]}}))
    return _with_pip_item(text, root, item)


def _with_pip_item(text: str, root: YamlMapping, item: str) -> str:
    """Return the conda file ``text`` with ``- pip:`` and its first line behind the other dependencies."""
    place = _conda_list(root, "conda")
    flow = f"{{pip: [{scalar(item, flow=True)}]}}"
    if place.node is None:
        new = put_list(text, root, "dependencies", ["- pip:", f"    - {scalar(item)}"], flow=f"[{flow}]")
        return checked(text, new, lambda data: data.update({"dependencies": [{"pip": [item]}]}))
    if place.node.flow:
        shown = flow
    else:
        column = place.node.start - (text.rfind("\n", 0, place.node.start) + 1)
        shown = f"pip:\n{' ' * (column + 4)}- {scalar(item)}"
    new = insert_item(text, place.node, shown)
    return checked(text, new, lambda data: data["dependencies"].append({"pip": [item]}))


# -- removing ----------------------------------------------------------------------------------------------------------


def _remove(text: str, names: Sequence[str], layout: _Layout) -> str:
    missing = [name for name in names if not _found(root_of(text), name, layout)]
    if missing:
        raise absent(missing, "the file")
    for name in names:
        while found := _found(root_of(text), name, layout):
            place, index = found
            if place.node is None or place.key is None:
                raise Bug(f"`{name}` was found in no list")
            new = remove_item(text, place.node, index, place.key)

            def change(data: Any, place: _List = place, index: int = index) -> None:
                del value_at(data, place.path)[index]

            text = checked(text, new, change)
    return text


def _found(root: YamlMapping, name: str, layout: _Layout) -> tuple[_List, int] | None:
    """Return where the last requirement of ``name`` stands."""
    conda, pip = layout(root, "conda"), layout(root, "pip")
    for i, spec in reversed(list(enumerate(_specs(conda.node)))):
        if spec is not None and name.strip().lower() in (spec.name, spec.url):
            return conda, i
    for i, requirement in reversed(list(enumerate(_pip_requirements(pip.node)))):
        if requirement is not None and key_of(requirement) == wanted_key(name):
            return pip, i
    return None


# -- what the lists hold -----------------------------------------------------------------------------------------------


def _specs(node: YamlSequence | None) -> list[MatchSpec | None]:
    return (
        [_tried(MatchSpec.parse, item.value) if isinstance(item, YamlScalar) else None for item in node.items] if node else []
    )


def _pip_requirements(node: YamlSequence | None) -> list[PipRequirement | None]:
    return [_tried(_pip_line, item.value) if isinstance(item, YamlScalar) else None for item in node.items] if node else []


def _pip_line(line: str) -> PipRequirement | None:
    parts = read_parts(line)
    if parts.requirement is None:
        return None
    return PipRequirement.parse(parts.requirement + "".join(f" --hash={value}" for value in parts.hashes))


def _tried(parse: Callable[[str], _T], text: str) -> _T | None:
    try:
        return parse(text)
    except WardianError:
        return None  # a faulty line is not ours to touch; reading the file tells


def _put(data: Any, path: tuple[str | int, ...], index: int, item: str) -> None:
    value_at(data, path)[index] = item
