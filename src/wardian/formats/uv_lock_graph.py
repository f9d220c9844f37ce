"""``uv.lock`` as a graph: its packages, what each needs, and where its project begins."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wardian.definition.project_name import PROJECT_NAME, canonical_name
from wardian.digest import Digest
from wardian.formats.faults import Faults
from wardian.formats.locked_input import LockedInput, LockedPackage, Need
from wardian.formats.source_text import plain_text
from wardian.formats.toml_text import field_of, parse_toml
from wardian.formats.uv_lock_markers import choice, decided

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.formats.toml_text import TomlPath, TomlText

SELECTION: TomlPath = ("tool", "wardian")  # which extras and groups a kept text means
_PACKAGES = "package"
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+_-]*")
_SOURCES = ("registry", "git", "url", "path", "directory", "editable", "virtual")
_LOCAL = ("directory", "editable", "virtual")
_HINT = "`uv lock` writes it anew"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which extras and dependency groups of the project are wanted beside its dependencies."""

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def parse(text: str, file: str) -> LockedInput:
    """Return what the lock file says, for the extras and groups that it says itself are wanted, else for those that uv takes.

    Raises:   InvalidDefinition: all its faults.
    """
    faults = Faults(file)
    lock = UvLock(parse_toml(plain_text(text), faults), faults)
    found = lock.input(lock.selection())
    faults.raise_if_any()
    return found


