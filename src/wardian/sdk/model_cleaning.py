"""What a clean-up takes of models: copies that killed processes had not finished. Models themselves are no cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.prefix.evict import Candidate
from wardian.workspace.model_files import ModelFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_KIND = "unfinished-model"


class ModelCleaning:
    """A ``wardian.prefix.evict.Beside`` over the models of all workspaces of the home. Whoever copies one now keeps it."""

    kinds: tuple[str, ...] = (_KIND,)

    def __init__(self, home: Path):
        self._workspaces = home / "workspaces"

    def candidates(self) -> Iterator[Candidate]:
        """See ``Beside``."""
        for artifacts in sorted(self._workspaces.glob("*/artifacts")):
            for path in ModelFiles(artifacts).unfinished():
                yield Candidate(_KIND, path.name, path, 0.0, 0, "a model that was not registered")

    def kept(self) -> Iterable[Path]:
        """See ``Beside``."""
        return ()

    def remove(self, candidate: Candidate) -> bool:
        """See ``Beside``."""
        return ModelFiles(candidate.path.parents[1]).remove_unfinished(candidate.path)
