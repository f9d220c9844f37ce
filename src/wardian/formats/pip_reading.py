"""What pip's lines say, collected: requirements, constraints, options and local code, included files by their content."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.local_path import tidy_path
from wardian.definition.pip_option import PipOption
from wardian.definition.requirement import PipRequirement
from wardian.definition.url_secret import SECRET_HINT, holds_secret
from wardian.errors import InvalidInput
from wardian.formats.local_code import LocalCode
from wardian.formats.pip_lines import BLOCK_END, BLOCK_START, LineParts, LogicalLine, logical_lines, read_parts
from wardian.formats.read_definition import Place
from wardian.formats.source_text import LIMIT_BYTES, read_source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardian.definition.environment import LocalSource
    from wardian.formats.faults import Faults

_OUTSIDE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_MOST_INCLUDES = 1000
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class _Place:
    """The file that is being read: its name for people, its directory relative to the top file's, and how it was reached."""

    file: str
    folder: str = ""
    constraint: bool = False
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    """A logical line in its place. ``number`` and ``field`` are what faults of it say; an empty field: the reading knows better."""

    logical: LogicalLine
    place: _Place
    number: int | None
    field: str = ""

    def line_of(self, word: str) -> int | None:
        return None if self.number is None else self.logical.line_of(word)


_Flat = list[tuple[str, bool]]  # lines of the text standing alone, each with whether it belongs in a constraints block


