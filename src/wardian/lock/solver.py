"""The solver port: from a definition to a lock on one platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.lock import Artifact, Lock


@dataclass(frozen=True, slots=True)
class SolveRequest:
    """What is to be solved.

    Attributes:
        environment: the definition.
        platform: for which platform.
        preferred: artifacts whose versions are taken where the requirements allow (other platforms, upgrades).
        held: like ``preferred``, but a solve that moves one of these names fails.
        as_of: nothing published after this time (UTC) is used.
        jars: of the Spark section, as an earlier lock of the same section has them: taken as they are; none: they are resolved.
        sources: where the trees of local code lie, by their digest.
        offline: nothing outside this machine is contacted.
    """

    environment: Environment
    platform: Platform
    preferred: tuple[Artifact, ...] = ()
    held: frozenset[str] = frozenset()
    as_of: datetime | None = None
    jars: tuple[Artifact, ...] = ()
    sources: Mapping[Digest, Path] = field(default_factory=dict)
    offline: bool = False


class Solver(Protocol):
    """Finds the artifacts that satisfy a definition. Contract: tests/contracts/test_solver.py.

    Guarantees: the same request over the same index gives the same lock; every artifact has a sha256; nothing is
    installed; no setting of the machine but the configured indexes, channels and credentials has an influence.
    """

    def solve(self, request: SolveRequest, listener: Listener) -> Lock:
        """Return the lock.

        Raises:   SolveFailed: nothing satisfies the definition; the message is a short tree.
                  Unavailable: an index or channel does not answer.  Denied: it wants credentials.
                  BuildFailed: source code could not be built.
        """
        ...
