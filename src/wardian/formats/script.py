"""PEP 723: the dependencies that a script states in a block of comments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import InvalidDefinition
from wardian.formats.edit_requirements import refuse_conda
from wardian.formats.edit_toml import add_to_array, remove_from_arrays
from wardian.formats.faults import Faults
from wardian.formats.losses import check_same
from wardian.formats.read_definition import ReadDefinition
from wardian.formats.source_text import plain_text
from wardian.formats.toml_reading import TomlReading
from wardian.formats.toml_text import parse_toml
from wardian.formats.uv_settings import read_uv_settings
from wardian.formats.write_toml import toml_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardian.definition.environment import Environment, LocalSource

FORMAT = "script"
_OPEN = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_KNOWN = ("dependencies", "requires-python", "tool")


@dataclass(frozen=True, slots=True)
class Block:
    """The metadata block of a script: its TOML, and its lines in the file, counted from 1, the two marks included."""

    toml: str
    first: int
    last: int


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ReadDefinition:
    """Return the uv environment that a script's ``# /// script`` block states. Its ``text`` is the block alone.

    ``[tool.uv]`` is read as in a pyproject.toml.

    Args:     text: the whole script, or its block.  file: its name for people.  base: its directory, for local code.
    Raises:   InvalidDefinition: every fault, with its line in the script; ``no_script_block``, ``several_script_blocks`` and
              ``unclosed_script_block`` among them.
    Source:   PEP 723
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "a script")
    text = plain_text(text)
    block = find_block(text, faults)
    toml = parse_toml(block.toml, faults, line_offset=block.first)
    reading = TomlReading(toml, faults, base=base, local=local, line_offset=block.first)
    for key in toml.values:
        if key not in _KNOWN:
            reading.fault((key,), "unknown_key", f"a script's block has no key `{key}`", f"known ones: {', '.join(_KNOWN)}")
    reading.requires_python(("requires-python",))
    read_uv_settings(reading)
    reading.take_all(("dependencies",))
    environment = reading.environment()
    kept = "".join(f"{line}\n" for line in text.split("\n")[block.first - 1 : block.last])
    return ReadDefinition(environment, FORMAT, kept, reading.local.places, not environment.python.local, faults.warnings,
                          places=reading.places)  # fmt: skip


def write(env: Environment) -> str:
    """Return ``env`` as a PEP 723 block that reads back as an environment of the same content.

    Raises:   InvalidInput: ``env`` holds what such a block cannot say; code ``not_expressible``.
    """
    text = _commented(toml_of(env, "a script's block", project=False))
    check_same(env, lambda: read(text, file="script.py", base=None, local=env.python.local).environment, "a script's block")
    return text


def add(text: str, requirements: Sequence[str], *, manager: str = "uv") -> str:
    """Return the script ``text`` with ``requirements`` among its dependencies; the rest of it stays as it is.

    Raises:   InvalidInput: not a requirement; no block in the script.  Conflict: ``ambiguous_requirement``.
    """
    refuse_conda(manager, "a script")
    return _edited(text, lambda toml: add_to_array(toml, ("dependencies",), requirements, also=()))


def remove(text: str, names: Sequence[str]) -> str:
    """Return the script ``text`` without the projects ``names`` among its dependencies.

    Raises:   NotFound: one of them is not there.  InvalidInput: no block in the script.
    """
    return _edited(text, lambda toml: remove_from_arrays(toml, [("dependencies",)], names))


def find_block(text: str, faults: Faults) -> Block:
    """Return the one ``script`` block of ``text``.

    Linear in the text's length, which the specification's regular expression is not.

    Args:     faults: what was wrong before; raised together.
    Raises:   InvalidDefinition: codes ``no_script_block``, ``several_script_blocks``, ``unclosed_script_block``.
    Source:   PEP 723: a block ends at the last ``# ///`` of its comment lines
    """
    lines = text.split("\n")
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(lines):
        if not _is_comment(lines[at]):
            at += 1
            continue
        end = at
        while end < len(lines) and _is_comment(lines[end]):
            end += 1
        close = next((i for i in range(end - 1, at, -1) if lines[i].rstrip() == "# ///"), at)
        while at < end:
            opened = _OPEN.fullmatch(lines[at].rstrip())
            is_script = opened is not None and opened[1] == "script"
            if opened and close > at + 1:
                if is_script:
                    found.append((at, close))
                    found += ((again, close) for again in range(at + 1, close) if _begins_again(lines, again))
                at = close
            elif is_script:
                faults.add("unclosed_script_block", "the block `# /// script` has no end", line=at + 1,
                           hint="end it by a line `# ///`; every line between begins with `#`")  # fmt: skip
            at += 1
    if len(found) > 1:
        faults.add("several_script_blocks", f"a second `# /// script` block on line {found[1][0] + 1}: the first is on line {found[0][0] + 1}",
                   line=found[1][0] + 1, hint="make one block of them")  # fmt: skip
    elif not found and not faults:
        faults.add("no_script_block", "the script states no dependencies",
                   hint='write a block at its top: `# /// script`, `# dependencies = ["numpy"]`, `# ///`')  # fmt: skip
    if faults:
        raise InvalidDefinition(faults.found)
    first, last = found[0]
    toml = "".join(f"{line[1:].removeprefix(' ')}\n" for line in lines[first + 1 : last])
    return Block(toml, first + 1, last + 1)


def _begins_again(lines: Sequence[str], at: int) -> bool:
    """Return whether a block that its author took for ended is followed, after comments alone, by another one on line ``at``."""
    opened = _OPEN.fullmatch(lines[at].rstrip())
    return opened is not None and opened[1] == "script" and lines[at - 1].rstrip() in ("# ///", "#")


def _is_comment(line: str) -> bool:
    return line.startswith("# ") or line.rstrip() == "#"


def _commented(toml: str) -> str:
    return "".join(["# /// script\n", *(f"# {line}".rstrip() + "\n" for line in toml.splitlines()), "# ///\n"])


def _edited(text: str, edit: Callable[[str], str]) -> str:
    ending = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    block = find_block(text, Faults("the script"))
    lines = text.split("\n")
    new = _commented(edit(block.toml)).splitlines()
    return ending.join([*lines[: block.first - 1], *new, *lines[block.last :]])
