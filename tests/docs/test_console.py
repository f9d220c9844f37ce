from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.console import Command, Console, Sample, TitledFile, steps_of
from tests.support.endpoints import end_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.conftest import Surroundings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
UPDATE = os.environ.get("WARDIAN_UPDATE_GOLDEN") == "1"
TOUR = "README.md"


_LONG = {  # ten seconds to a minute each: tried with the slow tests
    "docs/concepts/identity.md",
    "docs/guides/from-requirements.md",
    "docs/guides/private-indexes.md",
    "examples/README.md",
    "docs/guides/build-an-image.md",
    "docs/guides/caches-and-disk.md",
    "docs/guides/deploy-a-model.md",
    "docs/guides/docker-steps.md",
    "docs/guides/from-pyproject-and-scripts.md",
    "docs/guides/from-python.md",
    "docs/guides/models.md",
    "docs/guides/notebooks-and-ides.md",
    "docs/guides/rebuild-and-upgrade.md",
    "docs/guides/run-in-a-container.md",
    "docs/guides/share-environments.md",
    "docs/guides/upgrade-one-package.md",
}


def _pages(*, network: bool) -> list[str]:
    """Return the pages with commands to run: all on loopback, or with some that need the real index."""
    chosen = []
    for page in PAGES:
        commands = [step for step in steps_of(page.read_text(encoding="utf-8")) if isinstance(step, Command)]
        if commands and network == any(command.how == "network" for command in commands):
            chosen.append(page.relative_to(ROOT).as_posix())
    return chosen


def _run(page: str, console: Console, sample: Sample) -> None:
    """Run the commands of a page. Changed on purpose? WARDIAN_UPDATE_GOLDEN=1 writes what they print into the page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    if "$ cd examples" in text:  # a page that begins in a checkout
        ignored = shutil.ignore_patterns("outputs", "__pycache__")
        shutil.copytree(ROOT / "examples", console.project / "examples", ignore=ignored)
    for step in steps_of(text):
        if isinstance(step, TitledFile):
            console.write(step)
            continue
        status, output = console.run(sample.command(step.text))
        assert status in step.exit_codes, f"{page}:{step.line}: `{step.text}` exited {status}:\n{output}"
        if step.expected and not sample.matches(step.expected, output):
            wanted = "\n".join(step.expected)
            assert UPDATE, f"{page}:{step.line}: `{step.text}` printed\n{output}\nbut the page says\n{wanted}"
            end = step.line + step.text.count("\n")
            lines[end - 1] += sample.shown(output)
            lines[end : end + len(step.expected)] = [""] * len(step.expected)
    if UPDATE:
        (ROOT / page).write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The home of a reader with an empty project."""
    (tmp_path / "ada/project").mkdir(parents=True)
    yield tmp_path / "ada"
    end_endpoints(tmp_path / "ada/.local/share/wardian")