class PipReading:
    """Reads pip's lines one after another. Faults go to ``faults``; nothing is raised for them.

    Args:     base: the directory of the top file; None for a text without a place, which can include nothing.
              local: digests of local code from an earlier reading.
    """

    def __init__(self, faults: Faults, base: Path | None, local: Iterable[LocalSource] = ()) -> None:
        self.faults = faults
        self.local = LocalCode(base, local)
        self.pip: list[str] = []
        self.constraints: list[str] = []
        self.options: list[str] = []
        self.places: dict[str, Place] = {}  # ``python.pip[0]`` and so on → where it stands
        self.includes = 0
        self._base = base
        self._characters = 0
        self._counts = {False: 0, True: 0}  # lines so far, of requirements and of constraints
        self._seen: dict[tuple[str, str], tuple[str, int | None, str]] = {}

    def read_text(self, text: str, file: str) -> str:
        """Read the whole file ``text`` and return it standing alone: what it includes is in it, comments are kept."""
        place = _Place(file, chain=(os.path.realpath(self._base / Path(file).name),) if self._base else ())
        return _text_of(self._read(text, place))

    def read_line(self, text: str, *, line: int | None, field: str) -> list[tuple[str, bool]] | None:
        """Read one line that stands in another format; return None if it can stay there as it is.

        Else return lines that say the same without other files, comments of included files among them, each with whether it
        is a constraint's: for those neither pip nor another format has a line.

        Args:     line: where it stands, from 1.  field: its path in that format, such as ``dependencies[2].pip[0]``.
        """
        logical = LogicalLine(text.strip(), line or 0, line or 0, (text,))
        return self._line(_Line(logical, _Place(self.faults.file), line, field))

    # -- a file ----------------------------------------------------------------------------------------------------

    def _read(self, text: str, place: _Place) -> _Flat:
        lines, unclosed = logical_lines(text)
        if unclosed is not None:
            self.faults.add("unclosed_constraints", f"the block `{BLOCK_START}` has no end", line=unclosed, file=place.file,
                            hint=f"end it by a line `{BLOCK_END}`; all its lines begin with `#`")  # fmt: skip
        physical = text.splitlines()
        flat: _Flat = []
        done = 0
        for logical in lines:
            flat += [(one, place.constraint) for one in physical[done : logical.first - 1]]
            done = logical.last
            here = replace(place, constraint=True) if logical.constraint else place
            replaced = self._line(_Line(logical, here, logical.first))
            if replaced is None and place.constraint and logical.constraint:
                flat.append((f"{logical.text}{logical.comment}", True))
            elif replaced is None:
                flat += [(one, place.constraint) for one in physical[logical.first - 1 : done]]
            elif logical.constraint and not place.constraint:
                flat += [(BLOCK_END, False), *replaced, (BLOCK_START, False)]
            else:
                flat += replaced
        return flat + [(one, place.constraint) for one in physical[done:]]

    def _line(self, line: _Line) -> _Flat | None:
        """Read one line; return the lines to put in its place, or None if it can stay."""
        text = line.logical.text
        is_option = text.startswith("-") and not text.startswith(("-e", "--ed"))
        label = line.field or (
            text.split()[0].partition("=")[0] if is_option else self._next_field(constraint=line.place.constraint)
        )
        with self.faults.wrap(line.number, label, file=line.place.file):
            if holds_secret(text):  # before any message can show it
                raise InvalidInput("the URL on this line holds a secret", hint=SECRET_HINT, code="secret_in_definition")
            parts = read_parts(text)
            if parts.stray:
                hint = (
                    "leave `-e` out: code is built either way, and a marker can follow" if parts.editable else "one line each"
                )
                raise InvalidInput(f"`{' '.join(parts.stray)[:80]}` follows an option on its line: pip would drop it",
                                   hint=hint, code="stray_text")  # fmt: skip
            if parts.requirement is None:
                return self._options(line, parts)
            return self._requirement(replace(line, field=label), parts)
        return None

    def _next_field(self, *, constraint: bool) -> str:
        self._counts[constraint] += 1
        return f"{'constraints' if constraint else 'requirements'}[{self._counts[constraint] - 1}]"

    # -- a requirement ---------------------------------------------------------------------------------------------

    def _requirement(self, line: _Line, parts: LineParts) -> _Flat | None:
        place = line.place
        self._check_alone(line, parts)
        for value in parts.hashes:
            with self.faults.wrap(line.line_of(value), f"{line.field}.hash", file=place.file):
                PipRequirement.parse(f"x --hash={value or '-'}")
        hashes = "".join(f" --hash={value}" for value in parts.hashes if not self.faults)  # bad ones are told of already
        editable = "-e " if parts.editable else ""
        requirement = PipRequirement.parse(f"{editable}{parts.requirement}{hashes}")
        moved = requirement.path is not None and place.folder != ""
        if moved:
            requirement = replace(requirement, path=tidy_path(f"{place.folder}/{requirement.path}"))
        if requirement.path is not None:
            self.local.take(requirement.path)
        if requirement.name == "pkg-resources":
            self.faults.warn("no_such_project", "`pkg-resources` is no project: pip lists it by mistake on Debian and Ubuntu", line=line.number,
                             field=line.field, hint="delete the line", file=place.file)  # fmt: skip
        text = str(requirement)
        if place.constraint:
            _check_constraint(requirement, editable=parts.editable)
            self.places[f"python.constraints[{len(self.constraints)}]"] = self._place(place.file, line.number, line.field)
            self.constraints.append(text)
        elif self._is_new(requirement, text, line):
            self.places[f"python.pip[{len(self.pip)}]"] = self._place(place.file, line.number, line.field)
            self.pip.append(text)
        else:
            return [(f"# again: {text}{line.logical.comment}", False)]
        return [(f"{editable}{text}{line.logical.comment}", place.constraint)] if moved else None

    def _check_alone(self, line: _Line, parts: LineParts) -> None:
        for name, _ in parts.options:
            if name in ("--config-settings", "--global-option", "--install-option"):
                PipOption.checked(name, None)  # raises: they would change the build
            self.faults.warn("ignored_option", f"pip ignores `{name}` behind a requirement", line=line.number, field=line.field,
                             hint="put it on a line of its own", file=line.place.file)  # fmt: skip

    def _place(self, file: str, line: int | None, field: str) -> Place:
        return Place(file, line, self.faults.path_in(file, field))

    def _is_new(self, requirement: PipRequirement, text: str, line: _Line) -> bool:
        """Whether no line before asks for this; the same line again in another file is let pass, any other is a fault."""
        key = (requirement.project or requirement.path or requirement.url or "", requirement.marker)
        here = (line.place.file, line.number, text)
        there = self._seen.setdefault(key, here)
        if there is here:
            return True
        file, number, before = there
        if there == here:
            return False  # its file was included along another way too
        where = f"line {number}" if file == here[0] else f"{file}:{number}"
        if before == text and file != here[0]:
            self.faults.warn("repeated_requirement", f"`{text[:80]}` stands on {where} already", line=line.number, file=here[0])
            return False
        raise InvalidInput(
            f"`{key[0]}` is asked for twice: on {where} and on line {line.number}",
            hint="make one line of them, with commas between the versions", code="duplicate_requirement",
        )  # fmt: skip

    # -- options ---------------------------------------------------------------------------------------------------

    def _options(self, line: _Line, parts: LineParts) -> _Flat | None:
        place = line.place
        if parts.hashes:
            raise InvalidInput("`--hash` belongs to a requirement, on the same line", code="stray_text")
        for kind in ("--requirement", "--constraint"):  # pip's order
            if (value := next((v for name, v in parts.options if name == kind), None)) is not None:
                if len(parts.options) > 1:
                    self.faults.warn("ignored_option", f"pip reads nothing else on a line with `{kind}`", line=line.number,
                                     field=line.field or kind, file=place.file, hint="one line each")  # fmt: skip
                return self._include(replace(line, field=line.field or kind), kind, value)
        taken: list[str] = []
        moved = False
        for name, value in parts.options:
            with self.faults.wrap(line.line_of(name), line.field or name, file=place.file):
                option = PipOption.checked(name, value)
                if place.folder and name == "--find-links" and (option.value or "").startswith("."):
                    option = replace(option, value=tidy_path(f"{place.folder}/{option.value}"))
                    moved = True
                here = self._place(place.file, line.line_of(name), line.field or name)
                self.places[f"python.pip_options[{len(self.options) + len(taken)}]"] = here
                taken.append(str(option))
        self.options += taken
        return [(f"{text}{line.logical.comment}", False) for text in taken] if moved or place.constraint else None

    def _include(self, line: _Line, kind: str, value: str) -> _Flat | None:
        place = line.place
        with self.faults.wrap(line.number, line.field, file=place.file):
            if _OUTSIDE.match(value):
                raise InvalidInput(f"`{value[:120]}` is outside: a definition includes files only",
                                   hint="download it, keep it beside the definition and name its path", code="outside_include")  # fmt: skip
            if self._base is None:
                raise InvalidInput(f"`{value[:120]}` cannot be included: this text stands in no directory",
                                   hint="read the file itself", code="include_without_place")  # fmt: skip
            if not value.isprintable():
                raise InvalidInput(f"{value[:120]!a} is no path", code="bad_path")
            path = self._base / place.folder / value
            inner = _Place(
                file=os.path.normpath(os.path.join(os.path.dirname(place.file), value)),  # noqa: PTH118, PTH120 - a name, no path
                folder=_relative(self._base, path),
                constraint=kind == "--constraint",
                chain=(*place.chain, os.path.realpath(path)),
            )
            if inner.chain[-1] in place.chain:
                raise InvalidInput(f"`{value[:120]}` includes itself", hint="take the circle apart", code="include_cycle")
            self.includes += 1
            if self.includes > _MOST_INCLUDES or len(inner.chain) > _DEEPEST:
                raise InvalidInput(
                    f"more than {_MOST_INCLUDES} files are included, or {_DEEPEST} deep", code="too_many_includes"
                )
            text = read_source(path, file=inner.file)
            self._characters += len(text)
            if self._characters > LIMIT_BYTES:
                raise InvalidInput(f"the included files hold more than {LIMIT_BYTES:,} characters", code="file_too_large")
            start = (f"# --- {'-c' if inner.constraint else '-r'} {value}{line.logical.comment}", False)
            return [start, *self._read(text, inner), (f"# --- end of {value}", False)]
        return None


def _relative(base: Path, target: Path) -> str:
    folder = os.path.relpath(target.parent, base).replace(os.sep, "/")
    return "" if folder == "." else folder


def _check_constraint(requirement: PipRequirement, *, editable: bool) -> None:
    if requirement.name is None or requirement.extras or editable:
        why = "has no name" if requirement.name is None else "is editable" if editable else "has extras"
        raise InvalidInput(f"`{requirement}` is no constraint: it {why}",
                           hint="a constraint is a name with versions, or a name @ URL", code="bad_constraint")  # fmt: skip


def _text_of(lines: list[tuple[str, bool]]) -> str:
    text: list[str] = []
    in_block = False
    for line, constraint in lines:
        if constraint != in_block:
            text.append(BLOCK_START if constraint else BLOCK_END)
            in_block = constraint
        text.append(f"# {line}".rstrip() if constraint else line)
    if in_block:
        text.append(BLOCK_END)
    return "".join(f"{line}\n" for line in text)
