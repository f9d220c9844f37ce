"""Runs on machines over ssh, from the command line: a real sshd, which leads to this machine, with a home of its own."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.jobs import wait_until
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.index import Index
    from tests.support.sshd import Sshd

TOKEN = "ghp_" + "a1B2" * 9
TRAIN = """
import os, sys
print("hello", *sys.argv[1:], flush=True)
with open("outputs/model", "w") as file: file.write(os.environ.get("SEED", ""))
"""


@pytest.fixture
def cli(tmp_path: Path, sshd: Sshd) -> Iterator[Cli]:
    """A command line with a target `big`, and an environment `host`: this test's own interpreter."""
    made = Cli.at(tmp_path)
    made.variables |= {"XDG_RUNTIME_DIR": sshd.sockets}
    made.ok("env", "create", "host", "--interpreter", sys.executable)
    options = sshd.options(directory=str(tmp_path / "there"))
    made.ok(
        "target", "create", "big", "--kind", "ssh", *(word for pair in options.items() for word in ("--option", "=".join(pair)))
    )
    made.write("train.py", TRAIN)
    yield made
    sshd.hosts_of(options).close()


def there(cli: Cli, *words: str, **options: Any) -> Any:
    return cli.run("run", "-t", "big", "-e", "host", *words, **options)


def test_the_machine_is_tried_out(cli: Cli) -> None:
    done = cli.ok("target", "check", "big")
    assert [line.split()[:2] for line in done.out.splitlines()] == [["ok", "127.0.0.1"], ["ok", "directory"], ["ok", "probe"]]


def test_a_run_there_is_as_one_here(cli: Cli, tmp_path: Path) -> None:
    done = there(cli, "-V", "SEED=7", "--cpus", "1", "train.py", "a b", "$HOME")
    assert (done.code, done.out) == (0, "hello a b $HOME\n")
    run = cli.json("runs", "show", "latest")
    assert run["state"] == "completed"
    assert [one["path"] for one in run["results"]["outputs"]] == ["outputs/model"]
    assert cli.ok("runs", "logs", "latest").out == "hello a b $HOME\n"
    assert list((tmp_path / "there/runs").iterdir()) == []


def test_a_locked_environment_is_installed_there_once(cli: Cli, tmp_path: Path, index: Index) -> None:
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"))
    with (cli.home / "config.toml").open("a") as stream:
        stream.write(f'[indexes]\npypi = "{index.url}"\n')
    cli.write("requirements.txt", "alpha\n")
    cli.write("where.py", "import alpha, sys; print(alpha.__version__, sys.prefix)")
    first = cli.run("run", "-t", "big", "-r", "requirements.txt", "where.py")
    assert first.code == 0, first.err
    version, prefix = first.out.split()
    assert version == "1.0"
    assert prefix.startswith(str(tmp_path / "there/cache/prefixes"))
    run = cli.json("runs", "show", "latest")
    assert run["results"]["environment"]["lock_digest"]
    assert "installed" in run["results"]["environment"]["summary"]
    asked = len(index.requests)
    again = cli.run("run", "-t", "big", "-r", "requirements.txt", "where.py")
    assert again.out == first.out
    assert "cached" in cli.json("runs", "show", "latest")["results"]["environment"]["summary"]
    assert len(index.requests) == asked


def test_secrets_are_seen_by_the_script_alone(cli: Cli, tmp_path: Path) -> None:
    cli.write(
        "secret.py",
        "import os, time\nprint(len(os.environ['API_KEY']), flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)",
    )
    run = cli.json("run", "-t", "big", "-e", "host", "-d", "-V", "API_KEY", "secret.py", variables={"API_KEY": TOKEN})["id"]
    wait_until(lambda: cli.ok("runs", "logs", run).out == f"{len(TOKEN)}\n", pause_s=0.2)
    small = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert [path for path in small if TOKEN.encode() in path.read_bytes()] == []
    (tmp_path / "there/runs" / run / "snapshot/go").touch()
    assert cli.json("runs", "wait", run)["state"] == "completed"


def test_the_exit_code_is_the_scripts_own(cli: Cli) -> None:
    cli.write("fail.py", "raise SystemExit(3)")
    assert there(cli, "fail.py").code == 3
    cli.write("killed.py", "import os; os.kill(os.getpid(), 11)")
    assert there(cli, "killed.py").code == 128 + signal.SIGSEGV
    cli.write("slow.py", "import time; time.sleep(600)")
    assert there(cli, "--time", "1s", "slow.py").code == 124
    assert there(cli, "--memory", "900T", "train.py").code == 125


