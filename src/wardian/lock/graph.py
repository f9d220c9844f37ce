"""Who needs whom in a lock: the tree of its packages, and the ways that lead to one."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wardian.lock.lock import Artifact, Lock


@dataclass(frozen=True, slots=True)
class DependencyGraph:
    """The packages of a lock by name, Spark's jars among them.

    Attributes:
        artifacts: by name; several where markers choose between releases of one name.
        needs, needed_by: the names in the lock that a name needs itself, and those that need it; in the order of the alphabet.
        roots: the names that the definition itself asks for and that are in the lock, in the order of the alphabet.
        tops: where a drawing begins: the roots, then what none of them leads to: the interpreter, for instance.
    """

    artifacts: Mapping[str, tuple[Artifact, ...]]
    needs: Mapping[str, tuple[str, ...]]
    needed_by: Mapping[str, tuple[str, ...]]
    roots: tuple[str, ...]
    tops: tuple[str, ...]

    @classmethod
    def of(cls, lock: Lock) -> DependencyGraph:
        """Return the graph of ``lock``."""
        artifacts: dict[str, tuple[Artifact, ...]] = {}
        found: dict[str, set[str]] = {}
        for artifact in lock.everything:
            names = artifact.depends if artifact.kind == "jar" else map(needed_name, artifact.depends)
            artifacts[artifact.name] = (*artifacts.get(artifact.name, ()), artifact)
            found.setdefault(artifact.name, set()).update(names)
        needs = {name: tuple(sorted(names & found.keys() - {name})) for name, names in found.items()}
        needed_by: dict[str, list[str]] = {name: [] for name in needs}
        for name in sorted(needs):
            for needed in needs[name]:
                needed_by[needed].append(name)
        roots = tuple(sorted(set(lock.provenance.roots) & needs.keys()))
        return cls(artifacts, needs, {name: tuple(names) for name, names in needed_by.items()}, roots, _tops(roots, needs))

    def below(self, names: Iterable[str]) -> set[str]:
        """Return ``names`` and all that they need, directly or not."""
        return _reached(names, self.needs)

    def above(self, name: str) -> set[str]:
        """Return ``name`` and all that needs it, directly or not."""
        return _reached([name], self.needed_by)

    def alone(self, name: str) -> set[str]:
        """Return what would not be there without the root ``name``: all that no other top of the drawing needs."""
        return self.below([name]) - self.below(top for top in self.tops if top != name)

    def size_bytes(self, names: Iterable[str]) -> int:
        """Return how large the archives of ``names`` are together, as far as it is known."""
        return sum(artifact.size_bytes or 0 for name in names for artifact in self.artifacts[name])

    def ways(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """For each package, the shortest way from each root that leads to it. Of ways that are as short, the first by the alphabet."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for root in self.roots:
            ways: dict[str, tuple[str, ...]] = {root: ()}
            queue = deque([root])
            while queue:
                name = queue.popleft()
                for needed in self.needs[name]:
                    if needed not in ways:
                        ways[needed] = (*ways[name], name)
                        queue.append(needed)
            for name, way in ways.items():
                if name not in self.roots:
                    found.setdefault(name, []).append(way)
        return {name: tuple(sorted(ways, key=lambda way: (len(way), way))) for name, ways in found.items()}


def needed_name(text: str) -> str:
    """Return the name that a dependency of an artifact begins with: a match spec or a distribution's name."""
    return re.split(r"[\s<>=!~\[;(]", text.strip(), maxsplit=1)[0].rpartition("::")[2].lower()


def _tops(roots: tuple[str, ...], needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    reached = _reached(roots, needs)
    rest = sorted(needs.keys() - reached)
    needed = {other for name in rest for other in needs[name]}
    tops = [name for name in rest if name not in needed]
    reached |= _reached(tops, needs)
    for name in rest:  # circles that nothing leads to
        if name not in reached:
            tops.append(name)
            reached |= _reached([name], needs)
    return (*roots, *sorted(tops))


def _reached(names: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> set[str]:
    line = list(names)
    found = set(line)
    while line:
        for name in edges[line.pop()]:
            if name not in found:
                found.add(name)
                line.append(name)
    return found
