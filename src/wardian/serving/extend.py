"""From an environment to its extension lock: what it has is used, what it lacks is added, what cannot be is named."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.definition.platform import marker_environment
from wardian.definition.requirement import canonical_name
from wardian.errors import Conflict, SolveFailed
from wardian.serving.extension import Extension

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from packaging.requirements import Requirement

    from wardian.lock.lock import Artifact
    from wardian.serving.parent import Parent
    from wardian.serving.serving_set import ServingPackage, ServingSet

    Solve = Callable[[Sequence[str]], Sequence[Artifact]]

_SHOWN = 3  # of those who want a package


@dataclass(frozen=True, slots=True)
class Clash:
    """A requirement of the server's that the environment does not meet.

    Attributes:
        who: who has it: ``starlette 1.10.0``.
        has: the version that the environment has; ``""``: none, and no pinned package fits either.
        wanted_by: who in the environment needs the package.
    """

    who: str
    requirement: str
    name: str
    has: str
    wanted_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.has:
            return f"{self.who} needs {self.requirement}, and no pinned package is that"
        others = ", ".join(self.wanted_by[:_SHOWN]) + (
            f" and {len(self.wanted_by) - _SHOWN} more" if len(self.wanted_by) > _SHOWN else ""
        )
        return f"{self.who} needs {self.requirement}, the environment has {self.name} {self.has}" + (
            f" (for {others})" if others else ""
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    added: Mapping[str, ServingPackage]
    used: Mapping[str, str]
    clashes: tuple[Clash, ...]


def extend(parent: Parent, server: Artifact, requires: Sequence[str], pinned: ServingSet, solve: Solve) -> Extension:
    """Return what ``parent`` lacks to serve. Its own packages stay as they are, and none of them is shadowed.

    The choices of ``pinned`` are tried in their order, without a solver and without asking anybody. Where none fits, ``solve``
    chooses, with the environment's packages fixed.

    Args:     server: the server's wheel.  requires: what it needs, as its metadata say.
              solve: gives the artifacts for these requirements; raises SolveFailed.
    Raises:   Conflict: codes ``serving_conflict``, ``serving_python_too_old``; names both sides. What else ``solve`` raises.
    """
    if (has := parent.distributions.get(server.name)) not in (None, server.version):
        clash = Clash(
            "this Wardian", f"{server.name}=={server.version}", server.name, str(has), parent.wanted_by.get(server.name, ())
        )
        raise _conflict(parent, [clash])
    outcomes = []
    for packages in pinned.choices(parent.python):
        outcome = _walk(parent, f"{server.name} {server.version}", requires, packages)
        if not outcome.clashes:
            added = tuple(_as_added(one, parent) for one in outcome.added.values())
            return Extension(parent.digest, parent.python, parent.platform.name, server, added, outcome.used)
        outcomes.append(outcome)
    best = min(reversed(outcomes), key=lambda one: len(one.clashes))  # of equal ones that which asks for least
    own = [clash for clash in best.clashes if clash.who == f"{server.name} {server.version}" and clash.has]
    if own:  # no choice of versions changes what the server itself needs
        raise _conflict(parent, own)
    wanted = [
        text
        for text in requires
        if canonical_name(_parsed(text).name) not in parent.distributions and _applies(_parsed(text), parent)
    ]
    try:
        found = tuple(solve(wanted))
    except SolveFailed as error:
        raise _conflict(parent, best.clashes, error.message) from error
    shadowing = sorted(a.name for a in found if a.name in parent.distributions)
    if shadowing:
        raise _conflict(parent, best.clashes, f"the solver moved {', '.join(shadowing)}")
    used = {
        name: parent.distributions[name]
        for one in found
        for name in map(canonical_name, one.depends)
        if name in parent.distributions
    }
    used |= {
        name: parent.distributions[name]
        for text in requires
        if (name := canonical_name(_parsed(text).name)) in parent.distributions
    }
    return Extension(parent.digest, parent.python, parent.platform.name, server, found, used, solved=True)


def _walk(parent: Parent, server: str, requires: Sequence[str], packages: Mapping[str, ServingPackage]) -> _Outcome:
    """Follow the requirements from the server on, through what is added."""
    added: dict[str, ServingPackage] = {}
    used: dict[str, str] = {}
    clashes: dict[tuple[str, str], Clash] = {}
    line = deque((text, server, True) for text in requires)
    while line:
        text, who, is_strict = line.popleft()
        requirement = _parsed(text)
        if not _applies(requirement, parent):
            continue
        name = canonical_name(requirement.name)
        has = parent.distributions.get(name)
        pin = packages.get(name)
        if has is not None:
            if is_strict and not _fits(requirement, has):
                clashes[who, text] = Clash(who, _shown(requirement), name, has, parent.wanted_by.get(name, ()))
            elif name not in used and parent.is_observed and pin is not None:
                # nobody vouches that what this one needs is there: what is not there at all is added
                line.extend((need, f"{name} {has}", False) for need in pin.requires)
            used[name] = has
        elif pin is None or (is_strict and not _fits(requirement, pin.artifact.version)):
            if is_strict:
                clashes[who, text] = Clash(who, _shown(requirement), name, "")
        elif name not in added:
            added[name] = pin
            line.extend((need, f"{name} {pin.artifact.version}", True) for need in pin.requires)
    return _Outcome(added, used, tuple(clashes.values()))


def _as_added(package: ServingPackage, parent: Parent) -> Artifact:
    from dataclasses import replace

    needs = {canonical_name(_parsed(text).name) for text in package.requires if _applies(_parsed(text), parent)}
    return replace(package.artifact, depends=tuple(sorted(needs)))


def _conflict(parent: Parent, clashes: Sequence[Clash], explanation: str = "") -> Conflict:
    lines = "".join(f"\n  {clash}" for clash in clashes)
    named = list(dict.fromkeys(clash.name for clash in clashes if clash.has))
    first = next((clash for clash in clashes if clash.has), clashes[0])
    change = f"ask for `{first.requirement}` in its definition, or deploy with an environment that has it"
    if not parent.is_observed and ":" in parent.name:
        change = f"`wardian env upgrade {parent.name.partition(':')[0]} {' '.join(named)}`; or {change}"
    elif parent.is_observed:
        change = f"install `{first.requirement}` there, or deploy with another environment"
    details = {
        "clashes": [
            {"who": c.who, "requirement": c.requirement, "name": c.name, "has": c.has or None, "wanted_by": list(c.wanted_by)}
            for c in clashes
        ],
        **({"explanation": explanation} if explanation else {}),
    }
    return Conflict(f"the scoring server does not go with the packages of {parent.name}:{lines}", code="serving_conflict", hint=change,
                    details=details)  # fmt: skip


def _parsed(text: str) -> Requirement:
    from packaging.requirements import Requirement

    return Requirement(text)


def _applies(requirement: Requirement, parent: Parent) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(
        {**marker_environment(parent.platform, parent.python), "extra": ""}
    )


def _fits(requirement: Requirement, version: str) -> bool:
    """Whether a version satisfies a requirement. One that cannot be compared does not stand in the way: it is there and stays."""
    from packaging.version import InvalidVersion, Version

    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def _shown(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"