def test_a_run_that_nobody_waits_for_is_right_at_the_next_look(cli: Cli, tmp_path: Path) -> None:
    cli.write(
        "wait.py", f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)\nprint('went')"
    )
    run = cli.json("run", "-t", "big", "-e", "host", "-d", "wait.py")["id"]
    wait_until(lambda: cli.json("runs", "show", run)["state"] == "running", pause_s=0.2)
    (tmp_path / "go").touch()
    wait_until(lambda: cli.json("runs", "show", run)["state"] == "completed", pause_s=0.2)
    assert cli.ok("runs", "logs", run).out == "went\n"


def test_a_run_there_is_canceled(cli: Cli) -> None:
    cli.write("long.py", "import time; print('ready', flush=True); time.sleep(600)")
    run = cli.json("run", "-t", "big", "-e", "host", "-d", "long.py")["id"]
    wait_until(lambda: cli.ok("runs", "logs", run).out == "ready\n", pause_s=0.2)
    cli.ok("runs", "cancel", run)
    assert cli.run("runs", "wait", run).code != 0
    assert cli.json("runs", "show", run)["state"] == "canceled"


@pytest.mark.slow
def test_an_interrupted_foreground_ends_its_run(cli: Cli) -> None:
    cli.write("slow.py", "import time; print('up', flush=True); time.sleep(600)")
    process = cli.start("run", "-t", "big", "-e", "host", "slow.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert cli.json("runs", "show", "latest")["code"] == "interrupted"


def test_a_machine_that_is_not_known_is_told(cli: Cli, sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    options = sshd.options(known_hosts=str(tmp_path / "known"), directory=str(tmp_path / "there"))
    cli.ok(
        "target",
        "create",
        "stranger",
        "--kind",
        "ssh",
        *(word for pair in options.items() for word in ("--option", "=".join(pair))),
    )
    done = cli.run("run", "-t", "stranger", "-e", "host", "train.py")
    assert done.code == 125
    assert "the host key of 127.0.0.1 is not known" in done.err
    assert "ssh-keyscan" in done.err
    checked = cli.run("target", "check", "stranger")
    assert checked.code == 1
    assert "is not known" in checked.out


@pytest.mark.slow
def test_two_machines_share_a_run(cli: Cli, sshd: Sshd, tmp_path: Path) -> None:
    options = sshd.options(**sshd.twice(tmp_path / "ssh"), directory=str(tmp_path / "there"))
    cli.ok(
        "target", "create", "two", "--kind", "ssh", *(word for pair in options.items() for word in ("--option", "=".join(pair)))
    )
    cli.write("rank.py", "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'])")
    done = cli.run("run", "-t", "two", "-e", "host", "--nodes", "2", "rank.py")
    assert (done.code, done.out) == (0, "0 2\n"), done.err
    run = cli.json("runs", "show", "latest")
    assert (cli.home / "workspaces/default/runs" / run["id"] / "log.1.txt").read_text() == "1 2\n"
    sshd.hosts_of(options).close()


@pytest.mark.slow
def test_what_runs_left_is_cleaned_by_the_agent_there(cli: Cli, tmp_path: Path) -> None:
    assert cli.json("gc", "-t", "big")["places"] == [
        {"place": "127.0.0.1", "items": [], "freed_bytes": 0, "live": [], "silent": [], "trouble": "", "notes": []}
    ]
    cli.write("slow.py", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)\n")
    assert there(cli, "-d", "slow.py").code == 0
    run = cli.json("runs", "show", "latest")["id"]
    wait_until((tmp_path / "there/runs" / run / "status.json").exists)
    (agent,) = (tmp_path / "there/agents").iterdir()
    other = tmp_path / "there/packages" / ("0" * 64)
    other.mkdir(parents=True)
    for path in (agent, other):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    done = cli.json("gc", "-t", "big", "--apply")["places"][0]
    assert ([item["name"] for item in done["items"]], done["live"]) == ([other.name], [run])
    assert agent.exists()
    assert not other.exists()
    (tmp_path / "there/runs" / run / "snapshot/go").touch()
    assert cli.json("runs", "wait", run)["state"] == "completed"
    gone = cli.run("gc", "-t", "podman")
    assert "runs on this machine" in gone.err
