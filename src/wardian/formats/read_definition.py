"""What a reader hands back: the environment, and the text that a version of it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.errors import Fault
    from wardian.formats.ledger import Loss


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was read: the file as people call it, its line from 1, its field path there."""

    file: str
    line: int | None = None
    field: str = ""


@dataclass(frozen=True, slots=True)
class ReadDefinition:
    """A definition that was read.

    ``text`` can be kept without the file: what the file included is in it, comments are kept, and reading it again
    gives an equal environment (``local`` gives the digests of local code whose trees are elsewhere by then).
    ``sources`` says where the local code of ``environment.python.local`` was found; empty when its digests were given.
    ``texts`` are files that the workspace keeps by their digest, each with its name: a lock file, with what was asked of it.
    ``self_contained``: the file's own bytes decide the environment, that is no other file and no local code was read; of a lock
    file, its manifest beside it may have been.
    ``warnings`` are what deserves a thought; ``losses`` is all that the file says and the environment does not, or says otherwise.
    ``places`` says where values of ``environment`` stand, by field path: ``python.pip[2]``.
    """

    environment: Environment
    format: str
    text: str
    sources: Mapping[Digest, Path] = field(default_factory=dict)
    self_contained: bool = True
    warnings: tuple[Fault, ...] = ()
    losses: tuple[Loss, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    texts: Mapping[Digest, tuple[str, str]] = field(default_factory=dict)


def places_in(file: str, places: Mapping[str, tuple[int | None, str]], *, prefix: str = "") -> dict[str, Place]:
    """Return ``places`` (field path of the environment → line, field path in the file below ``prefix``) as places in ``file``."""
    return {path: Place(file, line, f"{prefix}{name}") for path, (line, name) in places.items()}
