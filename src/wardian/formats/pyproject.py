"""pyproject.toml: a project's dependencies, extras, dependency groups and Python requirement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.definition.requirement import canonical_name
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats.edit_requirements import refuse_conda
from wardian.formats.edit_toml import add_to_array, remove_from_arrays
from wardian.formats.faults import Faults
from wardian.formats.losses import check_same
from wardian.formats.read_definition import ReadDefinition
from wardian.formats.source_text import plain_text
from wardian.formats.toml_reading import TomlReading, normalised
from wardian.formats.toml_text import TomlPath, parse_toml
from wardian.formats.uv_settings import read_uv_settings
from wardian.formats.write_toml import toml_of, toml_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.definition.environment import Environment, LocalSource

FORMAT = "pyproject"
SELECTION: TomlPath = ("tool", "wardian")  # which extras and groups a kept text means
_DEPENDENCIES: TomlPath = ("project", "dependencies")
_EXTRAS: TomlPath = ("project", "optional-dependencies")
_GROUPS: TomlPath = ("dependency-groups",)
_DEEPEST = 50
_MOST_EXTRAS = 1000
_KNOWN = frozenset({
    "name", "version", "description", "readme", "requires-python", "license", "license-files", "authors", "maintainers", "keywords",
    "classifiers", "urls", "scripts", "gui-scripts", "entry-points", "dependencies", "optional-dependencies", "dynamic",
    "import-names", "import-namespaces",
})  # fmt: skip


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ReadDefinition:
    """Return the uv environment of a project's dependencies, with the ``extras`` and dependency ``groups`` asked for.

    The project itself is not installed. Extras that name the project's own extras, and groups that include groups, are
    followed. Without ``extras`` and ``groups``, those of ``[tool.wardian]`` count; the returned ``text`` has them there.

    Args:     text: the file's text.  file: its name for people.  base: its directory, for local code.
    Raises:   InvalidDefinition: every fault, with its line and field path.
    Source:   PEP 621, PEP 735, PEP 508; uv's settings for ``[tool.uv]``
    """
    faults = Faults(file)
    text = plain_text(text)
    toml = parse_toml(text, faults)
    reading = TomlReading(toml, faults, base=base, local=local)
    kept = {key: [item for _, item in reading.strings((*SELECTION, key))] for key in ("extras", "groups")}
    for key in reading.table(SELECTION):
        if key not in kept:
            reading.fault((*SELECTION, key), "unknown_key", f"[tool.wardian] has no key `{key}`", "known ones: extras, groups")
    asked = {"extras": list(extras), "groups": list(groups)} if extras or groups else kept
    project = _Project(reading, toml.values)
    project.read(asked["extras"], asked["groups"])
    environment = reading.environment()
    if asked != kept:
        text = with_selection(text, asked)
    return ReadDefinition(environment, FORMAT, text, reading.local.places, not environment.python.local, faults.warnings,
                          places=reading.places)  # fmt: skip


def write(env: Environment) -> str:
    """Return ``env`` as a pyproject.toml that reads back as an environment of the same content.

    Raises:   InvalidInput: ``env`` holds what such a file cannot say; code ``not_expressible``.
    """
    text = toml_of(env, "a pyproject.toml", project=True)
    check_same(
        env, lambda: read(text, file="pyproject.toml", base=None, local=env.python.local).environment, "a pyproject.toml"
    )
    return text


def add(text: str, requirements: Sequence[str], *, manager: str = "uv") -> str:
    """Return ``text`` with ``requirements`` among the project's dependencies; the rest of it stays as it is.

    One that an extra or group of ``[tool.wardian]`` holds already is changed there.

    Raises:   InvalidInput: not a requirement; no [project] table.  Conflict: ``ambiguous_requirement``.
    """
    refuse_conda(manager, "a pyproject.toml")
    arrays = _arrays(text)
    return add_to_array(text, arrays[0], requirements, also=arrays[1:])


def remove(text: str, names: Sequence[str]) -> str:
    """Return ``text`` without the projects ``names`` among its dependencies, and among its extras and groups in use.

    Raises:   NotFound: one of them is not there.
    """
    return remove_from_arrays(text, _arrays(text), names)


class _Project:
    """The tables of one pyproject.toml, followed from what is asked for."""

    def __init__(self, reading: TomlReading, values: dict[str, Any]) -> None:
        self.r = reading
        self.values = values
        self.name = ""
        self.extras: dict[str, str] = {}
        self.groups: dict[str, str] = {}
        self._taken: set[tuple[str, str]] = set()  # extras taken, each with the marker it was taken under
        self._groups_taken: set[str] = set()

    def read(self, extras: Sequence[str], groups: Sequence[str]) -> None:
        r = self.r
        if "project" not in self.values and not groups:
            poetry = "poetry" in r.table(("tool",))
            hint = (
                "Poetry's own table is not read: write [project], as Poetry 2 does"
                if poetry
                else "write one, or ask for a group"
            )
            r.fault((), "no_project_table", "there is no [project] table", hint)
        for key in r.table(("project",)):
            if key not in _KNOWN:
                r.warn(("project", key), "unknown_key", f"[project] has no key `{key}`")
        self.name = canonical_name(r.string(("project", "name")) or "")
        self.extras = self._names(_EXTRAS, "extra")
        self.groups = self._names(_GROUPS, "group")
        self._refuse_dynamic(extras)
        r.requires_python(("project", "requires-python"))
        read_uv_settings(r)
        self._list(_DEPENDENCIES, "")
        for extra in extras:
            self._extra(extra, "", _EXTRAS)
        for group in groups:
            self._group(group, _GROUPS, ())

    def _names(self, path: TomlPath, what: str) -> dict[str, str]:
        names = normalised(self.r.table(path))
        for name in self.r.table(path):
            if names[canonical_name(name)] != name:
                self.r.fault((*path, name), f"duplicate_{what}", f"`{name}` and `{names[canonical_name(name)]}` are one {what}")
        return names

    def _refuse_dynamic(self, extras: Sequence[str]) -> None:
        for place, name in self.r.strings(("project", "dynamic")):
            if name == "dependencies" or (name == "optional-dependencies" and extras):
                self.r.fault(place, f"dynamic_{name.replace('-', '_')}", f"the {name} are made by the build backend: the file does not say them",
                             f"write them under [project] as `{name}`")  # fmt: skip
            elif name == "requires-python":
                self.r.warn(
                    place, "dynamic_requires_python", "the build backend makes the Python requirement: none is asked for"
                )

    def _list(self, path: TomlPath, marker: str, above: tuple[str, ...] = ()) -> None:
        for place, text in self.r.strings(path):
            requirement = self.r.parse(place, text)
            if requirement is None:
                continue
            own = requirement.name == self.name and requirement.extras and requirement.url is None and requirement.path is None
            if not own:
                self.r.take(place, requirement, marker)
                continue
            both = f"({marker}) and ({requirement.marker})" if marker and requirement.marker else marker or requirement.marker
            for extra in requirement.extras:
                self._extra(extra, both, place, above)

    def _extra(self, extra: str, marker: str, place: TomlPath, above: tuple[str, ...] = ()) -> None:
        name = self.extras.get(canonical_name(extra))
        if name is None:
            self.r.fault(place, "unknown_extra", f"the project has no extra `{extra}`", _known(self.extras.values()))
        elif len(above) == _DEEPEST or len(self._taken) == _MOST_EXTRAS:
            self.r.fault(place, "too_deep", "the extras name each other too often")
        elif (name, marker) not in self._taken and name not in above:  # a circle adds nothing
            self._taken.add((name, marker))
            self._list((*_EXTRAS, name), marker, (*above, name))

    def _group(self, group: str, place: TomlPath, above: tuple[str, ...]) -> None:
        name = self.groups.get(canonical_name(group))
        if name is None:
            self.r.fault(place, "unknown_group", f"there is no dependency group `{group}`", _known(self.groups.values()))
        elif name in above:
            self.r.fault(place, "group_cycle", f"the group `{name}` includes itself: {' → '.join((*above, name))}")
        elif len(above) == _DEEPEST:
            self.r.fault(place, "too_deep", f"groups include groups, {_DEEPEST} deep")
        elif name not in self._groups_taken:
            self._items((*_GROUPS, name), (*above, name))
            self._groups_taken.add(name)

    def _items(self, path: TomlPath, above: tuple[str, ...]) -> None:
        for i, item in enumerate(self.r.items(path)):
            place = (*path, i)
            if isinstance(item, str):
                if requirement := self.r.parse(place, item):
                    self.r.take(place, requirement)
            elif isinstance(item, dict) and list(item) == ["include-group"] and isinstance(item["include-group"], str):
                self._group(item["include-group"], place, above)
            else:
                self.r.fault(place, "bad_group", 'an item of a group is a requirement or `{include-group = "NAME"}`')


def _known(names: Any) -> str:
    return f"known ones: {', '.join(sorted(names))}" if names else "there are none"


def _arrays(text: str) -> list[TomlPath]:
    """Return the arrays that an edit may touch, the one for new requirements first."""
    toml = parse_toml(text, Faults("the pyproject.toml"))
    arrays: list[TomlPath] = [_DEPENDENCIES] if isinstance(toml.get(("project",)), dict) else []
    for key, path in (("extras", _EXTRAS), ("groups", _GROUPS)):
        names = normalised(toml.get(path) or ())
        asked = toml.get((*SELECTION, key)) or ()
        arrays += [(*path, names[canonical_name(name)]) for name in asked if canonical_name(name) in names]
    if not arrays:
        raise InvalidInput("the pyproject.toml has no [project] table", hint="write one with a name and a version",
                           code="no_project_table")  # fmt: skip
    return arrays


def with_selection(text: str, asked: dict[str, list[str]]) -> str:
    """Return ``text`` with what was asked for in [tool.wardian], so that it reads alone as it did with arguments.

    Raises:   InvalidInput: code ``not_expressible``.
    """
    if parse_toml(text, Faults("")).get(SELECTION) is None:
        lines = [f"{key} = [{', '.join(map(toml_text, names))}]" for key, names in asked.items() if names]
        new = f"{text.rstrip()}\n\n[tool.wardian]\n" + "".join(f"{line}\n" for line in lines)
    else:
        import tomlkit

        document = tomlkit.parse(text)
        table: Any = document["tool"]
        for key, names in asked.items():
            table["wardian"][key] = names
        new = tomlkit.dumps(document)
    try:
        again = parse_toml(new, Faults(""))
    except InvalidDefinition:
        again = None  # `tool` is an inline table, say
    if again is None or any((again.get((*SELECTION, key)) or []) != names for key, names in asked.items()):
        raise InvalidInput("the extras and groups asked for cannot be kept in this file", code="not_expressible",
                           hint="write `[tool.wardian]` with `extras` and `groups` into it")  # fmt: skip
    return new
