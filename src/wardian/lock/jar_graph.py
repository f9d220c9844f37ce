"""Which jars belong to a Spark section: from what it names to all that they need, one version of each."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardian.errors import SolveFailed
from wardian.lock.maven_version import newest
from wardian.lock.pom import Coordinate, coordinate, exact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.lock.pom import Dependency, Model

    Fetch = Callable[[Sequence[tuple[Coordinate, tuple[str, ...]]]], Mapping[Coordinate, Model]]
    Step = tuple[
        Coordinate, str, str, tuple[str, ...], frozenset[str]
    ]  # what, its classifier and type, on which way, less what

# what every Spark brings itself, and leaves out of `spark-submit --packages`, too
_OF_SPARK = ("catalyst", "core", "graphx", "kvstore", "launcher", "mllib", "mllib-local", "network-common", "network-shuffle", "repl", "sketch",
             "sql", "streaming", "tags", "unsafe")  # fmt: skip
PROVIDED = frozenset({"*:scala-library", *(f"org.apache.spark:spark-{name}_*" for name in _OF_SPARK)})
_NO_JAR = ("pom",)
_JAR = ("jar", "bundle", "maven-plugin", "ejb", "eclipse-plugin", "test-jar", "hk2-jar", "orbit")
_MOST_MODULES = 2000
_SECTION = ""  # who asks for what the section names
_ROUNDS = 60
_FREE_ROUNDS = 30  # after these a version only goes up, so that it ends


@dataclass(frozen=True, slots=True)
class Needed:
    """One artifact of the answer.

    Attributes:
        classifiers: which of its files: ``""`` is the main one; none: it has no file, such as a POM that only lists others.
        needs: modules that it needs, as far as they are part of the answer.
        because: who needs it, from a name of the section on; empty for such a name.
    """

    coordinate: Coordinate
    model: Model
    classifiers: tuple[str, ...]
    needs: tuple[str, ...]
    because: tuple[str, ...] = ()


_Asks = dict[str, dict[str, set[str]]]  # who → module → versions


@dataclass(slots=True)
class _Seen:
    coordinate: Coordinate
    model: Model
    classifiers: dict[str, None]
    needs: dict[str, None]
    because: tuple[str, ...]
    exclusions: list[frozenset[str]]


def jar_graph(roots: Sequence[Coordinate], fetch: Fetch) -> tuple[Needed, ...]:
    """Return what ``roots`` need, themselves first, then by distance.

    Who names a version has it before all that stands further below on every way: the section before its packages, a package before
    what it needs. Of what is asked for beside each other the newest is taken. Of dependencies count the scopes compile and runtime, no optional ones, less what is excluded on every way.

    Args:     fetch: returns what the POMs at several coordinates come to, relocations followed; told on which way each was found.
    Raises:   SolveFailed: ``spark_version_conflict``, ``spark_version_range``, ``spark_version_missing``, ``spark_no_jar``, ``too_many_jars``.
              What ``fetch`` raises.
    """
    held: dict[str, str] = {}
    for root in roots:
        if held.setdefault(root.module, root.version) != root.version:
            raise SolveFailed(f"`spark.packages` names `{root.module}` in two versions: {held[root.module]} and {root.version}",
                              hint="keep one of them", code="spark_version_conflict")  # fmt: skip
    chosen: dict[str, str] = dict(held)
    for count in range(_ROUNDS):
        seen, asks = _walk(roots, chosen, fetch)
        wanted = _wanted(asks)
        now = {module: held.get(module) or newest(versions | ({chosen[module]} if count > _FREE_ROUNDS and module in chosen else set()))
               for module, versions in wanted.items()}  # fmt: skip
        if now == {module: version for module, version in chosen.items() if module in now}:
            return tuple(
                Needed(one.coordinate, one.model, tuple(one.classifiers), tuple(sorted(one.needs)), one.because)
                for one in seen.values()
            )
        chosen = held | now
    raise SolveFailed("the versions that the Spark packages need of each other never come to rest",
                      hint="name the version of one of them in `spark.packages`", code="spark_version_conflict")  # fmt: skip


def _walk(roots: Sequence[Coordinate], chosen: Mapping[str, str], fetch: Fetch) -> tuple[dict[str, _Seen], _Asks]:
    """Return what is reached with the ``chosen`` versions, and who asks for which versions on the way."""
    seen: dict[str, _Seen] = {}
    asks: _Asks = {_SECTION: {root.module: {root.version} for root in roots}}
    level: list[Step] = [(root, "", "jar", (), frozenset()) for root in roots]
    while level:
        models = fetch([(one[0], one[3]) for one in level])
        following: list[Step] = []
        for asked, classifier, kind, way, excluded in level:
            model = models[asked]
            here = model.coordinate
            if here.module != asked.module:  # it has moved there
                asks.setdefault(way[-1] if way else _SECTION, {}).setdefault(here.module, set()).add(here.version)
            if chosen.get(here.module, here.version) != here.version:
                here = replace(here, version=chosen[here.module])
                model = fetch([(here, way)])[here]
                here = model.coordinate
            entry = seen.get(here.module)
            if entry is None:
                entry = seen[here.module] = _Seen(here, model, {}, {}, way, [])
                if len(seen) > _MOST_MODULES:
                    raise SolveFailed(f"the Spark packages need more than {_MOST_MODULES:,} others", code="too_many_jars",
                                      hint="name fewer packages")  # fmt: skip
            if _has_jar(here, model, kind, classifier, way):
                entry.classifiers[classifier or ("tests" if kind == "test-jar" else "")] = None
            if way and (before := seen.get(way[-1])) is not None:
                before.needs[here.module] = None
            if any(earlier <= excluded for earlier in entry.exclusions):
                continue  # nothing more can be reached than from there
            entry.exclusions.append(excluded)
            for dependency in model.needed:
                module = f"{dependency.group}:{dependency.artifact}"
                if _is_excluded(module, excluded) or _is_excluded(module, PROVIDED):
                    continue
                found = _version(dependency, chosen, here)
                asks.setdefault(here.module, {}).setdefault(module, set()).add(found[0])
                target = coordinate(dependency.group, dependency.artifact, found[1], str(here))
                following.append(
                    (target, dependency.classifier, dependency.type, (*way, here.module), excluded | dependency.exclusions)
                )
        level = following
    return seen, asks


def _wanted(asks: _Asks) -> dict[str, set[str]]:
    """Return the versions of each module that count: those that nobody above has settled on every way."""
    by_asker: dict[str, list[str]] = {}
    for asker, modules in asks.items():
        for module in modules:
            by_asker.setdefault(module, []).append(asker)
    settled: dict[str, frozenset[str] | None] = {_SECTION: frozenset()}  # None, or missing: nothing is known yet
    waiting = [_SECTION]
    while waiting:  # the sets only shrink, so it ends
        asker = waiting.pop()
        above = settled[asker] or frozenset()
        for module in asks.get(asker, ()):
            before = settled.get(module)
            new = (above | asks[asker].keys()) if before is None else before & (above | asks[asker].keys())
            if new != before and module != _SECTION:
                settled[module] = new
                waiting.append(module)
    wanted = {}
    for module, askers in by_asker.items():
        free = [one for one in askers if module not in (settled.get(one) or ())]
        wanted[module] = set().union(*(asks[one][module] for one in free or askers))
    return wanted


def _version(dependency: Dependency, chosen: Mapping[str, str], here: Coordinate) -> tuple[str, str]:
    """Return which version is asked for, and which is taken."""
    module = f"{dependency.group}:{dependency.artifact}"
    try:
        asked = exact(dependency.version, dependency, str(here))
    except SolveFailed:
        if module not in chosen:
            raise
        return chosen[module], chosen[module]  # whatever it says: the section names one
    return asked, chosen.get(module, asked)


def _has_jar(here: Coordinate, model: Model, kind: str, classifier: str, way: tuple[str, ...]) -> bool:
    if kind in _NO_JAR or (model.packaging in _NO_JAR and not classifier):
        return False
    if kind not in _JAR:
        needed = f", which {way[-1]} needs," if way else ""
        raise SolveFailed(f"{here}{needed} is a `{kind[:40]}`, which no class path takes", code="spark_no_jar",
                          hint="leave out what needs it, or name another version of that")  # fmt: skip
    return True


def _is_excluded(module: str, patterns: frozenset[str]) -> bool:
    return any(module == pattern or ("*" in pattern and fnmatch.fnmatchcase(module, pattern)) for pattern in patterns)
