"""Where the files of a run lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OUTPUTS = "outputs"  # in the snapshot


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of one run, below the workspace's ``runs/``."""

    path: Path

    @classmethod
    def of(cls, runs_dir: Path, run_id: str) -> RunDirectory:
        """Return the directory of the run ``run_id``; whether it is there is another question."""
        return cls(runs_dir / run_id)

    @property
    def snapshot(self) -> Path:
        """The copy of the source directory: the run's working directory."""
        return self.path / "snapshot"

    @property
    def snapshot_list(self) -> Path:
        """What the snapshot held before the run, as JSON."""
        return self.path / "snapshot.json"

    @property
    def inputs(self) -> Path:
        """The inputs that came with a run file, by name."""
        return self.path / "inputs"

    @property
    def outputs(self) -> Path:
        """What the run is to leave: ``WARDIAN_OUTPUT_DIR``."""
        return self.snapshot / OUTPUTS

    @property
    def log(self) -> Path:
        """All that the run wrote to stdout and stderr."""
        return self.path / "log.txt"

    @property
    def last_sign_of_life(self) -> datetime | None:
        """When the run wrote, or its supervisor said that it is there, which it does every few seconds; None: never yet."""
        try:
            return datetime.fromtimestamp(self.log.stat().st_mtime, UTC)
        except OSError:
            return None

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor of a detached run had to say: nothing, as a rule."""
        return self.path / "supervisor.txt"
