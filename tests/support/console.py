"""Console blocks of Markdown pages: found, run command by command, their output compared."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FENCE = re.compile(
    r"(?P<run><!-- run(?:: (?P<how>\w+))? -->\n+)?"
    r'^(?P<ticks>```+)(?P<language>[\w-]*)(?: title="(?P<title>[^"$]+)")?\n(?P<body>.*?)^(?P=ticks)$',
    re.MULTILINE | re.DOTALL,
)
_EXIT = re.compile(r"\s+# exit (?P<codes>\d+(?: or \d+)*)$")
ANYTHING = "…"
# What is another on each machine and every day: a page shows one, and any stands for it. A run's id; the beginning of a hash.
_ID = r"(?<![\w.])(?:(?=[a-z]*\d)[0-9a-hjkmnp-tv-z]{12}|(?=[a-f]*\d)[0-9a-f]{6,64})(?![\w.])"
_SHAPES = {
    "moment": r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| [A-Z]{3,5}\b)?)?",
    "python": r"\b3\.\d+\.\d+\b",
    "minor": r"(?:(?<=\bpython)|(?<=\bPython ))3\.\d+\b",
    "duration": r"\b\d+\.\d+ s\b",
    "size": r"\b\d+(?:\.\d+)? (?:B|kB|MB|GB)\b",
    "gap": "[ ]+",
}
_NUMBER = r"\d+(?:\.\d+)*"  # over the real index: what the newest release is


@dataclass(frozen=True)
class Command:
    """One command of a page; ``expected`` is the output that stands below it, empty when none does."""

    line: int
    text: str
    expected: tuple[str, ...]
    how: str  # "" or "network"
    exit_codes: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class TitledFile:
    """A file that a page shows whole."""

    name: str
    text: str


def steps_of(markdown: str) -> list[Command | TitledFile]:
    """Return the titled files of a page, and the commands of its blocks that are marked to be run, in order."""
    steps: list[Command | TitledFile] = []
    for match in _FENCE.finditer(markdown):
        line = markdown.count("\n", 0, match.start("body")) + 1
        if match["title"] and match["language"] != "console":
            steps.append(TitledFile(match["title"], match["body"]))
        elif match["run"] and match["language"] == "console":
            steps += _commands(match["body"], line, match["how"] or "")
    return steps


def _commands(body: str, first_line: int, how: str) -> list[Command]:
    commands: list[Command] = []
    for number, line in enumerate(body.splitlines(), start=first_line):
        if line.startswith("$ "):
            exits = _EXIT.search(line)
            text = line[2 : exits.start() if exits else None]
            codes = tuple(map(int, exits["codes"].split(" or "))) if exits else (0,)
            commands.append(Command(number, text, (), how, codes))
        elif commands and commands[-1].text.endswith("\\") and not commands[-1].expected:
            last = commands.pop()
            commands.append(Command(last.line, f"{last.text}\n{line}", (), how, last.exit_codes))
        elif commands:
            last = commands.pop()
            commands.append(Command(last.line, last.text, (*last.expected, line), how, last.exit_codes))
    return commands


@dataclass
class Console:
    """A reader's shell session: the folder and the variables that one command leaves are there for the next.

    Args:     home: of the reader; their project is in ``~/project``.
              path_first: what comes first on their PATH.
              spelled: real text → what a page writes for it: a server, a folder.
              variables: further ones that the session begins with.
    """

    home: Path
    path_first: Path
    spelled: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        """Where the session begins."""
        return self.home / "project"

    def run(self, command: str, *, timeout_s: float = 600) -> tuple[int, str]:
        """Run ``command`` with bash; return its exit code and what it wrote, both streams as they came, as a page spells it."""
        script = f'{self._real(command)}\nstatus=$?\n{{ pwd; env -0; }} > "$LEFT"\nexit $status\n'
        directory, environ = self._where()
        done = subprocess.run(
            ["bash", "-c", script], cwd=directory, env={**environ, "LEFT": str(self._left)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        output = done.stdout
        for real, shown in {**self.spelled, str(self.home): "~"}.items():
            output = output.replace(real, shown)
        return done.returncode, output

    def write(self, file: TitledFile) -> None:
        """Write a file that the page shows to where the session is."""
        target = Path(self._where()[0]) / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self._real(file.text), encoding="utf-8")

    def _real(self, text: str) -> str:
        for real, shown in self.spelled.items():
            text = text.replace(shown, real)
        return text

    @property
    def _left(self) -> Path:
        return self.home.with_name(f"{self.home.name}-left")

    def _where(self) -> tuple[str, dict[str, str]]:
        if self._left.exists():
            directory, _, variables = self._left.read_text().partition("\n")
            return directory, dict(pair.split("=", 1) for pair in variables.split("\0") if "=" in pair)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WARDIAN_", "XDG_"))}
        ours = {"HOME": str(self.home), "PATH": f"{self.path_first}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120",
                "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
        return str(self.project), {**inherited, **ours, **self.variables}


@dataclass
class Sample:
    """What a page shows of one day on one machine, and what of it is another here.

    Args:     here: the ids that the page shows (runs, hashes, digests) and what they are here: each the same one every time,
                  and no two the same.
              any_number: whether other numbers may differ as well.
    """

    here: dict[str, str] = field(default_factory=dict)
    any_number: bool = False

    def command(self, text: str) -> str:
        """Return a command of the page with the ids that it has here."""
        for shown, real in self.here.items():
            text = text.replace(shown, real)

        def begun(match: re.Match[str]) -> str:
            longer = (real[: len(match[0])] for shown, real in self.here.items() if shown.startswith(match[0]))
            return next(longer, match[0])

        return re.sub(_ID, begun, text)

    def shown(self, output: str) -> str:
        """Return ``output`` with the ids that the page shows for those of here; new ones are known from then on."""
        text = output
        for shown, real in self.here.items():
            text = text.replace(real, shown)
        self.matches(tuple(text.splitlines()), output)
        return text

    def matches(self, expected: tuple[str, ...], output: str) -> bool:
        """Whether ``output`` is ``expected``; ids that were not met before are known from then on.

        ``…`` stands for anything in a line, and alone for any lines; any moment, duration, size and number of a Python for
        the one that is shown; any white space for white space. Blank lines don't count.
        """
        groups: dict[str, str] = {}
        pattern = ""
        for line in expected:
            if line.strip() == ANYTHING:
                pattern += r"(?:.*\n)*?"
            elif line.strip():
                pattern += ".*".join(self._pattern(part, groups) for part in line.rstrip().split(ANYTHING)) + r"\n"
        match = re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in output.splitlines() if line.strip()))
        if match is None:
            return False
        found = {shown: match[group] for shown, group in groups.items()}
        known = {**self.here, **found}
        for one in found:
            if any(one[:6] != other[:6] and known[one] == known[other] for other in known):
                return False
        self.here = known
        return True

    def _pattern(self, part: str, groups: dict[str, str]) -> str:
        kinds = {"id": _ID, **_SHAPES, **({"number": _NUMBER} if self.any_number else {})}
        pattern, end = "", 0
        for match in re.finditer("|".join(f"(?P<{kind}>{shape})" for kind, shape in kinds.items()), part):
            kind = match.lastgroup or ""
            pattern += re.escape(part[end : match.start()]) + (self._id(match[0], groups) if kind == "id" else kinds[kind])
            end = match.end()
        return pattern + re.escape(part[end:])

    def _id(self, shown: str, groups: dict[str, str]) -> str:
        for known, real in self.here.items():
            if known.startswith(shown):
                return real[: len(shown)]
            if shown.startswith(known):
                return f"{real}[0-9a-z]{{{len(shown) - len(known)}}}"
        if shown in groups:
            return f"(?P={groups[shown]})"
        groups[shown] = f"id{len(groups)}"
        return f"(?P<{groups[shown]}>[0-9a-z]{{{len(shown)}}})"
