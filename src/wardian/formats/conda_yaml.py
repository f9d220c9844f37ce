"""conda's environment.yml: read as conda reads it, with every fault in its place, and written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.match_spec import MatchSpec
from wardian.definition.requirement import PipRequirement
from wardian.errors import InvalidDefinition
from wardian.formats.conda_hints import dependency_hint, pip_line_hint
from wardian.formats.conda_losses import NOT_KEPT, note_losses
from wardian.formats.detect import other_yaml
from wardian.formats.edit_yaml import add_to_conda, remove_from_conda, with_pip_lines
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.losses import check_same, refuse_losses
from wardian.formats.pip_lines import BLOCK_END, BLOCK_START, COMMENT, logical_lines
from wardian.formats.pip_reading import PipReading
from wardian.formats.read_definition import ReadDefinition, places_in
from wardian.formats.source_text import plain_text
from wardian.formats.yaml_emit import entry, listing, scalar, table
from wardian.formats.yaml_fields import Fields
from wardian.formats.yaml_text import YamlMapping, YamlScalar, compose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource
    from wardian.digest import Digest
    from wardian.formats.read_definition import Place
    from wardian.formats.yaml_text import YamlNode

__all__ = ["FORMAT", "KEYS", "CondaPart", "add", "constraint_block", "lines_of", "read", "read_part", "remove", "write"]

FORMAT = "conda"
KEYS = ("name", "channels", "dependencies", "variables")
_UNREAD = {
    "version": "the version of python is a dependency: `- python=3.11`",
    "python": "python is a dependency: `- python=3.11`",
    "pip": "pip's packages are an item of `dependencies`: `- pip: [numpy]`",
    "env": "conda's word is `variables`",
}

add = add_to_conda
remove = remove_from_conda


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ReadDefinition:
    """Return the conda environment that ``text`` states, nothing added.

    Lines below ``pip:`` are those of a requirements file: options, URLs and ``-r`` files included, relative to ``base``.
    Keys that nothing is made of, ``prefix`` for one, are losses. Warnings: ``no_channels`` (conda would take its `defaults`),
    ``no_python`` (packages for pip, but neither python nor pip).

    Args:     text: the file's text.  file: its name for people.
              base: its directory; None for a text that was kept, whose local code is then in ``local``.
    Raises:   InvalidDefinition: every fault of the file, with its line and field.
    Source:   conda's "Creating an environment file manually"; semantics §1
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "a conda file")
    text = plain_text(text)
    root = compose(text, faults)
    if not isinstance(root, YamlMapping):
        _note_no_mapping(root, faults)
        raise InvalidDefinition(faults.found)
    _check_kind(root, text, faults)
    ledger = Ledger(file)
    conda_file = _CondaFile(text, root, faults, PipReading(faults, base, local), ledger)
    part = conda_file.part()
    faults.raise_if_any()
    environment = replace(part.environment, name=part.name)
    return ReadDefinition(
        environment, FORMAT, conda_file.standing_alone(), part.sources, part.alone, faults.warnings, ledger.losses, part.places
    )


@dataclass(frozen=True, slots=True)
class CondaPart:
    """What a conda file states, wherever it stands: packages and variables in a nameless environment, and the file's name.

    ``sources``, ``alone`` and ``places`` are as `ReadDefinition` has them.
    """

    environment: Environment
    name: str | None
    sources: Mapping[Digest, Path]
    alone: bool
    places: Mapping[str, Place] = field(default_factory=dict)


def read_part(
    root: YamlMapping, *, text: str, path: str, faults: Faults, ledger: Ledger, base: Path | None, local: Sequence[LocalSource]
) -> CondaPart:
    """Return what the mapping ``root``, a conda file or a part of another file, states. Faults go to ``faults``.

    Args:     text: the text that may hold a constraints block.  path: the mapping's field path, ``""`` for a whole file.
    """
    return _CondaFile(text, root, faults, PipReading(faults, base, local), ledger, path).part()


