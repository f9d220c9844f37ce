"""The port that finds the jars of a Spark section."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wardian.definition.environment import SparkSection
    from wardian.events import Listener
    from wardian.lock.lock import Artifact


class JarResolver(Protocol):
    """Finds what the packages of a Spark section need, one version of each.

    Guarantees: the same section over the same repositories gives the same jars in the same order, whatever the machine; each is on
    this machine afterwards, with the digest that it is locked by; nothing of it is run.
    """

    def resolve(self, spark: SparkSection, listener: Listener) -> tuple[Artifact, ...]:
        """Return the jars, those that the section names first.

        Raises:   SolveFailed: a package is in none of the repositories, or its versions cannot be told.  BadArchive: a file is not what
                  its checksum says, or is hostile.  Unavailable, Denied: a repository does not answer, or wants credentials.
        """
        ...