def _configure(home: Path, text: str) -> None:
    """Write the settings of the reader, and of the colleague whom some pages bring in."""
    for place in (home / ".local/share/wardian", home / "colleague"):
        place.mkdir(parents=True)
        (place / "config.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def machine(page: str, surroundings: Surroundings, request: pytest.FixtureRequest) -> Surroundings:
    """The reader's machine; with podman and a registry if the page uses them, as these take seconds to make."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if not any(word in text for word in ("registry.example.org", "-t podman", "--image", "images.build")):
        return surroundings
    return surroundings.with_images(*(request.getfixturevalue(name) for name in ("registry", "closed_registry", "podman")))


def _timed(page: str) -> object:
    return pytest.param(page, marks=pytest.mark.slow) if page in _LONG else page


@pytest.mark.parametrize("page", [_timed(page) for page in _pages(network=False)])
def test_the_commands_of_a_page_run(page: str, home: Path, machine: Surroundings) -> None:
    _configure(home, machine.machine + machine.servers)
    _run(page, Console(home, Path(sys.executable).parent, machine.spelled, machine.variables), Sample())


# its image stands on a base of a registry, and has wheels of the real index: no machine of a page has both; tests/integration/test_model_package.py does
NEITHER = {"docs/guides/package-a-model.md"}


@pytest.mark.network
@pytest.mark.parametrize("page", [_timed(page) for page in _pages(network=True)])
def test_the_commands_of_a_page_run_over_the_real_index(page: str, home: Path, machine: Surroundings) -> None:
    _configure(home, machine.machine)
    _run(page, Console(home, Path(sys.executable).parent, machine.spelled, machine.variables), Sample(any_number=True))


def test_every_guide_has_commands_that_are_run() -> None:
    """And the README has none that are not."""
    run = {*_pages(network=False), *_pages(network=True)}
    guides = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/guides").glob("*.md")}
    assert guides - run == NEITHER
    tour = (ROOT / TOUR).read_text(encoding="utf-8")
    assert tour.count("```console\n") == tour.count("<!-- run: network -->\n```console\n") > 0


def test_a_block_is_split_into_commands_and_outputs() -> None:
    page = '<!-- run -->\n```console\n$ one \\\n  two\nout\n$ three  # exit 5\n$ four # exit 0 or 1\nx\n```\n\n```console\n$ not run\n```\n\n```toml title="a.toml"\nx = 1\n```\n'
    assert steps_of(page) == [
        Command(3, "one \\\n  two", ("out",), ""),
        Command(6, "three", (), "", (5,)),
        Command(7, "four", ("x",), "", (0, 1)),
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
        (("lock 3f2a91",), "lock 00c1d2\n", True),
        (("lock 3f2a91",), "lock facade!\n", False),
        (("lock 3f2a91, again 3f2a91",), "lock 00c1d2, again 00c1d2\n", True),
        (("lock 3f2a91, again 3f2a91",), "lock 00c1d2, again 00c1d3\n", False),
        (("lock 3f2a91, other 4f2a91",), "lock 00c1d2, other 00c1d2\n", False),
        (("in 0.31 s, 16.2 MB",), "in 12.10 s, 3 kB\n", True),
        (("at 2026-11-22 18:33",), "at 2027-01-02 00:00\n", True),
        (("numpy 1.26.4  wheel",), "numpy   1.26.4 wheel\n", True),
        (("numpy 1.26.4",), "numpy 2.1.3\n", False),
        (("Python 3.12.4",), "Python 3.11.7\n", True),
        (("# Python 3.12", "lib/python3.12/site-packages"), "# Python 3.9\nlib/python3.9/site-packages\n", True),
        (("attrs 3.12",), "attrs 3.13\n", False),
    ],
)
def test_what_varies_may_differ_and_nothing_else(expected: tuple[str, ...], output: str, *, same: bool) -> None:
    assert Sample().matches(expected, output) is same


def test_an_id_of_the_page_is_one_and_the_same_id_here() -> None:
    sample = Sample()
    assert sample.matches(("run 1qjppjaqb77d",), "run 1r0000000abc\n")
    assert sample.command("wardian runs show 1qjppjaqb77d") == "wardian runs show 1r0000000abc"
    assert sample.matches(("1qjppjaqb77d completed",), "1r0000000abc completed\n")
    assert not sample.matches(("1qjppjaqb77d completed",), "1r0000000abd completed\n")


def test_the_beginning_of_an_id_is_the_beginning_of_the_one_here() -> None:
    sample = Sample()
    assert sample.matches(("prefix bfc4825db5a733e1c9c0a04591ecda89",), f"prefix {'0d' * 16}\n")
    assert sample.command("wardian gc --prefix bfc4825db5a7") == "wardian gc --prefix 0d0d0d0d0d0d"


def test_what_is_written_into_a_page_keeps_the_ids_of_the_page() -> None:
    sample = Sample()
    assert sample.matches(("run 1qjppjaqb77d",), "run 1r0000000abc\n")
    assert sample.shown("run 1r0000000abc, then 1r0000000abd\n") == "run 1qjppjaqb77d, then 1r0000000abd\n"
    assert sample.matches(("1r0000000abd",), "1r0000000abd\n")


def test_over_the_real_index_a_newer_release_is_no_difference() -> None:
    assert Sample(any_number=True).matches(("numpy 1.26.4, 8 packages",), "numpy 2.1.3, 9 packages\n")
    assert not Sample(any_number=True).matches(("numpy 1.26.4",), "scipy 2.1.3\n")


def test_a_session_keeps_its_folder_and_variables(tmp_path: Path) -> None:
    console = Console(tmp_path / "ada", tmp_path)
    console.project.mkdir(parents=True)
    assert console.run("mkdir sub && cd sub && export LEFT_HERE=yes") == (0, "")
    assert console.run("pwd; echo $LEFT_HERE") == (0, "~/project/sub\nyes\n")
    console.write(TitledFile("a.txt", "shown\n"))
    assert console.run("cat a.txt; ls ~") == (0, "shown\nproject\n")
    assert console.run("exit 3")[0] == 3


def test_a_server_has_another_name_on_a_page(tmp_path: Path) -> None:
    console = Console(tmp_path / "ada", tmp_path, {"http://127.0.0.1:1": "https://team.example.org"})
    console.project.mkdir(parents=True)
    console.write(TitledFile("a.txt", "https://team.example.org/a\n"))
    assert (console.project / "a.txt").read_text() == "http://127.0.0.1:1/a\n"
    assert console.run("cat a.txt; echo https://team.example.org/b | grep 127") == (
        0,
        "https://team.example.org/a\nhttps://team.example.org/b\n",
    )
