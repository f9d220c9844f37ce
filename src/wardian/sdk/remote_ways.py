"""The way to each kind of target whose jobs outlive their submitter: its engine, and how files come to its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wardian.run.handover import Way
from wardian.run.targets.kinds import kind_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.bootstrap import Parts

NODES = "nodes"  # below WARDIAN_HOME: what nodes share with this machine, if nobody says otherwise


def way_to(parts: Parts, kind: str, options: Mapping[str, str]) -> Way:
    """Return the way to a target of this kind with these options. Nothing is contacted.

    Raises:   InvalidInput: this Wardian has no such kind.
    """
    kind_named(kind)
    if kind == "slurm":
        from wardian.run.targets.shared_directory import SharedDirectory
        from wardian.run.targets.slurm import SlurmTarget

        root = Path(options["directory"]) if "directory" in options else parts.settings.home / NODES
        return Way(
            SlurmTarget(options, parts.environ), SharedDirectory(root), kind, options, keeps=options.get("keep") == "yes"
        )
    raise NotImplementedError(kind)
