"""Requirements that stand in TOML (pyproject.toml, PEP 723 scripts), collected with their places."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.pip_option import PipOption
from wardian.definition.requirement import PipRequirement, canonical_name
from wardian.errors import InvalidInput
from wardian.formats.local_code import LocalCode
from wardian.formats.read_definition import places_in
from wardian.formats.toml_text import field_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wardian.definition.environment import LocalSource
    from wardian.formats.faults import Faults
    from wardian.formats.read_definition import Place
    from wardian.formats.toml_text import TomlPath, TomlText


class TomlReading:
    """Reads lists of requirements out of one TOML text. Faults go to ``faults``; nothing is raised for them.

    Args:     base: the directory of the file, for local code.  line_offset: lines of the file before the text.
    """

    def __init__(
        self, toml: TomlText, faults: Faults, *, base: Path | None, local: Iterable[LocalSource], line_offset: int = 0
    ) -> None:
        self.toml = toml
        self.faults = faults
        self.local = LocalCode(base, local)
        self.pip: list[str] = []
        self.constraints: list[str] = []
        self.options: list[str] = []
        self.settings: dict[str, Any] = {}  # further fields of the Python section
        self.sources: dict[str, str] = {}  # project → what it comes from, by [tool.uv.sources]
        self._line_offset = line_offset
        self._places: dict[str, tuple[int | None, str]] = {}

    @property
    def places(self) -> dict[str, Place]:
        """Where the values of the environment stand."""
        return places_in(self.faults.file, self._places)

    def line_of(self, path: TomlPath) -> int | None:
        """Return the line of ``path`` in the file; None if it is not there."""
        line = self.toml.line_of(path)
        return None if line is None else line + self._line_offset

    def fault(self, path: TomlPath, code: str, message: str, hint: str | None = None) -> None:
        """Note a fault of what is at ``path``."""
        self.faults.add(code, message, line=self.line_of(path), field=field_of(path), hint=hint)

    def warn(self, path: TomlPath, code: str, message: str, hint: str | None = None) -> None:
        """Note a warning about what is at ``path``."""
        self.faults.warn(code, message, line=self.line_of(path), field=field_of(path), hint=hint)

    def table(self, path: TomlPath) -> dict[str, Any]:
        """Return the table at ``path``, an empty one if there is none; anything else is a fault."""
        return self._typed(path, dict, "a table") or {}

    def items(self, path: TomlPath) -> list[Any]:
        """Return the array at ``path``, an empty one if there is none; anything else is a fault."""
        return self._typed(path, list, "an array") or []

    def string(self, path: TomlPath) -> str | None:
        """Return the text at ``path``, None if there is none; anything else is a fault."""
        value = self._typed(path, str, "a text")
        return value if isinstance(value, str) else None

    def flag(self, path: TomlPath) -> bool:
        """Return the truth value at ``path``, false if there is none; anything else is a fault."""
        return bool(self._typed(path, bool, "true or false"))

    def strings(self, path: TomlPath) -> Iterator[tuple[TomlPath, str]]:
        """Yield each text of the array at ``path`` with its own path; what is no text is a fault."""
        for i in range(len(self.items(path))):
            if (text := self.string((*path, i))) is not None:
                yield (*path, i), text

    def _typed(self, path: TomlPath, kind: type, what: str) -> Any:
        value = self.toml.get(path)
        if value is None or isinstance(value, kind):
            return value
        self.fault(path, "wrong_type", f"this must be {what}, not {_KINDS.get(type(value), 'a ' + type(value).__name__)}")
        return None

    # -- requirements ----------------------------------------------------------------------------------------------

    def parse(self, path: TomlPath, text: str) -> PipRequirement | None:
        """Return the requirement ``text`` at ``path``, with its source in place; None, and a fault, if it is none."""
        with self.faults.wrap(self.line_of(path), field_of(path)):
            if text.lstrip().startswith("-") or re.search(r"\s--hash", text):
                raise InvalidInput(f"`{text[:120]}` is no requirement: options have no place here", code="bad_requirement",
                                   hint="options of indexes stand in [tool.uv]; hashes in requirements files")  # fmt: skip
            requirement = PipRequirement.parse(text)
            if requirement.name is None or (requirement.path and "@" not in text):
                raise InvalidInput(f"`{text[:120]}` has no name: PEP 508 wants one", code="bad_requirement",
                                   hint="write `name @ ./path` or `name @ https://…`")  # fmt: skip
            source = self.sources.get(requirement.name)
            if source is not None and requirement.url is None and requirement.path is None:
                bare = PipRequirement.parse(f"{requirement.name} @ {source}")
                requirement = replace(bare, extras=requirement.extras, marker=requirement.marker)
            return requirement
        return None

    def take(self, path: TomlPath, requirement: PipRequirement, marker: str = "") -> None:
        """Add ``requirement``, which stands at ``path``, to the environment; once, if it comes again.

        Args:     marker: one that must hold too.
        """
        if marker:
            both = f"({marker}) and ({requirement.marker})" if requirement.marker else marker
            requirement = replace(requirement, marker=both)
        with self.faults.wrap(self.line_of(path), field_of(path)):
            if requirement.path is not None:
                self.local.take(requirement.path)
            if (text := str(requirement)) not in self.pip:
                self._places[f"python.pip[{len(self.pip)}]"] = (self.line_of(path), field_of(path))
                self.pip.append(text)

    def take_all(self, path: TomlPath) -> None:
        """Add every requirement of the array at ``path``."""
        for place, text in self.strings(path):
            if requirement := self.parse(place, text):
                self.take(place, requirement)

    def option(self, path: TomlPath, name: str, value: str | None = None) -> None:
        """Add a pip option that the setting at ``path`` means."""
        with self.faults.wrap(self.line_of(path), field_of(path)):
            option = str(PipOption.checked(name, value))
            self._places[f"python.pip_options[{len(self.options)}]"] = (self.line_of(path), field_of(path))
            self.options.append(option)

    def constrain(self, path: TomlPath) -> None:
        """Add every requirement of the array at ``path`` as a constraint."""
        for place, text in self.strings(path):
            if requirement := self.parse(place, text):
                self._places[f"python.constraints[{len(self.constraints)}]"] = (self.line_of(place), field_of(place))
                self.constraints.append(str(requirement))

    def requires_python(self, path: TomlPath) -> None:
        """Read the Python requirement at ``path``: a specifier, as PEP 621 has it."""
        text = self.string(path)
        if text is None:
            return
        if not text.strip() or text.strip()[0].isdigit():
            self.fault(path, "bad_python_version", f"`{text[:60]}` is not a version specifier", "write `>=3.11`, `==3.12.*` …")
            return
        self.settings["requires_python"] = text
        self._places["python.requires_python"] = (self.line_of(path), field_of(path))

    def environment(self) -> Environment:
        """Return the environment of all that was taken.

        Raises:   InvalidDefinition: there were faults.
        """
        python = PythonSection(manager="uv", pip=tuple(self.pip), constraints=tuple(self.constraints),
                               pip_options=tuple(self.options), local=self.local.sources, **self.settings)  # fmt: skip
        environment = Environment()
        with self.faults.wrap(places=self._places):
            environment = Environment(python=python)
        self.faults.raise_if_any()
        return environment


_KINDS = {str: "a text", list: "an array", dict: "a table", bool: "true or false", int: "a number", float: "a number"}


def normalised(names: Iterable[str]) -> dict[str, str]:
    """Return normalised name → name as written, for the keys of a table of extras, groups or sources."""
    return {canonical_name(name): name for name in names}
