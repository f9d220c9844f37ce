"""Runs on a real Slurm: two nodes, which are this machine twice."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.jobs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.slurm import Slurm

TOKEN = "ghp_" + "a1B2" * 9
TRAIN = """
import os, sys
print("hello", *sys.argv[1:], flush=True)
with open("outputs/model", "w") as file: file.write(os.environ.get("SEED", ""))
open("new", "w").close()
"""


@pytest.fixture
def cli(tmp_path: Path, slurm: Slurm) -> Iterator[Cli]:
    """A command line with a target `hpc`, and an environment `host`: this test's own interpreter."""
    made = Cli.at(tmp_path)
    made.variables |= {"SLURM_CONF": str(slurm.conf)}
    made.ok("env", "create", "host", "--interpreter", sys.executable)
    made.ok("target", "create", "hpc", "--kind", "slurm", "--option", "partition=main")
    made.write("train.py", TRAIN)
    yield made
    slurm.call("scancel", "--me", check=False)
    wait_until(lambda: not slurm.call("squeue", "-h", "-o", "%A"))


def on_slurm(cli: Cli, *words: str, **options: Any) -> Any:
    return cli.run("run", "-t", "hpc", "-e", "host", *words, **options)


def newest(cli: Cli) -> Any:
    return cli.json("runs", "show", "latest")


def left_there(cli: Cli) -> list[str]:
    return sorted(path.name for path in (cli.home / "nodes/runs").iterdir())


def test_a_run_there_is_as_one_here(cli: Cli, slurm: Slurm) -> None:
    done = on_slurm(cli, "-V", "SEED=7", "--cpus", "1", "--memory", "100M", "--time", "10m", "train.py", "a b", "$HOME")
    assert (done.code, done.out) == (0, "hello a b $HOME\n")
    assert "hpc: job " in done.err
    run = newest(cli)
    assert run["state"] == "completed"
    assert [one["path"] for one in run["results"]["outputs"]] == ["outputs/model"]
    assert run["results"]["new_files"] == ["new"]
    assert run["place"]["handle"] in slurm.jobs(run["id"])
    assert cli.ok("runs", "logs", "latest").out == "hello a b $HOME\n"
    assert left_there(cli) == []


def test_the_exit_code_is_the_scripts_own(cli: Cli) -> None:
    cli.write("fail.py", "raise SystemExit(3)")
    assert on_slurm(cli, "fail.py").code == 3
    cli.write("killed.py", "import os; os.kill(os.getpid(), 11)")
    assert on_slurm(cli, "killed.py").code == 128 + signal.SIGSEGV


def test_what_there_never_is_fails_before_it_starts(cli: Cli) -> None:
    done = on_slurm(cli, "--memory", "900G", "train.py")
    assert done.code == 125
    assert "Requested node configuration is not available" in done.err
    wrong = on_slurm(cli, "--option", "partition=nope", "train.py")
    assert "invalid partition" in wrong.err.lower()
    assert left_there(cli) == []


def test_secrets_reach_the_script_and_no_file_or_record(cli: Cli, slurm: Slurm, tmp_path: Path) -> None:
    cli.write("secret.py", "import os, sys, time\nopen('outputs/ok', 'w').write(str(len(os.environ['API_KEY']) + len(sys.argv[1])))\n"
              "open('up', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.05)\n")  # fmt: skip
    done = on_slurm(cli, "-d", "-V", "API_KEY", "secret.py", f"--token={TOKEN}", variables={"API_KEY": TOKEN})
    assert done.code == 0
    run = newest(cli)
    snapshot = cli.home / "nodes/runs" / run["id"] / "snapshot"
    wait_until((snapshot / "up").exists)
    job = run["place"]["handle"]
    said = slurm.call("scontrol", "show", "job", "-dd", job) + slurm.call("scontrol", "write", "batch_script", job, "-")
    assert TOKEN not in said
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            assert TOKEN.encode() not in path.read_bytes(), path
    for path in slurm.directory.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
    (snapshot / "go").touch()
    cli.ok("runs", "wait", "latest")
    assert (cli.home / "workspaces/default/runs" / run["id"] / "snapshot/outputs/ok").read_text() == str(2 * len(TOKEN) + 8)


