from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.console import Command, Console, TitledFile, environment_for, matches, steps_of

if TYPE_CHECKING:
    from tests.support.index import Index

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _pages(*, network: bool) -> list[str]:
    """Return the pages with commands to run: all on loopback, or with some that need the real index."""
    chosen = []
    for page in PAGES:
        commands = [step for step in steps_of(page.read_text(encoding="utf-8")) if isinstance(step, Command)]
        if commands and network == any(command.how == "network" for command in commands):
            chosen.append(page.relative_to(ROOT).as_posix())
    return chosen


def _run(page: str, folder: Path, home: Path) -> None:
    console = Console(folder, environment_for(home, Path(sys.executable).parent))
    for step in steps_of((ROOT / page).read_text(encoding="utf-8")):
        if isinstance(step, TitledFile):
            target = folder / step.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(step.text, encoding="utf-8")
            continue
        status, output = console.run(step.text)
        assert status == 0, f"{page}:{step.line}: `{step.text}` exited {status}:\n{output}"
        if step.expected:
            wanted = "\n".join(step.expected)
            assert matches(step.expected, output), (
                f"{page}:{step.line}: `{step.text}` printed\n{output}\nbut the page says\n{wanted}"
            )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout as a reader has it: the examples are there."""
    place = tmp_path / "here"
    shutil.copytree(ROOT / "examples", place / "examples")
    return place


@pytest.mark.parametrize("page", _pages(network=False))
def test_the_commands_of_a_page_run(page: str, folder: Path, tmp_path: Path, small_index: Index) -> None:
    home = tmp_path / "wardian"
    home.mkdir()
    (home / "config.toml").write_text(f'[indexes]\npypi = "{small_index.url}"\n', encoding="utf-8")
    _run(page, folder, home)


@pytest.mark.network
@pytest.mark.parametrize("page", _pages(network=True))
def test_the_commands_of_a_page_run_over_the_real_index(page: str, folder: Path, tmp_path: Path) -> None:
    _run(page, folder, tmp_path / "wardian")


def test_a_block_is_split_into_commands_and_outputs() -> None:
    page = '<!-- run -->\n```console\n$ one \\\n  two\nout\n$ three\n```\n\n```console\n$ not run\n```\n\n```toml title="a.toml"\nx = 1\n```\n'
    assert steps_of(page) == [
        Command(3, "one \\\n  two", ("out",), ""),
        Command(6, "three", (), ""),
        TitledFile("a.toml", "x = 1\n"),
    ]


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        (("a",), "a\n", True),
        (("a",), "b\n", False),
        (("a …s",), "a 0.3 s\n", True),
        (("…", "z"), "x\ny\nz\n", True),
        (("…", "z"), "x\ny\n", False),
        (("a",), "a\nb\n", False),
    ],
)
def test_an_ellipsis_stands_for_anything(expected: tuple[str, ...], output: str, *, same: bool) -> None:
    assert matches(expected, output) is same


def test_a_session_keeps_its_folder_and_variables(tmp_path: Path) -> None:
    console = Console(tmp_path, environment_for(tmp_path / "home", tmp_path))
    assert console.run("mkdir sub && cd sub && export LEFT_HERE=yes") == (0, "")
    assert console.run("pwd; echo $LEFT_HERE") == (0, f"{tmp_path}/sub\nyes\n")
    assert console.run("exit 3")[0] == 3
