"""pip's requirements files as lines: continuations, comments, what is a requirement and what an option. No files are opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.definition.pip_option import split_options, split_words

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMENT = re.compile(r"(^|\s+)#.*$")
# Constraints have no line of their own in pip's format, only files. A text that is to stand alone keeps them in a block of
# comments, made like that of PEP 723; pip skips it.
BLOCK_START = "# /// wardian-constraints"
BLOCK_END = "# ///"


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """One line as pip sees it: continuations joined, the comment taken off. ``first`` and ``last`` count from 1."""

    text: str
    first: int
    last: int
    physical: tuple[str, ...]
    constraint: bool = False

    def line_of(self, word: str) -> int:
        """Return the number of the physical line that holds ``word``; the first one if none does."""
        return next((self.first + i for i, line in enumerate(self.physical) if word in line), self.first)

    @property
    def comment(self) -> str:
        """The comment at its end with the space before it, or an empty text."""
        match = COMMENT.search(self.physical[-1])
        return match.group(0) if match else ""


def logical_lines(text: str) -> tuple[list[LogicalLine], int | None]:
    """Return the lines of ``text`` that say something, and the number of a constraints block's first line if it has no end.

    Source:   pip's ``req_file.preprocess``: the same lines are joined, cut and skipped
    """
    segments: list[tuple[bool, list[tuple[int, str]]]] = [(False, [])]
    unclosed: int | None = None
    continued = False
    for number, line in enumerate(text.splitlines(), start=1):
        in_block = segments[-1][0]
        if not in_block and not continued and line.rstrip() == BLOCK_START:
            segments.append((True, []))
            unclosed = number
        elif in_block and line.rstrip() == BLOCK_END:
            segments.append((False, []))
            unclosed = None
        elif in_block and not line.startswith("#"):
            break
        else:
            segments[-1][1].append((number, line[1:].removeprefix(" ") if in_block else line))
            continued = not in_block and line.endswith("\\") and not COMMENT.match(line)
    return [line for constraint, lines in segments for line in _joined(lines, constraint)], unclosed


def _joined(lines: list[tuple[int, str]], constraint: bool) -> Iterator[LogicalLine]:
    held: list[tuple[int, str]] = []
    for number, line in lines:
        held.append((number, line))
        if not line.endswith("\\") or COMMENT.match(line):
            yield from _one(held, constraint)
            held = []
    yield from _one(held, constraint)


def _one(held: list[tuple[int, str]], constraint: bool) -> Iterator[LogicalLine]:
    parts = []
    for _, line in held:
        if COMMENT.match(line):
            parts.append(f" {line}")  # so that the comment is still one after joining
        else:
            parts.append(line.strip("\\") if line.endswith("\\") else line)
    text = COMMENT.sub("", "".join(parts)).strip()
    if text:
        yield LogicalLine(text, held[0][0], held[-1][0], tuple(line for _, line in held), constraint)


@dataclass(frozen=True, slots=True)
class LineParts:
    """What one logical line says.

    ``requirement`` is the text of a requirement, else None; ``options`` are (long name, value) in order, without ``--hash``
    and the ``--editable`` that is the requirement; ``stray`` are words that pip drops without a word.
    """

    requirement: str | None
    editable: bool
    hashes: tuple[str, ...]
    options: tuple[tuple[str, str | None], ...]
    stray: tuple[str, ...]


def read_parts(text: str) -> LineParts:
    """Return what the logical line ``text`` says: pip's rule, where options begin at the first word with a dash.

    Raises:   InvalidInput: codes ``unknown_pip_option``, ``bad_pip_option``.
    Source:   pip's ``req_file.break_args_options`` and ``handle_line``
    """
    words = text.split(" ")
    cut = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    requirement: str | None = " ".join(words[:cut]).strip() or None
    options, stray = split_options(split_words(" ".join(words[cut:]))) if cut < len(words) else ([], [])
    hashes = tuple(value or "" for name, value in options if name == "--hash")
    rest = [(name, value) for name, value in options if name != "--hash"]
    editable = requirement is None and any(name == "--editable" for name, _ in rest)
    if editable:
        at = next(i for i, (name, _) in enumerate(rest) if name == "--editable")
        requirement = rest.pop(at)[1]
    return LineParts(requirement, editable, hashes, tuple(rest), tuple(stray))
