"""`--help` of every command: golden texts, and what each must have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from wardian.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parents[2] / "golden" / "help"
UPDATE = os.environ.get("WARDIAN_UPDATE_GOLDEN") == "1"
WIDTH = 100


def _walk(
    command: click.Command, path: tuple[str, ...], parent: click.Context | None
) -> Iterator[tuple[str, click.Command, str]]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=path[-1], parent=parent, **settings)
    yield " ".join(path), command, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, f"{' '.join(path)} lists `{name}`, but does not have it"
            yield from _walk(inner, (*path, name), context)


COMMANDS = {path: (command, text) for path, command, text in _walk(cli, ("wardian",), None)}


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_is_as_it_was(path: str) -> None:
    """Changed on purpose? WARDIAN_UPDATE_GOLDEN=1 writes them anew."""
    golden = GOLDEN / f"{path.replace(' ', '-')}.txt"
    text = "\n".join(line.rstrip() for line in COMMANDS[path][1].splitlines()) + "\n"
    if UPDATE:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


def test_no_golden_help_is_of_a_command_that_is_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {path.replace(" ", "-") for path in COMMANDS}


@pytest.mark.parametrize("path", [path for path, (command, _) in COMMANDS.items() if not isinstance(command, click.Group)])
def test_every_command_has_json_workspace_examples_and_words_for_each_option(path: str) -> None:
    command, text = COMMANDS[path]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {"--json", "-w", "--workspace"} <= options
    assert f"Examples:\n    {path} " in text or f"Examples:\n    {path}\n" in text
    assert command.get_short_help_str()
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{path}: {parameter.opts} says nothing of itself"


def test_every_example_names_a_command_that_exists() -> None:
    for path, (_, text) in COMMANDS.items():
        for line in re.findall(r"^    (?:[A-Z_]+=\S+ )?(wardian .*)$", text, re.MULTILINE):
            words = line.split()
            known = [" ".join(words[:count]) for count in (2, 3) if " ".join(words[:count]) in COMMANDS]
            assert known, f"{path}: `{line}`"


def test_every_group_has_examples() -> None:
    groups = {path: text for path, (command, text) in COMMANDS.items() if isinstance(command, click.Group)}
    assert {path for path, text in groups.items() if "Examples:" not in text} == set()


def test_help_and_import_load_nothing_slow() -> None:
    slow = (
        "yaml",
        "requests",
        "rich",
        "rattler",
        "tomlkit",
        "sqlite3",
        "packaging",
        "pathspec",
        "uv",
        "wardian.sdk",
        "wardian.definition",
    )
    for code in (
        "import wardian",
        "from wardian.cli.main import main; main(['--help'])",
        "from wardian.cli.main import main; main(['env', '--help'])",
    ):
        probe = f"import sys\n{code}\nprint('LOADED', *[name for name in {slow!r} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "LOADED", code
