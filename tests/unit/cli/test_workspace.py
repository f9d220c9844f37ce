from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli


def _in_use(cli: Cli) -> list[str]:
    return [row["name"] for row in cli.json("workspace", "list")["workspaces"] if row["in_use"]]


def test_create_use_list_show_delete(cli: Cli) -> None:
    assert "`default` is made" in cli.ok("workspace", "list").out
    assert "wardian workspace use paper" in cli.ok("workspace", "create", "paper").out
    assert _in_use(cli) == []
    cli.ok("workspace", "create", "scratch", "--use")
    assert _in_use(cli) == ["scratch"]
    cli.ok("workspace", "use", "paper")
    assert _in_use(cli) == ["paper"]
    shown = cli.json("workspace", "show")
    assert shown["name"] == "paper"
    assert shown["counts"] == {"environments": 0, "versions": 0, "locks": 0, "runs": 0, "models": 0}
    assert shown["journal"] == "wal"
    assert shown["size_bytes"] > 0
    assert "write-ahead log" in cli.ok("workspace", "show", "scratch").out
    cli.ok("workspace", "delete", "scratch", "--yes")
    assert [row["name"] for row in cli.json("workspace", "list")["workspaces"]] == ["paper"]


def test_the_default_workspace_is_made_when_it_is_first_shown(cli: Cli) -> None:
    assert cli.json("workspace", "show")["name"] == "default"


def test_what_is_refused_says_why_and_what_next(cli: Cli) -> None:
    cli.ok("workspace", "create", "paper")
    again = cli.run("workspace", "create", "paper")
    assert (again.code, again.err) == (5, "error: there is a workspace `paper` already\nhint:  `wardian workspace use paper`\n")
    wrong = cli.run("workspace", "create", "../up")
    assert wrong.code == 2
    assert "`../up`" in wrong.err
    missing = cli.run("workspace", "use", "papr")
    assert missing.code == 4
    assert "there are: `paper`" in missing.err
    cli.ok("workspace", "use", "paper")
    in_use = cli.run("workspace", "delete", "paper", "--yes")
    assert in_use.code == 5
    assert "in use" in in_use.err


def test_one_that_holds_something_is_deleted_only_with_yes(cli: Cli) -> None:
    cli.ok("workspace", "create", "paper")
    cli.ok("env", "create", "host", "--interpreter", "/usr/bin/python3", "-w", "paper")
    refused = cli.run("workspace", "delete", "paper")
    assert refused.code == 5
    assert "--yes" in refused.err
    assert cli.json("env", "list", "-w", "paper")["environments"]
    cli.ok("workspace", "delete", "paper", "--yes")
    assert cli.run("env", "list", "-w", "paper").code == 4


def test_one_with_a_run_in_progress_stays(host: Cli, tmp_path: Path) -> None:
    release = tmp_path / "release"
    host.write("wait.py", "import os, sys, time\nwhile not os.path.exists(sys.argv[1]):\n    time.sleep(0.02)\n")
    run_id = host.ok("run", "-d", "-e", "host", "wait.py", str(release)).out.strip()
    host.ok("workspace", "create", "other", "--use")
    refused = host.run("workspace", "delete", "default", "--yes")
    assert refused.code == 5
    assert "in progress" in refused.err
    release.touch()
    host.ok("runs", "wait", run_id, "-w", "default")
    host.ok("workspace", "delete", "default", "--yes")


def test_a_variable_that_goes_before_is_named(cli: Cli) -> None:
    cli.ok("workspace", "create", "paper")
    cli.ok("workspace", "create", "other")
    done = cli.ok("workspace", "use", "paper", variables={"WARDIAN_WORKSPACE": "other"})
    assert "WARDIAN_WORKSPACE is `other` here" in done.err
    assert _in_use(cli) == ["paper"]
