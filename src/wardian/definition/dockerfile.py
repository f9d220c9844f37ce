"""Dockerfiles as text: instructions with their lines, faults, and which instruction a builder speaks of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import Fault, InvalidDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KEYWORDS = ("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN",
            "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")  # fmt: skip
_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(\S.*?)\s*$")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)([A-Za-z_][\w.]*)\1")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
_FLAG = re.compile(r"--\S+\s+")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        keyword: in capitals.  text: what follows it, continued lines joined, comments in between left out.
        line: of its first line, from 1.
        heredocs: the texts that it brings along.
    """

    keyword: str
    text: str
    line: int
    heredocs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.keyword} {self.text}"


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile that has been read.

    Attributes:
        file: its name, for messages.
    """

    text: str
    file: str
    instructions: tuple[Instruction, ...]

    @property
    def needs_buildkit(self) -> tuple[str, ...]:
        """What in it only BuildKit understands, in words."""
        found = [f"line {i.line}: a here-document" for i in self.instructions if i.heredocs]
        return (*found, *(f"line {i.line}: --link" for i in self.instructions if "--link" in i.text.split()))

    @property
    def needs_mounts(self) -> bool:
        """Whether steps mount secrets, caches or other things: the classic builder of docker cannot."""
        return any(i.keyword == "RUN" and i.text.startswith("--mount") for i in self.instructions)

    def base_images(self, build_args: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return the images that it starts from or copies from, in order, each once; its own stages and ``scratch`` left out."""
        values = dict[str, str]()
        stages: set[str] = set()
        found: list[str] = []
        for number, instruction in enumerate(self.instructions):
            if instruction.keyword == "ARG" and not stages and not any(i.keyword == "FROM" for i in self.instructions[:number]):
                name, _, default = instruction.text.partition("=")
                values[name] = (build_args or {}).get(name, default.strip("\"'"))
            elif instruction.keyword == "FROM":
                image, stage = _from(instruction.text)
                found.append(_expanded(image, values))
                stages |= {stage} if stage else set()
            elif match := re.search(r"--(?:mount=\S*\bfrom|from)=([^\s,]+)", instruction.text):
                found.append(match[1])
        stages = {stage.lower() for stage in stages} | {"scratch"}
        return tuple(dict.fromkeys(i for i in found if i and i.lower() not in stages and not i.isdecimal()))

    def line_of(self, step: str) -> int | None:
        """Return the line of the instruction that a builder prints as ``step``, which may be shortened or tidied."""
        wanted = _bare(step)
        for instruction in self.instructions:
            if _bare(str(instruction)) == wanted:
                return instruction.line
        close = [
            i for i in self.instructions if wanted and (_bare(str(i)).startswith(wanted) or wanted.startswith(_bare(str(i))))
        ]
        return close[0].line if close else None


def parse_dockerfile(text: str, file: str = "Dockerfile") -> Dockerfile:
    """Read a Dockerfile; builders read it again, but say less about where something is wrong.

    Raises:   InvalidDefinition: every fault, with file and line: ``unknown_instruction``, ``no_from``, ``missing_argument``,
              ``unterminated_heredoc``, ``bad_escape``, ``not_text``.
    """
    faults: list[Fault] = []
    if "\0" in text:
        raise InvalidDefinition([Fault(code="not_text", message="it holds a NUL character", file=file, line=1)])
    instructions = tuple(_instructions(text.removeprefix("\ufeff"), file, faults))
    for instruction in instructions:
        faults += _wrong(instruction, file)
    first = next((i for i in instructions if i.keyword != "ARG"), None)
    if first is None or first.keyword != "FROM":
        faults.append(Fault(code="no_from", message="it does not start from an image" if first else "it has no instruction",
                            file=file, line=first.line if first else 1, hint="the first instruction is `FROM IMAGE`"))  # fmt: skip
    if faults:
        raise InvalidDefinition(sorted(faults, key=lambda fault: fault.line or 0))
    return Dockerfile(text, file, instructions)


