"""Completion, as the shells ask for it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.endpoints import a_recorded_endpoint

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli.at(tmp_path)


def complete(cli: Cli, *words: str) -> list[str]:
    """Return what bash would offer after these words, the last of them being typed."""
    variables = {
        "_WARDIAN_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("wardian", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = cli.run(variables=variables)
    assert done.err == ""
    return [line.removeprefix("plain,") for line in done.out.splitlines() if line]


def test_commands_and_options(cli: Cli) -> None:
    assert complete(cli, "work") == ["workspace"]
    assert complete(cli, "workspace", "") == ["create", "list", "use", "show", "delete"]
    assert complete(cli, "gc", "--") == [
        "--apply",
        "--limit",
        "--all",
        "--prefix",
        "--target",
        "--older-than",
        "--json",
        "--workspace",
        "--help",
    ]
    assert complete(cli, "runs", "list", "--state", "c") == ["completed", "canceled"]


def test_workspaces_secrets_and_settings(cli: Cli) -> None:
    for name in ("paper", "papyrus", "other"):
        cli.ok("workspace", "create", name)
    assert complete(cli, "workspace", "use", "pap") == ["paper", "papyrus"]
    assert complete(cli, "runs", "list", "-w", "o") == ["other"]
    cli.ok("secret", "set", "team", "-w", "paper", stdin="x")
    assert complete(cli, "secret", "delete", "-w", "paper", "t") == ["team"]
    assert complete(cli, "config", "set", "cache_") == ["cache_limit_bytes"]


def test_endpoints(cli: Cli) -> None:
    cli.ok("env", "list")
    for name in ("churn", "cancer", "other"):
        a_recorded_endpoint(cli.home, name)
    assert complete(cli, "endpoint", "show", "c") == ["cancer", "churn"]
    assert complete(cli, "deploy", "o") == ["other"]
    assert complete(cli, "env", "show", "endpoint:ch") == ["endpoint:churn"]
    assert complete(cli, "endpoint", "sc") == ["score", "scale"]


def test_references_and_runs(cli: Cli) -> None:
    cli.ok("env", "create", "host", "--interpreter", "/usr/bin/python3")
    cli.ok("env", "create", "host", "--interpreter", "/usr/bin/python3", "-V", "A=1")
    cli.write("a.py", "print(1)\n")
    cli.run("run", "-e", "host", "a.py")
    run_id = cli.json("runs", "list")["runs"][0]["id"]
    assert complete(cli, "shell", "h") == ["host"]
    assert complete(cli, "shell", "./env") == ["file,./env"]
    assert sorted(complete(cli, "env", "show", "host:")) == ["host:1", "host:2"]
    assert complete(cli, "runs", "show", run_id[:3]) == [run_id]
    assert complete(cli, "runs", "show", "la") == ["latest"]


def test_curated_names_need_no_workspace(cli: Cli) -> None:
    names = complete(cli, "shell", "Wardian-p")
    assert names
    assert all(name.startswith("Wardian-p") for name in names)
    assert complete(cli, "catalog", "build", "Wardian-minimal-py312-cpu:") == ["Wardian-minimal-py312-cpu:1"]
    assert not (cli.home / "workspaces").exists()


def test_a_tab_key_makes_nothing_and_says_nothing_where_something_is_wrong(cli: Cli) -> None:
    before = sorted(path.name for path in cli.home.iterdir())
    assert complete(cli, "shell", "") == ["file,"]
    assert complete(cli, "runs", "show", "-w", "nosuch", "x") == []
    assert sorted(path.name for path in cli.home.iterdir()) == before
    (cli.home / "config.toml").write_text("broken")
    assert complete(cli, "workspace", "use", "") == []
    assert complete(cli, "secret", "delete", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(cli: Cli, shell: str) -> None:
    script = cli.ok("--completion", shell).out
    assert f"_WARDIAN_COMPLETE={shell}_complete" in script
    assert "wardian" in script


def test_bash_takes_the_script(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "completion").write_text(cli.ok("--completion", "bash").out)
    check = f"source {tmp_path}/completion && complete -p wardian"
    done = subprocess.run(["bash", "--norc", "-c", check], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert "wardian" in done.stdout
