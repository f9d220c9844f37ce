"""A run in several pods that share no directory: how it ended, and what they left, put together. What is read comes from the nodes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.run.node.artifact import BEHIND, NODES
from wardian.run.node.others import as_ours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.run.node.artifact import RunFiles
    from wardian.run.node.sheet import NodeEnd

_MOST_NODES = 100_000
_MERGED_NOTES = 100


def end_of_all(own: NodeEnd, ends: Sequence[tuple[int, NodeEnd]], *, is_whole: bool) -> NodeEnd | None:
    """Return how a run has ended: as its first node did, unless another failed; None: only the engine knows what became of the others.

    Args:     own: of the first node.  ends: of others.  is_whole: of all others.
    """
    failed = [(rank, end) for rank, end in ends if end.process_exit_code != 0 and end.cause != "stopped"]
    if failed and (own.process_exit_code == 0 or own.cause == "stopped"):
        rank, end = min(failed, key=lambda one: one[1].ended or "~")
        return as_ours(rank, end, own)
    return own if is_whole or own.process_exit_code != 0 else None


def nodes_of(files: RunFiles) -> int:
    """Return how many nodes a run has, as its first one says."""
    said = files.notes.get(NODES, "1")
    return max(1, min(int(said), _MOST_NODES)) if said.isascii() and said.isdecimal() and len(said) < 7 else 1  # noqa: PLR2004


def behind_of(files: RunFiles) -> list[str]:
    """Return what a node could not bring, in its words."""
    try:
        said = json.loads(files.notes.get(BEHIND, "[]"))
    except (ValueError, RecursionError):
        return []
    return [one[:1000] for one in said[:_MERGED_NOTES] if isinstance(one, str)] if isinstance(said, list) else []


def merge(part: Path, place: Path, rank: int) -> list[str]:
    """Move what another node made to what the first one left; return what both made, each otherwise: the first one's stays."""
    notes: list[str] = []
    for parent, directories, names in os.walk(part):
        inside = Path(parent).relative_to(part)
        for name in [*directories, *names]:
            source, target = Path(parent) / name, place / inside / name
            if name in directories and not source.is_symlink():
                if not os.path.lexists(target):
                    target.mkdir()
                elif target.is_symlink() or not target.is_dir():
                    notes.append(f"{inside / name}: node {rank} made a directory, the first one did not")
                    directories.remove(name)
            elif source.is_symlink():  # where it leads among another's files nobody has looked
                if not target.is_symlink() or target.readlink() != source.readlink():
                    notes.append(f"{inside / name}: node {rank} made a link")
                    if name in directories:
                        directories.remove(name)
            elif not os.path.lexists(target):
                source.rename(target)
            elif target.is_symlink() or not target.is_file() or Digest.of_file(source) != Digest.of_file(target):
                notes.append(f"{inside / name}: node {rank} wrote another one than the first")
    return notes