def _instructions(text: str, file: str, faults: list[Fault]) -> Iterator[Instruction]:
    lines = [
        line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")
    ]  # what else Python takes for an end is text
    escape, at = _directives(lines, file, faults)
    while at < len(lines):
        first, line = at, lines[at]
        at += 1
        if _says_nothing(line):
            continue
        parts = list[str]()
        while (goes_on := line.rstrip().endswith(escape)) and at < len(lines):
            parts.append(line.rstrip()[:-1].strip())
            at = next((n for n in range(at, len(lines)) if not _says_nothing(lines[n])), len(lines) - 1)
            line = lines[at]
            at += 1
        parts.append((line.rstrip()[:-1] if goes_on else line).strip())
        keyword, rest = (*" ".join(parts).split(maxsplit=1), "", "")[:2]  # a tab may stand between them
        heredocs, at = _heredocs(keyword.upper(), rest, lines, at, (file, first + 1), faults)
        yield Instruction(keyword.upper(), rest.strip(), first + 1, heredocs)


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _directives(lines: Sequence[str], file: str, faults: list[Fault]) -> tuple[str, int]:
    escape = "\\"
    for number, line in enumerate(lines):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            return escape, number
        if match[1].lower() == "escape":
            if match[2] not in ("\\", "`"):
                faults.append(Fault(code="bad_escape", message=f"`{match[2][:20]}` cannot be the escape character", file=file,
                                    line=number + 1, hint="it is a backslash or a backtick"))  # fmt: skip
            else:
                escape = match[2]
    return escape, len(lines)


def _heredocs(
    keyword: str, rest: str, lines: Sequence[str], at: int, place: tuple[str, int], faults: list[Fault]
) -> tuple[tuple[str, ...], int]:
    found = []
    if keyword in ("RUN", "COPY", "ADD"):
        for match in _HEREDOC.finditer(rest):
            body = []
            while at < len(lines) and lines[at].strip() != match[2]:
                body.append(lines[at])
                at += 1
            if at == len(lines):
                faults.append(Fault(code="unterminated_heredoc", message=f"the here-document `{match[2]}` does not end", file=place[0],
                                    line=place[1], hint=f"a line with `{match[2]}` alone ends it"))  # fmt: skip
            at += 1
            found.append("\n".join(body))
    return tuple(found), min(at, len(lines))


def _wrong(instruction: Instruction, file: str) -> Iterator[Fault]:
    keyword, words = instruction.keyword, _FLAG.sub("", instruction.text + " ").split()
    if keyword not in KEYWORDS:
        import difflib

        close = difflib.get_close_matches(keyword, KEYWORDS, 1)
        yield Fault(code="unknown_instruction", message=f"`{keyword[:40]}` is no instruction", file=file, line=instruction.line,
                    hint=f"did you mean `{close[0]}`?" if close else None)  # fmt: skip
    elif not words and not instruction.heredocs:
        yield Fault(code="missing_argument", message=f"`{keyword}` needs an argument", file=file, line=instruction.line)
    elif keyword in ("COPY", "ADD") and len(words) < 2 and not words[0].startswith("["):  # noqa: PLR2004 - what, and where to
        yield Fault(
            code="missing_argument", message=f"`{keyword}` needs what to copy and where to", file=file, line=instruction.line
        )
    elif keyword == "FROM" and len(words) not in (1, 3):
        yield Fault(
            code="missing_argument", message="`FROM` is `FROM IMAGE` or `FROM IMAGE AS NAME`", file=file, line=instruction.line
        )


def _from(text: str) -> tuple[str, str]:
    words = _FLAG.sub("", text + " ").split()
    return words[0] if words else "", words[2] if len(words) == 3 else ""  # noqa: PLR2004 - IMAGE AS NAME


def _expanded(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = values.get(match[1] or match[2], "")
        if match[3] == "-":
            return found or match[4]
        return (match[4] if found else "") if match[3] == "+" else found

    return _VARIABLE.sub(value, text)


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().removesuffix("...").strip()
