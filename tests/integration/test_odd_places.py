"""Closed descriptors, deleted directories, scripts that reach for the records, files that are in the way."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index


@pytest.fixture
def cli(tmp_path: Path, index: Index) -> Cli:
    place = tmp_path / "wheels"
    place.mkdir()
    index.add(make_wheel(place, "alpha", "1.0", files={"alpha/__init__.py": ""}), datetime(2024, 1, 1, tzinfo=UTC))
    found = Cli.at(tmp_path / "one", index_url=index.url)
    found.write("requirements.txt", "alpha\n")
    return found


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_works_with_closed_descriptors(cli: Cli, closed: str) -> None:
    words = " ".join(
        f"'{word}'" for word in cli.argv("run", "-r", "requirements.txt", "--", "sh", "-c", "echo here > outputs/here")
    )
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} {closed}"], cwd=cli.directory, env=cli.environ, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert [run["state"] for run in cli.json("runs", "list")["runs"]] == ["completed"]


def test_an_empty_name_of_a_target_is_not_this_machine(cli: Cli) -> None:
    done = cli.run("run", "-t", "", "-r", "requirements.txt", "--", "true")
    assert done.code == 125
    assert "is not the name of a target" in done.err


def test_all_outputs_are_counted(cli: Cli) -> None:
    done = cli.ok("run", "-r", "requirements.txt", "--", "sh", "-c", "cd outputs; for i in $(seq 1001); do : >$i; done")
    assert "(1001 files)" in done.err


def test_lists_work_with_closed_descriptors(cli: Cli) -> None:
    words = " ".join(f"'{word}'" for word in cli.argv("env", "list"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} >&-"], cwd=cli.directory, env=cli.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1)
    assert "bug" not in done.stderr


def test_a_deleted_directory_is_said(cli: Cli, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd '{gone}' && rmdir '{gone}' && exec " + " ".join(
        f"'{word}'" for word in cli.argv("run", "-e", "x", "--", "true")
    )
    done = subprocess.run(["/bin/sh", "-c", script], env=cli.environ, capture_output=True, text=True, check=False)
    assert done.returncode in (2, 125)
    assert "gone" in done.stderr
    assert "bug" not in done.stderr


def test_a_home_that_cannot_be_made_is_said(cli: Cli) -> None:
    done = cli.run("env", "list", variables={"WARDIAN_HOME": "/proc/wardian"})
    assert done.code == 6
    assert "/proc/wardian" in done.err
    assert "bug" not in done.err


@pytest.mark.root
def test_a_script_that_is_root_cannot_write_the_records(cli: Cli) -> None:
    cli.write("reach.py", "import os, glob\nfor p in glob.glob('../../../workspace.db*'):\n    try: os.remove(p)\n    except OSError as e: print(e.strerror)\n"
              "open('outputs/mine', 'w').write('x')\nopen('new.txt', 'w').write('x')\n")  # fmt: skip
    done = cli.ok("run", "-r", "requirements.txt", "reach.py")
    assert "Read-only file system" in done.out
    record = cli.json("runs", "show", "latest")
    assert [o["path"] for o in record["results"]["outputs"]] in (["outputs/mine"], ["mine"])


def test_records_that_are_gone_are_missed(cli: Cli) -> None:
    cli.ok("run", "-r", "requirements.txt", "--", "true")
    for path in (cli.home / "workspaces" / "default").glob("workspace.db*"):
        path.unlink()
    done = cli.run("runs", "list")
    assert done.code == 1
    assert "records of workspace `default` are gone" in done.err


def test_records_are_for_their_owner_alone(cli: Cli) -> None:
    cli.ok("env", "list")
    assert (cli.home / "workspaces").stat().st_mode & 0o077 == 0


def test_exports_write_over_nothing(cli: Cli) -> None:
    cli.ok("run", "-r", "requirements.txt", "--", "true")
    cli.ok("env", "create", "shop", "-r", "requirements.txt")
    for words in (("runs", "export", "latest"), ("env", "export", "shop", "--to", "requirements")):
        done = cli.run(*words, "-o", "requirements.txt")
        assert done.code == 5
        assert (cli.directory / "requirements.txt").read_text() == "alpha\n"
        assert cli.run(*words, "-o", "nowhere/x").code == 4
        cli.ok(*words, "-o", "other", "--force")
        cli.ok(*words, "-o", "other", "--force")
    assert "alpha==1.0" in cli.json("env", "export", "shop", "--to", "requirements")["text"]


@pytest.mark.parametrize("name", ["OPENAI_KEY", "PGPASS", "GOOGLE_CREDS", "HFTOKEN", "DB_PASSWORD", "SESSION_COOKIE"])
def test_what_may_be_a_secret_is_in_no_record(cli: Cli, name: str) -> None:
    done = cli.ok(
        "run",
        "-r",
        "requirements.txt",
        "-V",
        f"{name}=s3cret-value",
        "-V",
        "SEED=7",
        "--",
        "sh",
        "-c",
        f'test -n "${name}"',
    )
    shown = cli.ok("runs", "show", "latest", "--json")
    assert "s3cret-value" not in done.err + shown.out
    assert '"SEED": "7"' in shown.out
    for path in (cli.home / "workspaces" / "default").glob("workspace.db*"):
        assert b"s3cret-value" not in path.read_bytes()
    assert os.path.exists(cli.home)  # noqa: PTH110
