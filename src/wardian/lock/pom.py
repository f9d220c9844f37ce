"""POMs: what a Maven artifact says of itself, and what that comes to with its parents and imported tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wardian.errors import BadArchive, SolveFailed
from wardian.lock.pom_xml import parse_xml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wardian.lock.pom_xml import Node

_MOST_ANCESTORS = 32
_LONGEST_VALUE = 2000
_PROPERTY = re.compile(r"\$\{([^${}]{1,200})\}")
_GROUP = re.compile(r"[\w-]+(?:\.[\w-]+)*", re.ASCII)
_PART = re.compile(r"[\w+~-][\w.+~-]{0,199}", re.ASCII)
SCOPES = ("compile", "runtime")  # of what is needed to run


@dataclass(frozen=True, slots=True, order=True)
class Coordinate:
    """One version of one Maven project: ``group:artifact:version``."""

    group: str
    artifact: str
    version: str

    @property
    def module(self) -> str:
        """``group:artifact``."""
        return f"{self.group}:{self.artifact}"

    @property
    def path(self) -> str:
        """The directory of its files below a repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}"

    def file(self, extension: str, classifier: str = "") -> str:
        """Return the name of one of its files."""
        return f"{self.artifact}-{self.version}{f'-{classifier}' if classifier else ''}.{extension}"

    def __str__(self) -> str:
        return f"{self.module}:{self.version}"


def coordinate(group: str, artifact: str, version: str, place: str) -> Coordinate:
    """Return a coordinate whose parts may become paths.

    Raises:   BadArchive: code ``bad_pom``: they may not.
    """
    if not (_GROUP.fullmatch(group) and _PART.fullmatch(artifact) and _PART.fullmatch(version)):
        raise BadArchive(f"{place} names `{group[:80]}:{artifact[:80]}:{version[:80]}`, which is no group, artifact and version",
                         code="bad_pom", hint="tell who publishes it")  # fmt: skip
    return Coordinate(group, artifact, version)