class _CondaFile:
    """One file while it is read."""

    def __init__(self, text: str, root: YamlMapping, faults: Faults, pip: PipReading, ledger: Ledger, path: str = "") -> None:
        self._text = text
        self._faults = faults
        self._ledger = ledger
        self._pip = pip
        self._places: dict[str, tuple[int | None, str]] = {}
        self._fields = Fields(root, path, faults, self._places)
        self._conda: list[str] = []
        self._names: set[str] = set()
        self._pip_item: int | None = None  # where in the dependencies
        self._standalone: list[tuple[int, str]] = []  # pip items that other lines replace
        self._constraints: list[str] = []  # lines of included constraints, comments among them

    def part(self) -> CondaPart:
        fields, faults = self._fields, self._faults
        fields.check_keys((*KEYS, *NOT_KEPT), _UNREAD)
        name = fields.text("name", as_="name")
        note_losses(fields, self._ledger)
        channels = fields.texts("channels", example="conda-forge", as_="python.channels")
        self._check_channels(channels)
        for item, path in fields.items("dependencies", example="numpy"):
            self._read_dependency(item, path)
        for number, line in _constraint_lines(self._text, faults):
            with faults.wrap(number, "constraints"):
                self._pip.constraints.append(str(PipRequirement.parse(line)))
        variables = fields.strings("variables", as_="variables")
        self._warn(channels)
        section = PythonSection(
            channels=channels, conda=tuple(self._conda), pip=tuple(self._pip.pip), pip_options=tuple(self._pip.options),
            constraints=tuple(self._pip.constraints), local=self._pip.local.sources,
        )  # fmt: skip
        environment = Environment()
        with faults.wrap(places=self._places):
            environment = Environment(name=name, python=section, variables=variables).renamed(None)
        alone = not self._pip.includes and not section.local
        places = {**places_in(faults.file, self._places, prefix=faults.prefix), **self._pip.places}
        return CondaPart(environment, name, self._pip.local.places, alone, places)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _check_channels(self, channels: Sequence[str]) -> None:
        for i, channel in enumerate(channels):
            if channel.startswith((".", "/", "~", "\\")):
                line, path = self._places[f"python.channels[{i}]"]
                self._faults.add("path_channel", f"the channel `{channel[:120]}` is a path on one machine", line=line, field=path,
                                 hint="write its https:// or file:// URL, or name it in the setting `channels`")  # fmt: skip

    def _read_dependency(self, item: YamlNode, path: str) -> None:
        if isinstance(item, YamlScalar):
            with self._faults.wrap(item.line, path):
                spec = MatchSpec.parse(item.value)
                self._places[f"python.conda[{len(self._conda)}]"] = (item.line, path)
                self._conda.append(str(spec))
                self._names.add(spec.name)
        elif isinstance(item, YamlMapping) and item.find("pip") is not None:
            self._read_pip(Fields(item, path, self._faults, self._places), item, int(path.rpartition("[")[2][:-1]))
        else:
            self._fields.wrong_type(item, path, "a match spec or `pip:`", hint=dependency_hint(item))

    def _read_pip(self, fields: Fields, item: YamlMapping, index: int) -> None:
        if self._pip_item is not None:
            self._faults.add("several_pip", "`pip:` stands in the dependencies twice", line=item.line, field=fields.path,
                             hint="put all of pip's lines into one list")  # fmt: skip
            return
        self._pip_item = index
        fields.check_keys(("pip",), {})
        node = item.find("pip")
        if isinstance(node, YamlScalar) and node.is_null:
            self._faults.warn("empty_pip", "`pip:` has no list", line=node.line, field=f"{fields.path}.pip",
                              hint="indent the list further than `pip:`, or leave it out")  # fmt: skip
        for line, path in fields.items("pip", example="requests>=2"):
            if not isinstance(line, YamlScalar):
                fields.wrong_type(line, path, "one line as in a requirements file", hint=pip_line_hint(line))
                continue
            before = len(self._pip.pip)
            self._read_pip_line(line, path)
            for i in range(before, len(self._pip.pip)):
                self._places[f"python.pip[{i}]"] = (line.line, path)

    def _read_pip_line(self, item: YamlScalar, path: str) -> None:
        same = True
        body: list[str] = []
        for logical in logical_lines(item.value)[0]:
            lines = self._pip.read_line(logical.text, line=item.line + logical.first - 1, field=path)
            same = same and lines is None
            for line, constraint in [(logical.text, False)] if lines is None else lines:
                (self._constraints if constraint else body).append(line)
        if not same:
            self._standalone.append((int(path.rpartition("[")[2][:-1]), "\n".join(body)))

    def _warn(self, channels: Sequence[str]) -> None:
        if self._pip.pip and not self._names & {"python", "pip"}:
            self._faults.warn("no_python", "there are packages for pip, but neither python nor pip among the dependencies",
                              line=self._fields.node.line, field=self._fields.field_path("dependencies"), hint="add the python that you want: `- python=3.11`")  # fmt: skip
        if self._conda and not channels and not all("::" in spec or "://" in spec for spec in self._conda):
            self._faults.warn("no_channels", "no channels are named: conda would take `defaults`, whatever that is on a machine",
                              line=self._fields.node.line, field=self._fields.field_path("channels"), hint="name them: `channels: [conda-forge]`")  # fmt: skip

    # -- the text that is kept -------------------------------------------------------------------------------------

    def standing_alone(self) -> str:
        """Return the text with included files in the place of the lines that name them."""
        if not self._pip.includes:
            return self._text
        body, block = _split_constraints(self._text)
        return with_pip_lines(body, self._standalone) + constraint_block([*self._constraints, *block])


