"""What rules look at: a definition that was read, its texts, and its locks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from wardian.definition.match_spec import MatchSpec
from wardian.definition.requirement import PipRequirement
from wardian.formats.read_definition import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.definition.environment import Environment
    from wardian.formats.read_definition import ReadDefinition
    from wardian.lock.lock import Lock


@dataclass(frozen=True)
class Subject:
    """One definition.

    Attributes:
        file: its name for people.
        texts: file → its text, for the definition's file and those that it includes.
        locks: that answer this very definition, one for each platform.
    """

    read: ReadDefinition
    file: str
    texts: Mapping[str, str]
    locks: tuple[Lock, ...] = field(default=())

    @property
    def environment(self) -> Environment:
        """The definition."""
        return self.read.environment

    @property
    def format(self) -> str:
        """The name of the file's format."""
        return self.read.format

    def place(self, path: str) -> Place:
        """Return where ``path``, a field of the environment, stands; the whole file if that is not known."""
        return self.read.places.get(path) or Place(self.file)

    def line(self, place: Place) -> str:
        """Return the text of the line at ``place``, an empty one if it has none."""
        lines = self._lines.get(place.file, [])
        return lines[place.line - 1] if place.line is not None and 0 < place.line <= len(lines) else ""

    @cached_property
    def _lines(self) -> dict[str, list[str]]:
        return {file: text.split("\n") for file, text in self.texts.items()}

    @cached_property
    def whole(self) -> Place:
        """The whole file."""
        return Place(self.file)

    @property
    def installs(self) -> bool:
        """Whether Wardian installs packages for it."""
        return self.environment.python.manager != "user"

    @cached_property
    def conda(self) -> tuple[tuple[Place, MatchSpec], ...]:
        """The requirements for conda, each with its place."""
        found = enumerate(self.environment.python.conda)
        return tuple((self.place(f"python.conda[{i}]"), MatchSpec.parse(text)) for i, text in found)

    @cached_property
    def pip(self) -> tuple[tuple[Place, PipRequirement], ...]:
        """The requirements for pip, each with its place."""
        found = enumerate(self.environment.python.pip)
        return tuple((self.place(f"python.pip[{i}]"), PipRequirement.parse(text)) for i, text in found)

    @cached_property
    def channels(self) -> tuple[tuple[Place, str], ...]:
        """The channels, each with its place."""
        return tuple((self.place(f"python.channels[{i}]"), text) for i, text in enumerate(self.environment.python.channels))

    @cached_property
    def pip_options(self) -> tuple[tuple[Place, str], ...]:
        """The options for pip, each with its place."""
        found = enumerate(self.environment.python.pip_options)
        return tuple((self.place(f"python.pip_options[{i}]"), text) for i, text in found)
