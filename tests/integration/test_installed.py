"""The environment in use, imported and rebuilt in another home: nothing differs but what was reported."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.wheels import make_source_tree, make_wheel

if TYPE_CHECKING:
    from tests.support.index import Index


def _uv(*arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uv", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def _installed(prefix: Path) -> set[str]:
    return {place.name.removesuffix(".dist-info") for place in prefix.glob("lib/python*/site-packages/*.dist-info")}


@pytest.fixture
def venv(index: Index, tmp_path: Path) -> Path:
    """What somebody has installed over time: from an index, from a wheel's URL, from a wheel at hand, from trees."""
    made = tmp_path / "made"
    index.add(make_wheel(made, "alpha", "1.0", requires=["beta>=1"]))
    index.add(make_wheel(made, "beta", "1.5"))
    index.add(make_wheel(made, "beta", "2.0"))
    index.add(make_wheel(made, "gamma", "0.5"))
    far = index.add(make_wheel(made, "far", "3.0"))
    near = make_wheel(made, "near", "4.0")
    tree = make_source_tree(tmp_path / "mine", "mine", "0.1", requires=["gamma"])
    gone = make_source_tree(tmp_path / "gone", "gone", "0.1")
    place = tmp_path / "venv"
    _uv("venv", "--quiet", "--python", sys.executable, place)
    what: list[str | Path] = ["alpha", "beta<2", f"far @ {index.file_url(far.name)}", near, tree, gone]
    _uv("pip", "install", "--quiet", "--no-cache", "--python", place, "--default-index", index.url, *what)
    shutil.rmtree(gone)
    return place


@pytest.mark.parametrize("exact", [True, False])
def test_the_environment_in_use_rebuilt_elsewhere(exact: bool, venv: Path, index: Index, tmp_path: Path) -> None:
    cli = Cli.at(tmp_path / "another", index_url=index.url)
    cli.variables["VIRTUAL_ENV"] = str(venv)
    before = sorted(venv.rglob("*"))
    done = cli.ok("env", "create", "mine", "--here", *(["--exact"] if exact else []))
    assert sorted(venv.rglob("*")) == before, "reading an environment writes nothing into it"
    assert "dropped: " in done.err
    assert "gone 0.1 is left out" in done.err
    for name in ("far 3.0", "near 4.0", "mine 0.1"):
        assert f"{name}: no index serves it" in done.err
    shutil.rmtree(tmp_path / "mine")  # what was taken over is kept
    (tmp_path / "made/near-4.0-py3-none-any.whl").unlink()
    python = cli.json("env", "build", "mine")["python"]
    assert _installed(venv) - _installed(Path(python).parent.parent) == {"gone-0.1"}
    assert _installed(Path(python).parent.parent) - _installed(venv) == set()


def test_what_was_asked_for_is_solved_anew(venv: Path, index: Index, tmp_path: Path) -> None:
    (next(venv.glob("lib/python*/site-packages/beta-1.5.dist-info")) / "REQUESTED").unlink()
    cli = Cli.at(tmp_path / "another", index_url=index.url)
    cli.ok("env", "create", "mine", "--here", str(venv))
    prefix = Path(cli.json("env", "build", "mine")["python"]).parent.parent
    assert {"alpha-1.0", "beta-2.0"} <= _installed(prefix)


def test_here_is_given_alone(tmp_path: Path) -> None:
    cli = Cli.at(tmp_path)
    cli.write("requirements.txt", "alpha\n")
    assert "give one of" in cli.run("env", "create", "a", "--here", "-r", "requirements.txt").err
    assert "--exact goes with --here" in cli.run("env", "create", "a", "-r", "requirements.txt", "--exact").err
    missing = cli.run("env", "create", "a", "--here", "nothing")
    assert (missing.code, "there is no environment `nothing`" in missing.err) == (4, True), missing.err