def test_a_waiting_run_says_why_and_is_canceled(cli: Cli, slurm: Slurm) -> None:
    cli.write("wait.py", "import time; time.sleep(600)")
    assert on_slurm(cli, "-d", "--nodes", "2", "--cpus", "4", "wait.py").code == 0
    first = newest(cli)["id"]
    wait_until(lambda: cli.json("runs", "show", first)["state"] == "running", pause_s=0.2)
    assert on_slurm(cli, "-d", "--nodes", "2", "--cpus", "4", "wait.py").code == 0
    shown = wait_until(lambda: "waiting: " in cli.ok("runs", "list").out)
    assert shown
    assert cli.json("runs", "list")["runs"][0]["reason"].startswith(("waiting: Resources (", "waiting: Priority ("))
    assert cli.json("runs", "cancel", "latest")["state"] == "canceled"
    running = cli.json("runs", "cancel", first)
    assert (running["state"], running["code"]) == ("canceled", "canceled")
    assert left_there(cli) == []


def test_an_interrupted_foreground_ends_its_run(cli: Cli) -> None:
    cli.write("slow.py", "import time; print('up', flush=True); time.sleep(600)")
    process = cli.start("run", "-t", "hpc", "-e", "host", "slow.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert newest(cli)["code"] == "interrupted"


def test_a_killed_foreground_leaves_its_run_and_the_next_look_brings_it_home(cli: Cli) -> None:
    """The log is followed live, Wardian is killed and comes back: nothing is lost, nothing runs twice."""
    cli.write("slow.py", "import os, time\nprint('up', flush=True)\n"
              "while not os.path.exists('go'): time.sleep(0.05)\nopen('outputs/a', 'w').write('1')\nprint('down')\n")  # fmt: skip
    process = cli.start("run", "-t", "hpc", "-e", "host", "slow.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.wait()
    run = newest(cli)
    assert run["state"] == "running"
    (cli.home / "nodes/runs" / run["id"] / "snapshot/go").touch()
    assert cli.ok("runs", "logs", "-f", "latest").out == "up\ndown\n"
    assert newest(cli)["results"]["output_files"] == 1


def test_a_run_of_a_forgotten_job_is_right_by_its_nodes_word(cli: Cli, tmp_path: Path) -> None:
    done = on_slurm(cli, "-d", "train.py")
    assert done.code == 0
    run = done.out.strip()  # nothing looks at it: what has ended would come home
    wait_until((cli.home / "nodes/runs" / run / "ended.json").exists)
    empty = tmp_path / "slurm.conf"  # a controller that was set up anew knows nothing; this one does not even answer
    empty.write_text("ClusterName=gone\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\nMessageTimeout=1\nNodeName=n1\n")
    assert cli.run("runs", "list", variables={"SLURM_CONF": str(empty)}).code == 0
    assert cli.json("runs", "list")["runs"][0]["state"] == "completed"


def test_what_would_be_handed_over_is_shown(cli: Cli, slurm: Slurm) -> None:
    before = slurm.call("squeue", "-h", "--states=all", "-o", "%A")
    shown = on_slurm(cli, "--dry-run", "--nodes", "2", "-V", "API_KEY", "train.py", variables={"API_KEY": TOKEN}).out
    assert "sbatch --parsable" in shown
    assert "--partition=main" in shown
    assert "| exec srun" in shown
    assert TOKEN not in shown
    assert slurm.call("squeue", "-h", "--states=all", "-o", "%A") == before
    assert cli.json("runs", "list")["runs"] == []


def test_a_target_with_runs_stays(cli: Cli) -> None:
    cli.write("slow.py", "import time; time.sleep(600)")
    assert on_slurm(cli, "-d", "slow.py").code == 0
    refused = cli.run("target", "delete", "hpc")
    assert refused.code == 5
    cli.ok("runs", "cancel", "latest")
    cli.ok("target", "delete", "hpc")
    assert newest(cli)["state"] == "canceled"


ALL_REDUCE = """
import os, socket, struct, time
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
mine = rank + 1.5
if rank == 0:
    with socket.create_server(("", address[1])) as server:
        others = [server.accept()[0] for _ in range(world - 1)]
        total = mine + sum(struct.unpack("d", one.recv(8, socket.MSG_WAITALL))[0] for one in others)
        for one in others:
            one.sendall(struct.pack("d", total))
else:
    while True:
        try:
            with socket.create_connection(address) as one:
                one.sendall(struct.pack("d", mine))
                total, = struct.unpack("d", one.recv(8, socket.MSG_WAITALL))
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
assert total == sum(number + 1.5 for number in range(world))
open(f"outputs/rank-{rank}-{os.environ['SLURM_NODEID']}", "w").write(str(total))
print(f"rank {rank} of {world}: {total}")
"""


def test_two_nodes_find_each_other_and_agree(cli: Cli) -> None:
    """An all-reduce over MASTER_ADDR and MASTER_PORT, as torch does one."""
    cli.write("reduce.py", ALL_REDUCE)
    done = on_slurm(cli, "--nodes", "2", "reduce.py")
    assert (done.code, done.out) == (0, "rank 0 of 2: 4.0\n")
    run = newest(cli)
    assert [one["path"] for one in run["results"]["outputs"]] == ["outputs/rank-0-0", "outputs/rank-1-1"]
    assert (cli.home / "workspaces/default/runs" / run["id"] / "log.1.txt").read_text() == "rank 1 of 2: 4.0\n"


def test_a_target_is_tried_out(cli: Cli) -> None:
    done = cli.ok("target", "check", "hpc")
    assert "a small job ran on" in done.out
    assert left_there(cli) == []


@pytest.mark.slow
def test_a_controller_that_is_gone_is_a_finding(cli: Cli, slurm: Slurm) -> None:
    slurm.kill("slurmctld")
    try:
        conf = slurm.conf.read_text()
        slurm.conf.write_text(conf + "MessageTimeout=2\n")
        gone = cli.run("target", "check", "hpc")
        assert gone.code == 1
        assert "missing" in gone.out
    finally:
        slurm.conf.write_text(conf)
        slurm.start_controller()
        wait_until(lambda: set(slurm.states().values()) == {"idle"})


@pytest.mark.slow
def test_two_submissions_at_once_from_two_processes_are_two_runs(cli: Cli) -> None:
    processes = [cli.start("run", "-t", "hpc", "-e", "host", "train.py", str(number)) for number in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert sorted(process.stdout.read() for process in processes if process.stdout) == ["hello 0\n", "hello 1\n"]
    assert os.listdir(cli.home / "nodes/runs") == []  # noqa: PTH208


@pytest.mark.slow
def test_what_runs_left_is_cleaned_while_one_goes_on(cli: Cli) -> None:
    cli.write("slow.py", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)\nprint('done')\n")
    assert on_slurm(cli, "-d", "slow.py").code == 0
    run = newest(cli)["id"]
    wait_until(lambda: cli.json("runs", "show", run)["state"] == "running", pause_s=0.2)
    nodes = cli.home / "nodes"
    (agent,) = (nodes / "agents").iterdir()
    other = nodes / "agents" / ("0" * 64)
    other.mkdir()
    for path in (agent, other):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    plan = cli.json("gc", "-t", "hpc")
    assert [item["name"] for item in plan["places"][0]["items"]] == [other.name]
    assert plan["places"][0]["live"] == [run]
    assert "1 removed" in cli.ok("gc", "-t", "hpc", "--older-than", "7d", "--apply").out
    assert agent.exists()
    assert not other.exists()
    (nodes / "runs" / run / "snapshot/go").touch()
    assert cli.json("runs", "wait", run)["state"] == "completed"
    assert agent.name in cli.ok("gc", "-t", "hpc", "--json").out
