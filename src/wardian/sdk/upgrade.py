"""A new lock for what is there: solved, shown, and only then registered."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardian.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.lock.difference import LockDifference
    from wardian.lock.lock import Artifact, Lock
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.workspace.version import EnvironmentVersion


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade found: the new lock beside the old one. Nothing is registered until it is applied."""

    version: EnvironmentVersion
    environment: Environment
    text: tuple[str, str] | None
    old: Lock
    locks: tuple[Lock, ...]
    difference: LockDifference


def plan_upgrade(
    parts: Parts, environments: EnvironmentCollection, version: EnvironmentVersion, packages: Sequence[str], as_of: datetime | None
) -> Upgrade:  # fmt: skip
    """Solve ``version`` anew on every platform that it is locked for; see ``EnvironmentCollection.upgrade``."""
    from wardian.definition.platform import get_platform, this_platform
    from wardian.lock import difference as locks
    from wardian.lock.solver import SolveRequest

    named(version)
    old = environments.lock(version)[this_platform().name]
    environment, text = _with_pins(environments, version, [one for one in packages if re.search(r"[=<>~!]", one)])
    kept = _kept(version, old, packages)
    solved: list[Lock] = []
    platforms = [old.platform, *(pin.platform for pin in parts.locks.pins(version.id) if pin.platform != old.platform)]
    for name in platforms:
        request = SolveRequest(environment, get_platform(name), preferred=solved[0].artifacts if solved else kept, as_of=as_of,
                               offline=parts.settings.offline)  # fmt: skip
        solved.append(parts.solver.solve(request, parts.listener))
    return Upgrade(version, environment, text, old, tuple(solved), locks.difference(old, solved[0]))


def named(version: EnvironmentVersion) -> str:
    """Return the version's name.

    Raises:   InvalidInput: it is anonymous.
    """
    from wardian.errors import InvalidInput

    if version.name is None:
        raise InvalidInput(
            f"{version} is anonymous", hint=f"give it a name: `wardian env create NAME --from {version}`", code="anonymous"
        )
    return version.name


def _with_pins(
    environments: EnvironmentCollection, version: EnvironmentVersion, pins: Sequence[str]
) -> tuple[Environment, tuple[str, str]]:
    """Return the definition with these requirements in place of its own, and its text."""
    environment, (kind, text) = version.environment, environments.source(version)
    if not pins:
        return environment, (kind, text)
    from wardian import formats

    changed = formats.add(text, kind, list(pins), manager=environment.python.manager)
    read = formats.read_text(changed, kind, file=str(version), local=environment.local_sources).environment
    return replace(read, name=version.name, variables=environment.variables), (kind, changed)


def _kept(version: EnvironmentVersion, old: Lock, packages: Sequence[str]) -> tuple[Artifact, ...]:
    """Return the artifacts whose versions are preferred: all but ``packages``; without any, the interpreter alone.

    Raises:   NotFound: a bare name that is not in the lock.
    """
    from wardian.definition.requirement import canonical_name

    if not packages:
        return tuple(a for a in old.artifacts if a.kind == "python")
    moving = {canonical_name(re.split(r"[\s\[=<>~!;]", one)[0]): one for one in packages}
    known = {canonical_name(a.name) for a in old.artifacts}
    for name, text in sorted(moving.items()):
        if name not in known and canonical_name(text) == name:
            raise NotFound(
                f"`{name}` is not in {version}",
                code="package_not_found",
                hint=f"`wardian env show {version} --packages` lists what is",
            )
    return tuple(a for a in old.artifacts if canonical_name(a.name) not in moving)
