"""A wheel that was built while locking and that nobody here has kept: built again from its source distribution, and compared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.platform import get_platform
from wardian.errors import BuildFailed
from wardian.events import Event
from wardian.lock.pypi import PipTarget
from wardian.lock.solver import SolveRequest
from wardian.lock.sources import SourceBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.definition.environment import Environment
    from wardian.events import Listener
    from wardian.lock.lock import Artifact, Lock
    from wardian.lock.pypi import UvSolver


def can_be_rebuilt(artifact: Artifact) -> bool:
    """Return whether the source that ``artifact`` was built from is in an index: local code and repositories are not."""
    return artifact.kind == "sdist" and artifact.built is not None and artifact.source.startswith("index:")


def rebuild_wheel(
    pip: UvSolver, environment: Environment, lock: Lock, artifact: Artifact, sdist: Path, *, builder: Callable[[], Path], listener: Listener
) -> None:  # fmt: skip
    """Build the wheel of ``artifact`` from ``sdist`` with the build requirements that the lock names, and keep it.

    Args:     builder: gives an interpreter of the lock's minor version on this machine.
    Raises:   BuildFailed: the build fails; code ``rebuilt_differs``: it makes another wheel than the one that was locked.
    """
    platform = get_platform(lock.platform)
    plan = pip.plan(SolveRequest(environment, platform))
    listener(Event("notice", f"the wheel of {artifact.name} {artifact.version} is kept nowhere here: it is built again"))
    with tempfile.TemporaryDirectory(prefix="wardian-rebuild-") as place:
        python = lock.python.version if lock.python is not None else ""
        sources = SourceBuilder(
            uv=pip.uv, wheels=pip.wheels, trees=pip.trees, origin={}, place=Path(place), target=PipTarget(python, builder), plan=plan, as_of=(),
            listener=listener, platform=platform, pinned=lock.provenance.build_requirements,
        )  # fmt: skip
        built = sources.build(sdist, artifact.name)
    if built != artifact.built:
        raise BuildFailed(f"{artifact.file} builds another wheel here than the one that was locked: sha256 {built.sha256.short}, not {artifact.installed_sha256.short}",
                          code="rebuilt_differs", hint="`wardian env pull` brings the wheel from a registry that has it; `wardian env upgrade` locks anew")  # fmt: skip