@dataclass(frozen=True, slots=True)
class Dependency:
    """What a POM says that it needs; values as written until they are put in."""

    group: str
    artifact: str
    version: str = ""
    scope: str = ""
    type: str = "jar"
    classifier: str = ""
    optional: bool = False
    exclusions: frozenset[str] = frozenset()  # ``group:artifact``, either may be ``*``

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What is managed, and inherited, together."""
        return self.group, self.artifact, self.type, self.classifier


@dataclass(frozen=True, slots=True)
class Pom:
    """One POM as it is written."""

    file: str
    coordinate: tuple[str, str, str]  # group and version empty: the parent's
    parent: tuple[str, str, str] | None
    packaging: str
    properties: Mapping[str, str]
    dependencies: tuple[Dependency, ...]
    managed: tuple[Dependency, ...]
    relocation: tuple[str, str, str] | None
    license: str


@dataclass(frozen=True, slots=True)
class Model:
    """What a POM comes to: with its parents, properties and tables put in.

    Attributes:
        needed: what is needed to run it, each with a version.
        managed: its table of versions, for those who import it.
    """

    coordinate: Coordinate
    packaging: str = "jar"
    needed: tuple[Dependency, ...] = ()
    managed: Mapping[tuple[str, str, str, str], Dependency] = field(default_factory=dict)
    relocation: Coordinate | None = None
    license: str = ""


def read_pom(content: bytes, file: str) -> Pom:
    """Return the POM that ``content`` is.

    Profiles count only where they are active by default: what a machine has must not change what a lock holds.

    Raises:   BadArchive: code ``bad_pom``.
    """
    root = parse_xml(content, file)
    if root.name != "project":
        raise BadArchive(f"{file} is no POM: its root is `{root.name[:80]}`", code="bad_pom", hint="check the repository's URL")
    active = [root, *(one for one in root.all("profiles/profile") if one.value("activation/activeByDefault") == "true")]
    parent = root.find("parent")
    moved = root.find("distributionManagement/relocation")
    return Pom(
        file=file,
        coordinate=_triple(root),
        parent=_triple(parent) if parent is not None else None,
        packaging=root.value("packaging") or "jar",
        properties={p.name: p.text[: _LONGEST_VALUE + 1] for one in active for node in one.all("properties") for p in node.children},
        dependencies=tuple(_dependency(d) for one in active for d in one.all("dependencies/dependency")),
        managed=tuple(_dependency(d) for one in active for d in one.all("dependencyManagement/dependencies/dependency")),
        relocation=_triple(moved) if moved is not None else None,
        license=root.value("licenses/license/name")[:200],
    )  # fmt: skip


def effective(pom: Pom, get: Callable[[Coordinate, str], Pom], seen: tuple[Coordinate, ...] = ()) -> Model:
    """Return what ``pom`` comes to.

    Args:     get: returns the POM at a coordinate; told who wants it.  seen: tables that are being imported.
    Raises:   BadArchive: code ``bad_pom``: it leads to itself, or to what is no coordinate.  SolveFailed: as ``get``; a version is missing.
    """
    line = list(_ancestors(pom, get))
    properties = _properties(line)

    def put(text: str) -> str:
        return _put_in(text, properties, pom.file)

    here = coordinate(put(properties["project.groupId"]), put(pom.coordinate[1]), put(properties["project.version"]), pom.file)
    managed: dict[tuple[str, str, str, str], Dependency] = {}
    tables = []
    for one in (dependency for ancestor in line for dependency in ancestor.managed):
        entry = _with_values(one, put)
        if entry.scope == "import" and entry.type == "pom":
            tables.append(entry)
        else:
            managed.setdefault(entry.key, entry)
    for table in tables:
        where = coordinate(table.group, table.artifact, exact(table.version, table, pom.file), pom.file)
        if where in seen or len(seen) > _MOST_ANCESTORS:
            raise BadArchive(f"{pom.file} imports {where}, which leads to itself", code="bad_pom", hint="tell who publishes it")
        for key, entry in effective(get(where, str(here)), get, (*seen, where)).managed.items():
            managed.setdefault(key, entry)
    own: dict[tuple[str, str, str, str], Dependency] = {}
    for one in (dependency for ancestor in line for dependency in ancestor.dependencies):
        entry = _with_values(one, put)
        own.setdefault(entry.key, entry)
    needed = [_managed(one, managed.get(one.key)) for one in own.values()]
    moved = None
    if pom.relocation is not None:
        group, artifact, version = map(put, pom.relocation)
        moved = coordinate(group or here.group, artifact or here.artifact, version or here.version, pom.file)
    return Model(
        coordinate=here,
        packaging=put(pom.packaging),
        needed=tuple(one for one in needed if one.scope in SCOPES and not one.optional),
        managed=managed,
        relocation=moved if moved != here else None,
        license=next((one.license for one in line if one.license), ""),
    )


def exact(version: str, dependency: Dependency, place: str) -> str:
    """Return the one version that ``version`` stands for; ``[1.0]`` is one, too.

    Raises:   SolveFailed: code ``spark_version_range``: it is none, or moves: ranges, LATEST, snapshots.
    """
    text = version.strip()
    if re.fullmatch(r"\[[^,\[\]()]+\]", text):
        text = text[1:-1].strip()
    name = f"{dependency.group}:{dependency.artifact}"
    if not text or "${" in text:
        raise SolveFailed(f"{place} needs `{name}`, but says no version of it{f': `{text[:80]}`' if text else ''}",
                          hint=f"name it in `spark.packages`: `{name}:VERSION`", code="spark_version_missing")  # fmt: skip
    if text[0] in "[(" or "," in text or text in ("LATEST", "RELEASE") or text.endswith("-SNAPSHOT"):
        raise SolveFailed(f"{place} needs `{name}` in the version `{text[:80]}`, which is not one but moves with time",
                          hint=f"name the one to take in `spark.packages`: `{name}:VERSION`", code="spark_version_range")  # fmt: skip
    return text


def _triple(node: Node) -> tuple[str, str, str]:
    return node.value("groupId"), node.value("artifactId"), node.value("version")


def _dependency(node: Node) -> Dependency:
    excluded = (f"{one.value('groupId') or '*'}:{one.value('artifactId') or '*'}" for one in node.all("exclusions/exclusion"))
    return Dependency(*_triple(node), node.value("scope"), node.value("type") or "jar", node.value("classifier"),
                      optional=node.value("optional") == "true", exclusions=frozenset(excluded))  # fmt: skip


def _ancestors(pom: Pom, get: Callable[[Coordinate, str], Pom]) -> Iterator[Pom]:
    """Yield the POM, then its parents, the nearest first."""
    current = pom
    for _ in range(_MOST_ANCESTORS):
        yield current
        if current.parent is None:
            return
        group, artifact, version = current.parent
        parent = Dependency(group, artifact, version)
        current = get(coordinate(group, artifact, exact(version, parent, current.file), current.file), current.file)
    raise BadArchive(f"{pom.file} has more than {_MOST_ANCESTORS} parents", code="bad_pom", hint="tell who publishes it")


def _properties(line: list[Pom]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in reversed(line):
        found |= one.properties
    group = next((value for one in line for value in (one.coordinate[0], one.parent[0] if one.parent else "") if value), "")
    version = next((value for one in line for value in (one.coordinate[2], one.parent[2] if one.parent else "") if value), "")
    own = {"groupId": group, "artifactId": line[0].coordinate[1], "version": version, "packaging": line[0].packaging}
    if line[0].parent is not None:
        own |= dict(zip(("parent.groupId", "parent.artifactId", "parent.version"), line[0].parent, strict=True))
    for head in ("project.", "pom.", ""):
        found |= {f"{head}{name}": value for name, value in own.items() if head or ("." not in name and name not in found)}
    return found


def _put_in(text: str, properties: Mapping[str, str], place: str) -> str:
    """Return ``text`` with each ``${property}`` put in; one that nobody knows stays."""
    for _ in range(_MOST_ANCESTORS):
        short = len(text) <= _LONGEST_VALUE
        new = _PROPERTY.sub(lambda match: properties.get(match[1].strip(), match[0]), text) if short else text
        if len(new) > _LONGEST_VALUE:
            raise BadArchive(f"{place} has a value that grows without end", code="bad_pom", hint="tell who publishes it")
        if new == text:
            return new.strip()
        text = new
    raise BadArchive(
        f"{place} has a property that leads to itself: `{text[:80]}`", code="bad_pom", hint="tell who publishes it"
    )


def _with_values(one: Dependency, put: Callable[[str], str]) -> Dependency:
    return replace(one, group=put(one.group), artifact=put(one.artifact), version=put(one.version), scope=put(one.scope),
                   type=put(one.type), classifier=put(one.classifier))  # fmt: skip


def _managed(one: Dependency, entry: Dependency | None) -> Dependency:
    if entry is None:
        return replace(one, scope=one.scope or "compile")
    return replace(one, version=one.version or entry.version, scope=one.scope or entry.scope or "compile",
                   optional=one.optional or entry.optional, exclusions=one.exclusions or entry.exclusions)  # fmt: skip
