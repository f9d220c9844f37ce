"""The environment that a serving layer goes on: what it has, whoever installed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.definition.platform import get_platform
from wardian.definition.requirement import canonical_name
from wardian.digest import Digest
from wardian.errors import Conflict
from wardian.lock.graph import needed_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wardian.definition.platform import Platform
    from wardian.lock.lock import Artifact, Lock


@dataclass(frozen=True, slots=True)
class Parent:
    """An environment as a serving layer sees it. Its packages are fixed.

    Attributes:
        name: for people: ``sklearn:4``.
        digest: of its lock; of a user-managed one: of what was observed.
        python: full version.
        distributions: versions by PEP 503 name.
        wanted_by: by the name of a distribution, who in the environment needs it, as far as that is known.
        is_observed: nobody vouches that it has all that its packages need.
    """

    name: str
    digest: Digest
    python: str
    platform: Platform
    distributions: Mapping[str, str]
    wanted_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_observed: bool = False


def locked_parent(name: str, lock: Lock, conda: Mapping[str, str]) -> Parent:
    """Return the parent that ``lock`` is.

    Args:     conda: versions by name of the Python distributions that its conda packages bring; they tell it themselves.
    Raises:   Conflict: code ``serving_no_python``.
    """
    if lock.python is None:
        raise _no_python(name)
    wheels = {canonical_name(a.name): a.version for a in lock.of_kind("wheel", "sdist")}
    wanted: dict[str, list[str]] = {}
    for artifact in lock.artifacts:
        for text in artifact.depends:
            needed = needed_name(text) if artifact.kind == "conda" else text
            wanted.setdefault(canonical_name(needed), []).append(f"{artifact.name} {artifact.version}")
    return Parent(name, lock.digest, lock.python.version, get_platform(lock.platform), {**conda, **wheels},
                  {needed: tuple(sorted(who)) for needed, who in wanted.items()})  # fmt: skip


def observed_parent(name: str, found: Mapping[str, Any], platform: Platform) -> Parent:
    """Return the parent that an interpreter says it is: ``found`` is what ``wardian.run.observed`` gives.

    Raises:   Conflict: code ``serving_no_python``: there is no Python.
    """
    python = found.get("python")
    if not isinstance(python, str) or python.count(".") < 1:
        raise _no_python(name)
    listed = sorted((canonical_name(str(one["name"])), str(one["version"])) for one in found.get("distributions") or ())
    digest = Digest.of_document(
        {"tag": "wardian-observed", "python": python, "platform": platform.name, "distributions": [list(one) for one in listed]}
    )
    return Parent(name, digest, python, platform, dict(reversed(listed)), is_observed=True)


def pythonic(artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
    """Return the conda packages that may bring Python distributions: those of no architecture, and those that need Python."""
    found = (a for a in artifacts if a.kind == "conda")
    return tuple(
        a for a in found if a.noarch == "python" or not {"python", "python_abi"}.isdisjoint(map(needed_name, a.depends))
    )


def _no_python(name: str) -> Conflict:
    return Conflict(f"{name} has no Python, and the scoring server is a Python program", code="serving_no_python",
                    hint="add python to its definition, or deploy with another environment")  # fmt: skip
