"""`wardian env lint` as a user runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.cli import Cli

FILE = "channels: [conda-forge]\ndependencies:\n  - python=3.12 # as ever\n  - pip=24\nprefix: /home/ada/x\n"


def test_a_finding_says_where_why_and_what_to_write(cli: Cli) -> None:
    cli.write("environment.yml", FILE)
    done = cli.run("env", "lint", "environment.yml")
    assert done.code == 0
    assert done.out.splitlines()[0].startswith("environment.yml:5: warning: `prefix` is left out")
    assert done.out.splitlines()[0].endswith("[prefix-ignored]")
    assert "    why: " in done.out
    assert "    fix: delete the line" in done.out
    assert done.err == "1 warning; --fix can mend 1\n"


def test_warnings_count_if_asked_and_errors_always(cli: Cli) -> None:
    cli.write("environment.yml", FILE)
    assert cli.run("env", "lint", "environment.yml", "--strict").code == 1
    cli.write("requirements.txt", "numpy =1\n")
    done = cli.run("env", "lint", "environment.yml", "requirements.txt", "--json")
    assert done.code == 1
    assert done.document["counts"] == {"error": 1, "warning": 1, "note": 0}
    assert [one["file"] for one in done.document["files"]] == ["environment.yml", "requirements.txt"]


def test_a_fix_shows_the_difference(cli: Cli) -> None:
    path = cli.write("environment.yml", FILE)
    done = cli.run("env", "lint", "environment.yml", "--fix")
    assert "-prefix: /home/ada/x" in done.out.splitlines()
    assert path.read_text() == FILE.replace("prefix: /home/ada/x\n", "")
    assert done.err == "nothing found\n"
    again = cli.run("env", "lint", "environment.yml", "--fix")
    assert (again.code, again.out) == (0, "")


def test_a_version_is_linted_but_not_changed(host: Cli) -> None:
    assert host.run("env", "lint", "host").code == 0
    done = host.run("env", "lint", "host", "--fix")
    assert done.code == 2
    assert "wardian env edit" in done.err
    assert host.run("env", "lint", "nobody").code == 4


def test_looking_at_a_file_makes_no_workspace(cli: Cli) -> None:
    cli.write("environment.yml", FILE)
    cli.run("env", "lint", "environment.yml")
    assert not (cli.home / "workspaces").exists()


def test_sarif_goes_to_stdout_alone(cli: Cli) -> None:
    cli.write("environment.yml", FILE)
    done = cli.run("env", "lint", "environment.yml", "--sarif")
    assert json.loads(done.out)["version"] == "2.1.0"
    assert done.err == ""
    assert cli.run("env", "lint", "environment.yml", "--sarif", "--json").code == 2


def test_a_file_of_another_kind_is_an_error(cli: Cli) -> None:
    cli.write("poetry.lock", "version = 1\n")
    done = cli.run("env", "lint", "./poetry.lock")
    assert done.code == 2
    assert "Poetry's lock file" in done.err
    assert cli.run("env", "lint", "./none.yml").code == 4
