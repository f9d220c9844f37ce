"""What a run takes from the process that submits it, and from the settings: gathered once, at the edge."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.run.source_tree import LIMIT_BYTES, LIMIT_FILES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.settings import Settings


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run takes from around it.

    Attributes:
        environ: the caller's variables; few are passed on.
        pass_variables: patterns of those that every run gets.
        limit_bytes, limit_files: of a snapshot.
        leave_out: directories that no snapshot holds: Wardian's home and cache.
        grace_s: seconds between a request to stop and the kill.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    pass_variables: tuple[str, ...] = ()
    limit_bytes: int = LIMIT_BYTES
    limit_files: int = LIMIT_FILES
    leave_out: tuple[Path, ...] = ()
    grace_s: float = 5.0

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str]) -> Surroundings:
        """Return the surroundings that ``settings`` say."""
        return cls(
            environ=environ,
            pass_variables=settings.pass_variables,
            limit_bytes=settings.snapshot_limit_bytes,
            limit_files=settings.snapshot_limit_files,
            leave_out=(settings.home, settings.cache),
        )

    @property
    def home(self) -> Path | None:
        """The user's home directory, as the caller says."""
        return Path(self.environ["HOME"]) if self.environ.get("HOME") else None
