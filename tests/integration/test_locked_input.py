"""A lock file as input: the lock has exactly what the file says, solved by nobody, and what differs is refused."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index


@pytest.fixture
def cli(index: Index, tmp_path: Path) -> Cli:
    made = tmp_path / "made"
    index.add(make_wheel(made, "alpha", "1.0", requires=["beta", "delta; python_version>='3'"]))
    index.add(make_wheel(made, "beta", "1.0"))
    index.add(make_wheel(made, "delta", "0.1"))
    cli = Cli.at(tmp_path / "one", index_url=index.url)
    cli.write("requirements.txt", "alpha\n")
    cli.ok("env", "create", "first", "-r", "requirements.txt")
    cli.ok("env", "lock", "first", "--platform", "linux/amd64")
    cli.ok("env", "export", "first", "--to", "pylock", "-o", "pylock.toml")
    index.add(make_wheel(made, "beta", "2.0"))
    return cli


def _locks(cli: Cli, name: str) -> dict[str, str]:
    return {p: one["lock_digest"] for p, one in cli.json("env", "lock", name, "--platform", "linux/amd64")["locks"].items()}


def test_an_export_gives_the_same_lock_in_another_home(cli: Cli, index: Index, tmp_path: Path) -> None:
    other = Cli.at(tmp_path / "two", index_url=index.url)
    other.write("pylock.toml", (cli.directory / "pylock.toml").read_text())
    done = other.ok("env", "create", "second", "-f", "pylock.toml")
    (other.directory / "pylock.toml").unlink()  # the workspace keeps it
    assert done.err.splitlines() == ["registered second:1"]
    assert _locks(other, "second") == _locks(cli, "first")
    again = tmp_path / "again.toml"
    other.ok("env", "export", "second", "--to", "pylock", "-o", str(again))
    assert again.read_text() == (cli.directory / "pylock.toml").read_text()
    other.write("a.py", "import alpha, beta\nprint(beta.__version__)\n")
    assert other.ok("run", "-e", "second", "a.py").out == "1.0\n"


def test_the_file_is_part_of_the_identity(cli: Cli) -> None:
    cli.ok("env", "create", "second", "-f", "pylock.toml")
    cli.write("pylock.toml", (cli.directory / "pylock.toml").read_text() + "# another\n")
    assert "second:2" in cli.ok("env", "create", "second", "-f", "pylock.toml").out


def test_another_digest_is_refused(cli: Cli) -> None:
    text = (cli.directory / "pylock.toml").read_text()
    at = text.index("sha256", text.index("beta-1.0")) + len('sha256 = "')
    cli.write("pylock.toml", text[:at] + "0" * 64 + text[at + 64 :])
    cli.ok("env", "create", "second", "-f", "pylock.toml")
    done = cli.run("env", "lock", "second", "--platform", "linux/amd64")
    assert done.code != 0
    assert "beta-1.0-py3-none-any.whl has the sha256" in done.err
    assert f"but {'0' * 64} in the lock file" in done.err


def test_a_file_that_the_index_has_no_longer_is_said(cli: Cli, index: Index, tmp_path: Path) -> None:
    index.add(make_sdist(tmp_path / "made", "beta", "1.0"))
    index.remove("beta-1.0-py3-none-any.whl")
    cli.ok("env", "create", "second", "-f", "pylock.toml")
    done = cli.run("env", "lock", "second", "--platform", "linux/amd64")
    assert "none of the files that the lock file names for beta 1.0" in done.err


def test_its_packages_are_not_changed_here(cli: Cli) -> None:
    cli.ok("env", "create", "second", "-f", "pylock.toml")
    assert "those of a lock file" in cli.run("env", "add", "second", "gamma").err
    cli.write("a.py", "pass\n")
    assert "`gamma` is not in the lock file" in cli.run("run", "-e", "second", "--with", "gamma", "a.py").err


@pytest.mark.parametrize("marker", ["os_name ~= 'x'", "(" * 5000])
def test_a_marker_that_nobody_can_evaluate_is_refused(cli: Cli, marker: str) -> None:
    text = (cli.directory / "pylock.toml").read_text()
    cli.write("pylock.toml", text.replace('name = "beta"\n', f'name = "beta"\nmarker = "{marker}"\n', 1))
    done = cli.run("env", "lock", "pylock.toml", "--platform", "linux/amd64")
    assert (done.code, "a marker that is none" in done.err) == (1, True), done.err


def test_a_version_of_python_without_an_operator_means_that_minor_version(cli: Cli) -> None:
    text = (cli.directory / "pylock.toml").read_text()
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    cli.write("pylock.toml", re.sub('requires-python = ".*"', f'requires-python = "{minor}"', text))
    assert f'requires-python = "{minor}"' in (cli.directory / "pylock.toml").read_text()
    assert cli.ok("env", "lock", "pylock.toml", "--platform", "linux/amd64").code == 0