class UvLock:
    """One file. Faults go to ``faults``.

    Attributes:
        packages: as they are written, none looked into yet.
        projects: the places among them of what is asked for: the project, or all members of a workspace without one.
    """

    def __init__(self, toml: TomlText, faults: Faults) -> None:
        self.toml = toml
        self.faults = faults
        self._said: set[tuple[TomlPath, str]] = set()
        version = toml.get(("version",))
        if version != 1 or isinstance(version, bool):
            faults.add(
                "lock_version",
                "this is no uv.lock of version 1",
                line=toml.line_of(("version",)) or 1,
                field="version",
                hint=_HINT,
            )
        self.packages: list[dict[str, Any]] = self._tables((_PACKAGES,))
        self.sources = [self._source(i, package) for i, package in enumerate(self.packages)]
        self.names = [self._name((_PACKAGES, i), package) for i, package in enumerate(self.packages)]
        self._by_name: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            self._by_name.setdefault(name, []).append(i)
        faults.raise_if_any()  # nothing can be said of a graph whose nodes are none
        self.projects = self._projects()

    def _projects(self) -> tuple[int, ...]:
        here = [i for i, (kind, place) in enumerate(self.sources) if kind in _LOCAL and place in (".", "./", "")]
        if here:
            return tuple(here)
        members = {canonical_name(name) for name in self._texts(("manifest", "members"))}
        return tuple(i for i, (kind, _) in enumerate(self.sources) if kind in _LOCAL and self.names[i] in members)

    # -- what may be asked for -----------------------------------------------------------------------------------------

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras of the project."""
        found = [name for i in self.projects for name in self._texts((_PACKAGES, i, "metadata", "provides-extras"))]
        found += [name for i in self.projects for name in self._table((_PACKAGES, i, "optional-dependencies"))]
        return tuple(dict.fromkeys(map(canonical_name, found)))

    @property
    def groups(self) -> tuple[str, ...]:
        """The dependency groups of the project."""
        found = [name for i in self.projects for name in self._table((_PACKAGES, i, "dev-dependencies"))]
        found += self._table(("manifest", "dependency-groups"))
        return tuple(dict.fromkeys(map(canonical_name, found)))

    def selection(self) -> Selection:
        """Return what the text itself says is wanted; if it does not: no extras, and the group ``dev``, as uv has it."""
        if self.toml.get(SELECTION) is None:
            return Selection((), tuple(name for name in self.groups if name == "dev"))
        return Selection(self._texts((*SELECTION, "extras")), self._texts((*SELECTION, "groups")))

    # -- the graph -----------------------------------------------------------------------------------------------------

    def input(self, selection: Selection) -> LockedInput:
        """Return the graph that begins with what is selected; what is wanted of it has been checked."""
        wanted = {choice("project", self.names[i]) for i in self.projects}
        for i in self.projects:
            wanted |= {choice("extra", self.names[i], name) for name in selection.extras}
            wanted |= {choice("group", self.names[i], name) for name in selection.groups}
        packages = [self._package(i, wanted) for i in range(len(self.packages))]
        start: list[Need] = []
        for i in self.projects:
            start.append(Need(i, tuple(name for name in selection.extras if name in packages[i].of_extras)))
            for name in selection.groups:
                start += self._needs(self._group(i, name), wanted)
        start += self._requirements(("manifest", "requirements"))
        for name in selection.groups:
            start += self._requirements(("manifest", "dependency-groups", self._key(("manifest", "dependency-groups"), name)))
        found = LockedInput(
            tuple(packages), self._text(("requires-python",)), self._texts(("supported-markers",)), {}, tuple(start)
        )
        reached = found.reachable()
        for i in reached:
            files = self._files(i, packages[i])
            address = packages[i].address
            if self.sources[i][0] == "url" and files:
                address = f"{address}#sha256={next(iter(files.values()))}"
            packages[i] = replace(packages[i], files=files, address=address)
        return replace(found, packages=tuple(packages))

    def _group(self, i: int, name: str) -> TomlPath:
        table = (_PACKAGES, i, "dev-dependencies")
        return (*table, self._key(table, name))

    def _key(self, table: TomlPath, name: str) -> str:
        return next((key for key in self._table(table) if canonical_name(key) == name), name)

    def _package(self, i: int, wanted: set[str]) -> LockedPackage:
        place: TomlPath = (_PACKAGES, i)
        kind, address = self.sources[i]
        needs = self._needs((*place, "dependencies"), wanted)
        extras = {canonical_name(key): self._needs((*place, "optional-dependencies", key), wanted)
                  for key in self._table((*place, "optional-dependencies"))}  # fmt: skip
        version = self._text((*place, "version"))
        if not _VERSION.fullmatch(version) and (version or kind == "registry"):
            self._fault((*place, "version"), "bad_package", f"{self.names[i]} has no version")
        depends = {self.names[need.package] for need in needs}
        return LockedPackage(self.names[i], version, "", address if kind == "registry" else None, {}, tuple(sorted(depends)),
                             _address(kind, address), kind != "virtual", needs, extras)  # fmt: skip

    def _needs(self, path: TomlPath, wanted: set[str]) -> tuple[Need, ...]:
        found = []
        for n, entry in enumerate(self._tables(path)):
            marker = decided(self._text((*path, n, "marker")), wanted)
            if marker is None:
                continue
            fitting = [i for i in self._by_name.get(self._name((*path, n), entry), ()) if self._is_meant(i, entry)]
            if len(fitting) != 1:
                what = (
                    "is not in this file" if not fitting else "is in this file more than once, and nothing says which is meant"
                )
                self._fault((*path, n), "bad_package", f"`{str(entry.get('name'))[:80]}` {what}", _HINT)
                continue
            found.append(Need(fitting[0], tuple(map(canonical_name, self._texts((*path, n, "extra")))), marker))
        return tuple(found)

    def _is_meant(self, i: int, entry: Mapping[str, Any]) -> bool:
        return all(key not in entry or entry[key] == self.packages[i].get(key) for key in ("version", "source"))

    def _requirements(self, path: TomlPath) -> list[Need]:
        """Return what a list of plain requirements means: by name, each version where its part of the resolution holds."""
        found = []
        for n, entry in enumerate(self._tables(path)):
            places = self._by_name.get(self._name((*path, n), entry), [])
            if not places:
                self._fault((*path, n), "bad_package", f"`{str(entry.get('name'))[:80]}` is not in this file", _HINT)
            own, extras = self._text((*path, n, "marker")), tuple(map(canonical_name, self._texts((*path, n, "extras"))))
            for i in places:
                forks = self._texts((_PACKAGES, i, "resolution-markers")) if len(places) > 1 else ()
                where = " or ".join(f"({fork})" for fork in forks)
                found.append(Need(i, extras, f"({own}) and ({where})" if own and where else own or where))
        return found

    # -- files ---------------------------------------------------------------------------------------------------------

    def _files(self, i: int, package: LockedPackage) -> dict[str, Digest]:
        kind, address = self.sources[i]
        if kind in ("git", *_LOCAL):
            return {}
        place: TomlPath = (_PACKAGES, i)
        files: dict[str, Digest] = {}
        beside = False
        single = address.partition("?")[0].rpartition("/")[2] if kind != "registry" else ""
        for path in (*((*place, "wheels", n) for n in range(len(self._tables((*place, "wheels"))))), (*place, "sdist")):
            entry = self._table(path)
            url = self._text((*path, "url"))
            beside = beside or "path" in entry
            name = self._text((*path, "filename")) or single or url.partition("#")[0].partition("?")[0].rpartition("/")[2]
            digest = self._text((*path, "hash"))
            if name and re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                files[name] = Digest(digest)
        if kind == "registry" and ("://" not in address or beside):
            self._fault((*place, "source"), "locked_elsewhere", f"{package.name} is from the directory `{address[:120]}`, which nobody else has",
                        "put its packages on an index, or name their files in `[tool.uv.sources]`")  # fmt: skip
        elif not files:
            self._fault(place, "hash_missing", f"{package.name} {package.version} has no file with a sha256",
                        "its index announces none: make the environment from pyproject.toml, whose lock computes them")  # fmt: skip
        return files

    def _source(self, i: int, package: Mapping[str, Any]) -> tuple[str, str]:
        place: TomlPath = (_PACKAGES, i, "source")
        source = package.get("source")
        kinds = [kind for kind in _SOURCES if isinstance(source, dict) and kind in source]
        if len(kinds) != 1 or not isinstance(source, dict) or not isinstance(source[kinds[0]], str):
            self._fault(
                place if source is not None else place[:-1],
                "bad_source",
                f"the source of a package is one of {', '.join(_SOURCES)}, with its place",
            )
            return "", ""
        if kinds[0] == "url" and source.get("subdirectory"):
            self._fault(place, "locked_elsewhere", "a package in a subdirectory of an archive is not taken from a lock file",
                        "make the environment from pyproject.toml")  # fmt: skip
        return kinds[0], source[kinds[0]]

    # -- values --------------------------------------------------------------------------------------------------------

    def line(self, i: int) -> int | None:
        """Return the line of a package."""
        return self.toml.line_of((_PACKAGES, i))

    def _name(self, path: TomlPath, entry: Mapping[str, Any]) -> str:
        name = entry.get("name")
        if isinstance(name, str) and re.fullmatch(PROJECT_NAME, name):
            return canonical_name(name)
        self._fault(path, "bad_package", "a package has no name")
        return ""

    def _tables(self, path: TomlPath) -> list[dict[str, Any]]:
        value = self.toml.get(path)
        if value is None or (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
            return value or []
        self._fault(path, "wrong_type", "this must be a list of tables")
        return []

    def _table(self, path: TomlPath) -> dict[str, Any]:
        value = self.toml.get(path)
        if value is None or isinstance(value, dict):
            return value or {}
        self._fault(path, "wrong_type", "this must be a table")
        return {}

    def _texts(self, path: TomlPath) -> tuple[str, ...]:
        value = self.toml.get(path)
        if value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            return tuple(value or ())
        self._fault(path, "wrong_type", "this must be a list of texts")
        return ()

    def _text(self, path: TomlPath) -> str:
        value = self.toml.get(path)
        if value is None or isinstance(value, str):
            return value or ""
        self._fault(path, "wrong_type", "this must be a text")
        return ""

    def _fault(self, path: Sequence[str | int], code: str, message: str, hint: str | None = None) -> None:
        whole = tuple(path)
        if (whole, code) in self._said:
            return
        self._said.add((whole, code))
        lines = (self.toml.line_of(whole[:end]) for end in range(len(whole), 0, -1))
        self.faults.add(
            code, message, line=next((line for line in lines if line is not None), 1), field=field_of(whole), hint=hint
        )


def _address(kind: str, place: str) -> str:
    """Return what stands behind the ``@`` of a requirement for a package from there; empty for an index."""
    if kind == "registry":
        return ""
    if kind == "git":
        url, _, commit = place.partition("#")
        bare, _, query = url.partition("?")
        subdirectory = re.search(r"(?:^|&)subdirectory=([^&]*)", query)
        return f"git+{bare}@{commit}" + (f"#subdirectory={subdirectory[1]}" if subdirectory else "")
    if kind == "url":
        return place
    return place if place.startswith((".", "/")) else f"./{place}"
