"""What differs between two locks, package by package, and which requirement of the definition brings each one in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.lock.graph import DependencyGraph
from wardian.lock.version_order import is_newer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wardian.lock.lock import Artifact, Lock

_SIGNS = {"added": "+", "removed": "-", "up": "↑", "down": "↓", "rebuilt": "~"}
_ECOSYSTEMS = {"wheel": "pypi", "sdist": "pypi"}  # a release may come as either; the others are what they are
_SHOWN_ROOTS = 3
_SHOWN_STEPS = 5


@dataclass(frozen=True, slots=True)
class PackageMove:
    """One package differs.

    Attributes:
        change: ``added``, ``removed``, ``up``, ``down``, or ``rebuilt``: the same version in other bytes.
        before, after: the artifacts; None where there is none.
        paths: for each name in the definition that needs the package, directly or not, the shortest way: from that name to what needs
            the package itself. The shortest first, then by the alphabet.
    """

    change: str
    name: str
    before: Artifact | None
    after: Artifact | None
    paths: tuple[tuple[str, ...], ...] = ()

    @property
    def roots(self) -> tuple[str, ...]:
        """Names in the definition that need the package, directly or not, in the order of the alphabet.

        Empty: it is not known, or the package is itself one.
        """
        return tuple(sorted(path[0] for path in self.paths))

    @property
    def kind(self) -> str:
        """The kind of the artifact: of the later one, if there is one."""
        found = self.after or self.before
        return found.kind if found else ""

    def __str__(self) -> str:
        before, after = _spelled(self.before), _spelled(self.after)
        if self.change == "rebuilt" and self.before and self.after and self.before.build != self.after.build:
            before, after = f"{before}={self.before.build}", f"{after}={self.after.build}"
        versions = " → ".join(dict.fromkeys(text for text in (before, after) if text))
        return f"{self.name} {versions}" + (" (rebuilt)" if self.change == "rebuilt" else "")

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "change": self.change,
            "name": self.name,
            "kind": self.kind,
            "before": self.before and self.before.version,
            "after": self.after and self.after.version,
            "before_sha256": self.before and self.before.installed_sha256,
            "after_sha256": self.after and self.after.installed_sha256,
            "roots": list(self.roots),
            "paths": [list(path) for path in self.paths],
        }


@dataclass(frozen=True, slots=True)
class LockDifference:
    """What differs between two locks. Without ``moves`` they install the same."""

    moves: tuple[PackageMove, ...]
    platforms: tuple[str, str]

    def __bool__(self) -> bool:
        """Whether anything but the platform differs."""
        return bool(self.moves)

    @property
    def counts(self) -> dict[str, int]:
        """How many packages changed in which way."""
        found = Counter(move.change for move in self.moves)
        return {change: found[change] for change in _SIGNS if found[change]}

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "platforms": list(self.platforms),
            "counts": self.counts,
            "packages": [move.as_document() for move in self.moves],
        }

    def summary(self, limit: int = 3) -> str:
        """Return the difference in one line: ``numpy 1.26.4 → 2.0.0, + scipy 1.14.0, 4 more``."""
        parts = [f"{_SIGNS[move.change]} {move}" if move.change in ("added", "removed") else str(move) for move in self.moves]
        more = [f"{len(parts) - limit} more"] if len(parts) > limit else []
        return ", ".join([*parts[:limit], *more]) or "the same packages"

    def text(self) -> str:
        """Return the difference for people: a line for each package, then how many changed."""
        lines = [f"platform: {self.platforms[0]} → {self.platforms[1]}"] if self.platforms[0] != self.platforms[1] else []
        for kind in dict.fromkeys(move.kind for move in self.moves):
            lines.append(f"{kind}:")
            lines += [f"  {_SIGNS[move.change]} {move}{_because(move)}" for move in self.moves if move.kind == kind]
        total = ", ".join(f"{count} {change}" for change, count in self.counts.items())
        return "\n".join([*lines, total or "the same packages"])


def difference(before: Lock, after: Lock) -> LockDifference:
    """Return what differs between two locks: packages by ecosystem and name, Spark's jars among them."""
    old, new = _by_name(before), _by_name(after)
    old_paths, new_paths = DependencyGraph.of(before).ways(), DependencyGraph.of(after).ways()
    moves = [
        move
        for key in dict.fromkeys([*old, *new])
        for move in _moves(key[1], old.get(key, ()), new.get(key, ()), new_paths if key in new else old_paths)
    ]
    order = ("python", "conda", "wheel", "sdist", "jar")
    return LockDifference(
        tuple(sorted(moves, key=lambda move: (order.index(move.kind), move.name))), (before.platform, after.platform)
    )


def _by_name(lock: Lock) -> dict[tuple[str, str], tuple[Artifact, ...]]:
    found: dict[tuple[str, str], tuple[Artifact, ...]] = {}
    for artifact in lock.everything:
        key = (_ECOSYSTEMS.get(artifact.kind, artifact.kind), artifact.name)
        found[key] = (*found.get(key, ()), artifact)
    return found


def _moves(
    name: str, before: tuple[Artifact, ...], after: tuple[Artifact, ...], paths: Mapping[str, tuple[tuple[str, ...], ...]]
) -> Iterable[PackageMove]:
    why = paths.get(name, ())
    same = {a.installed_sha256 for a in before} & {a.installed_sha256 for a in after}
    gone = [a for a in before if a.installed_sha256 not in same]
    come = [a for a in after if a.installed_sha256 not in same]
    # nearly always one of each; several where markers choose between them
    for was, now in zip(gone, come, strict=False):
        yield PackageMove(_change(was, now), name, was, now, why)
    yield from (PackageMove("removed", name, was, None, why) for was in gone[len(come) :])
    yield from (PackageMove("added", name, None, now, why) for now in come[len(gone) :])


def _change(was: Artifact, now: Artifact) -> str:
    if was.version == now.version:
        return "rebuilt"
    conda = now.kind == "conda"
    if is_newer(now.version, was.version, conda=conda):
        return "up"
    return "down" if is_newer(was.version, now.version, conda=conda) else "rebuilt"


def _spelled(artifact: Artifact | None) -> str:
    return artifact.version if artifact else ""


def _because(move: PackageMove) -> str:
    """Return who needs a package: the shortest way to a name of the definition, then the other names."""
    if not move.paths:
        return ""
    first = move.paths[0]
    way = [*reversed(first[1:]), first[0]]
    if len(way) > _SHOWN_STEPS:
        way = [*way[: _SHOWN_STEPS - 2], "…", way[-1]]
    others = [path[0] for path in move.paths[1:]]
    shown = others[: _SHOWN_ROOTS - 1]
    more = f" and {len(others) - len(shown)} more" if len(others) > len(shown) else ""
    if len(first) == 1:
        return f"  (needed by {', '.join([*way, *shown])}{more})"
    return f"  (through {' ← '.join(way)}" + (f"; also needed by {', '.join(shown)}{more})" if others else ")")