def write(env: Environment) -> str:
    """Return ``env`` as an ``environment.yml`` that reads back as an environment of the same content.

    Constraints, for which conda has no place, stand in a block of comments at the end.

    Raises:   InvalidInput: ``env`` holds what such a file cannot say; code ``not_expressible``.
    """
    python = env.python
    keeps = {"channels", "conda", "pip", "pip_options", "constraints", "local", "variables"}
    refuse_losses(env, "a conda file", keeps=keeps, manager="conda")
    lines = entry("name", env.name, 0) if env.name is not None else []
    lines += lines_of(python, env.variables)
    text = "".join(f"{line}\n" for line in lines) + constraint_block(python.constraints)
    check_same(env, lambda: read(text, file="environment.yml", base=None, local=python.local).environment, "a conda file")
    return text


def lines_of(python: PythonSection, variables: Mapping[str, str], indent: int = 0) -> list[str]:
    """Return the lines of a conda file's keys, those of ``python`` without its constraints."""
    pad = " " * indent
    lines = listing("channels", python.channels, indent)
    lines += [f"{pad}dependencies:" if python.conda or python.pip or python.pip_options else f"{pad}dependencies: []"]
    lines += [f"{pad}  - {scalar(spec)}" for spec in python.conda]
    if python.pip or python.pip_options:
        lines += [f"{pad}  - pip:", *(f"{pad}      - {scalar(line)}" for line in (*python.pip_options, *python.pip))]
    return [*lines, *table("variables", variables, indent)]


def _check_kind(root: YamlMapping, text: str, faults: Faults) -> None:
    """Raise if the file is of another format: its faults as a conda file would say nothing."""
    keys = set(root.keys)
    if found := other_yaml(keys, text):
        faults.add("format_not_read", f"this is {found[0]}, not a conda file", line=root.line, hint=found[1])
        faults.raise_if_any()
    if "dependencies" not in keys and (
        keys & {"docker", "spark", "accelerators"} or isinstance(root.find("python"), YamlMapping)
    ):
        faults.add("wrong_format", "this is Wardian's own YAML, not a conda file", line=root.line,
                   hint="leave the format out, or name it `wardian`")  # fmt: skip
        faults.raise_if_any()


def _note_no_mapping(root: YamlNode | None, faults: Faults) -> None:
    if isinstance(root, YamlScalar):
        faults.add("wrong_type", "a conda file is a mapping with `dependencies`, not plain text", line=root.line,
                   hint="this looks like a requirements.txt: name the format `requirements`")  # fmt: skip
    elif root is not None:
        faults.add("wrong_type", "a conda file is a mapping with `dependencies`, not a list", line=root.line,
                   hint="put `dependencies:` above the list")  # fmt: skip


def _constraint_lines(text: str, faults: Faults) -> list[tuple[int, str]]:
    """Return the lines of the constraints block that hold a requirement, each with its number."""
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines) if line.rstrip() == BLOCK_START), None)
    if start is None:
        return []
    end = next((i for i, line in enumerate(lines) if i > start and line.rstrip() == BLOCK_END), None)
    if end is None or not all(line.startswith("#") for line in lines[start:end]):
        faults.add("unclosed_constraints", f"the block `{BLOCK_START}` has no end", line=start + 1,
                   hint=f"end it by a line `{BLOCK_END}`; all its lines begin with `#`")  # fmt: skip
        return []
    texts = [(number, COMMENT.sub("", line[1:].strip())) for number, line in enumerate(lines[start + 1 : end], start=start + 2)]
    return [(number, line) for number, line in texts if line]


def _split_constraints(text: str) -> tuple[str, list[str]]:
    """Return ``text`` without its constraints block, and the lines of the block."""
    lines = text.split("\n")
    if BLOCK_START not in (tidy := [line.rstrip() for line in lines]):
        return text, []
    start = tidy.index(BLOCK_START)
    end = tidy.index(BLOCK_END, start)
    return "\n".join([*lines[:start], *lines[end + 1 :]]), [line[1:].removeprefix(" ") for line in lines[start + 1 : end]]


def constraint_block(lines: Sequence[str]) -> str:
    """Return the block of comments that holds constraints in a YAML file; empty if there are none."""
    return "\n".join([BLOCK_START, *(f"# {text}".rstrip() for text in lines), BLOCK_END, ""]) if lines else ""
