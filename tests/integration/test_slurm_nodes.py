"""Nodes of a real Slurm that are lost: the documented end within the documented time, and never two jobs at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.jobs import wait_until
from tests.support.slurm import HERE, Slurm, why_not

from wardian.tools.processes import identify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]

# writes a line for each start, and one for each second that it lives
ALIVE = """
import os, time
with open(os.environ["PLACE"] + "/starts", "a") as file: file.write(f"{os.getpid()}\\n")
print("up", flush=True)
while not os.path.exists(os.environ["PLACE"] + "/go"): time.sleep(0.1)
print("down", flush=True)
open("outputs/done", "w").close()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Slurm]:
    """A cluster of this test's own, that notices a lost node soon."""
    with Slurm(tmp_path / "cluster", lost_after_s=5) as running:
        yield running


@pytest.fixture
def cli(tmp_path: Path, cluster: Slurm) -> Cli:
    made = Cli.at(tmp_path / "home")
    made.variables |= {"SLURM_CONF": str(cluster.conf)}
    made.ok("env", "create", "host", "--interpreter", sys.executable)
    made.ok("target", "create", "hpc", "--kind", "slurm", "--option", f"nodelist={HERE}")
    made.ok("target", "create", "again", "--kind", "slurm", "--option", "requeue=yes")
    made.write("alive.py", ALIVE)
    return made


def started(cli: Cli, place: Path, target: str) -> Any:
    place.mkdir()
    cli.ok("run", "-d", "-t", target, "-e", "host", "-V", f"PLACE={place}", "alive.py")
    run = cli.json("runs", "show", "latest")["id"]
    wait_until((place / "starts").exists)
    wait_until(lambda: cli.json("runs", "show", run)["state"] == "running", pause_s=0.5)
    return run


def test_without_requeue_a_lost_node_is_told_from_a_failure(cli: Cli, cluster: Slurm, tmp_path: Path) -> None:
    run = started(cli, tmp_path / "data", "hpc")
    cluster.kill(HERE)
    wait_until(lambda: cli.json("runs", "show", run)["state"] == "failed", 180, pause_s=1)
    record = cli.json("runs", "show", run)
    assert (record["code"], record["process_exit_code"]) == ("node_lost", 125)
    assert "NODE_FAIL" in record["reason"]
    assert cli.ok("runs", "logs", run).out == "up\n"


def test_with_requeue_it_runs_once_though_its_first_start_lives_on(cli: Cli, cluster: Slurm, tmp_path: Path) -> None:
    """Only slurmd was killed: what it had started is alive, and the second start, on the other node, waits for it."""
    data = tmp_path / "data"
    run = started(cli, data, "again")
    cluster.kill(cluster.call("squeue", "-h", "--me", "-o", "%N").strip())
    wait_until(lambda: "to be started again" in cli.json("runs", "show", run).get("reason", ""), 180, pause_s=1)
    assert cli.json("runs", "show", run)["state"] == "running"
    try:
        wait_until(lambda: cluster.call("squeue", "-h", "--me", "-t", "RUNNING", "-o", "%A"), 300, pause_s=0.5)
    except AssertionError:  # what Slurm itself says of it
        log = (cluster.conf.parent / "log/ctld.log").read_text(errors="replace").splitlines()[-40:]
        pytest.fail(
            "\n".join([cluster.call("squeue", "--me"), cluster.call("scontrol", "show", "job"), cluster.call("sinfo"), *log])
        )
    (data / "go").touch()
    assert cli.ok("runs", "wait", run, "--timeout", "180s").code == 0
    record = cli.json("runs", "show", run)
    assert (record["state"], record["results"]["output_files"]) == ("completed", 1)
    assert len((data / "starts").read_text().split()) == 1
    assert cli.ok("runs", "logs", run).out == "up\ndown\n"


def test_with_requeue_a_start_that_died_with_its_node_is_made_again(cli: Cli, cluster: Slurm, tmp_path: Path) -> None:
    """slurmd comes back, and ends what it finds of a job that was given to somebody else."""
    data = tmp_path / "data"
    run = started(cli, data, "again")
    node = cluster.call("squeue", "-h", "--me", "-o", "%N").strip()
    cluster.kill(node)
    wait_until(lambda: "to be started again" in cli.json("runs", "show", run).get("reason", ""), 180, pause_s=1)
    first = int((data / "starts").read_text())
    cluster.start_node(node)
    wait_until(lambda: identify(first) is None, 180, pause_s=0.2)
    wait_until(lambda: len((data / "starts").read_text().split()) > 1, 300, pause_s=0.5)
    (data / "go").touch()
    assert cli.ok("runs", "wait", run, "--timeout", "180s").code == 0
    record = cli.json("runs", "show", run)
    assert (record["state"], len((data / "starts").read_text().split())) == ("completed", 2)
    assert "the engine started it 2 times" in record["results"]["notes"]
