"""Console blocks of Markdown pages: found, run command by command, their output compared."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FENCE = re.compile(
    r"(?P<run><!-- run(?:: (?P<how>\w+))? -->\n+)?"
    r'^(?P<ticks>```+)(?P<language>[\w-]*)(?: title="(?P<title>[^"$]+)")?\n(?P<body>.*?)^(?P=ticks)$',
    re.MULTILINE | re.DOTALL,
)
ANYTHING = "…"


@dataclass(frozen=True)
class Command:
    """One command of a page; ``expected`` is the output that stands below it, empty when none does."""

    line: int
    text: str
    expected: tuple[str, ...]
    how: str  # "" or "network"


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
            commands.append(Command(number, line[2:], (), how))
        elif commands and commands[-1].text.endswith("\\") and not commands[-1].expected:
            last = commands.pop()
            commands.append(Command(last.line, f"{last.text}\n{line}", (), how))
        elif commands:
            last = commands.pop()
            commands.append(Command(last.line, last.text, (*last.expected, line), how))
    return commands


@dataclass
class Console:
    """A shell session: the folder and the variables that one command leaves are there for the next."""

    directory: Path
    environ: Mapping[str, str]

    def run(self, command: str, *, timeout_s: float = 600) -> tuple[int, str]:
        """Run ``command`` with bash; return its exit code and what it wrote, both streams as they came."""
        left = self.directory / ".left"
        script = f'{command}\nstatus=$?\n{{ pwd; env -0; }} > "$LEFT"\nexit $status\n'
        where = self._where(left)
        done = subprocess.run(
            ["bash", "-c", script], cwd=where[0], env={**where[1], "LEFT": str(left)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _where(self, left: Path) -> tuple[str, dict[str, str]]:
        if not left.exists():
            return str(self.directory), dict(self.environ)
        directory, _, variables = left.read_text().partition("\n")
        return directory, dict(pair.split("=", 1) for pair in variables.split("\0") if "=" in pair)


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Whether ``output`` is ``expected``, where ``…`` stands for anything in a line, and alone for any lines."""
    parts = [r"(?:.*\n)*?" if line.strip() == ANYTHING else ".*".join(map(re.escape, line.rstrip().split(ANYTHING))) + r"[ ]*\n"
             for line in expected if line.strip()]  # fmt: skip
    text = "".join(line.rstrip() + "\n" for line in output.splitlines() if line.strip())
    return re.fullmatch("".join(parts), text) is not None


def environment_for(home: Path, path_first: Path) -> dict[str, str]:
    """Return the variables of a fresh user whose Wardian lives below ``home``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WARDIAN_")}
    return {
        **inherited,
        "PATH": f"{path_first}{os.pathsep}{os.environ['PATH']}",
        "WARDIAN_HOME": str(home),
        "COLUMNS": "120",
        "TERM": "dumb",
    }
