"""What Wardian adds to Slurm: from the submission to the script's first line, and a thousand submissions."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.index import Index
from tests.support.pythons import installed_pythons, make_standalone
from tests.support.slurm import Slurm, why_not
from tests.support.wheels import make_wheel

from wardian import Environment, Workspace
from wardian.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.conftest import AtMost, Ratio

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SUBMISSIONS, PER_S, GROWTH_BYTES = 1000, 5, 32 << 20
PHASES = 10


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Slurm]:
    with Slurm(tmp_path / "cluster") as running:
        yield running


class Project:
    """A workspace whose environment is ready on the nodes, and a script that says when it begins."""

    def __init__(self, place: Path, cluster: Slurm, index: Index) -> None:
        self.place, self.cluster = place, cluster
        self.pauses = itertools.cycle(
            number / PHASES for number in range(PHASES) for _side in range(2)
        )  # the same for both sides
        (place / "home").mkdir()
        (place / "home/config.toml").write_text(f'lock_platforms = ["linux/amd64"]\n[indexes]\npypi = "{index.url}"\n')
        pythons = make_standalone(place / "pythons", installed_pythons()[0][1])
        self.environ = {**cluster.environ, "WARDIAN_HOME": str(place / "home"), "WARDIAN_CACHE": str(place / "cache"),
                        "WARDIAN_PYTHON_DOWNLOADS": str(pythons.path)}  # fmt: skip
        self.workspace = Workspace(Settings.load(self.environ), environ=self.environ)
        (place / "requirements.txt").write_text("alpha\n")
        self.source = place / "project"
        self.source.mkdir()
        self.began = place / "began"
        (self.source / "train.py").write_text(f"open({str(self.began)!r}, 'w').close()\n")
        environment = Environment.from_requirements("bench", place / "requirements.txt")
        self.version = self.workspace.environments.register(environment)[0]
        self.workspace.targets.create("hpc", "slurm")
        first = self.workspace.submit(self.version, "train.py", source=self.source, target="hpc").wait()
        assert first.record.state == "completed", first.record.reason + first.log()
        self.began.unlink()
        self.script = place / "job.sh"
        self.script.write_text(f"#!/bin/sh\nexec {sys.executable} -I -S {self.source}/train.py\n")

    def until_it_begins(self) -> None:
        while not self.began.exists():
            time.sleep(0.001)
        self.began.unlink()

    def idle(self) -> None:
        """Wait until nothing runs, and then for any part of a second: Slurm looks at its queue once a second.

        Without that, each side would always come at the same moment between two looks, and the wait for the next would be its time.
        """
        while self.cluster.call("squeue", "-h", "-o", "%A"):
            time.sleep(0.05)
        time.sleep(next(self.pauses))


@pytest.fixture
def project(tmp_path: Path, cluster: Slurm) -> Iterator[Project]:
    with Index(tmp_path / "index") as index:
        index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"), datetime(2024, 1, 1, tzinfo=UTC))
        yield Project(tmp_path, cluster, index)


def test_from_the_submission_to_the_first_line(ratio: Ratio, project: Project) -> None:
    """The environment is warm; both sides wait for the same scheduler."""

    def ours() -> None:
        project.workspace.submit(project.version, "train.py", source=project.source, target="hpc")
        project.until_it_begins()

    def peer() -> None:
        subprocess.run(["sbatch", "--parsable", "-o", "/dev/null", str(project.script)], env=project.environ, cwd=project.place,
                       check=True, capture_output=True)  # fmt: skip
        project.until_it_begins()

    ratio("Slurm: submission to the script's first line", ours, peer, 1.0, peer_name="sbatch", plus_s=0.3, rounds=3 * PHASES,
          before_ours=project.idle, before_peer=project.idle)  # fmt: skip


def test_a_thousand_submissions(at_most: AtMost, fact: Callable[[str, str], None], project: Project) -> None:
    """They wait (held back by an occupied cluster), and what this process holds does not grow with them."""
    blocked = project.cluster.call(
        "sbatch", "--parsable", "--nodes=2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 100000"
    ).strip()
    numbers = itertools.count()
    held = [0, 0]

    def submit() -> None:
        held[0] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for _ in range(SUBMISSIONS):
            project.workspace.submit(project.version, "train.py", [str(next(numbers))], source=project.source, target="hpc")
        held[1] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    submit_one = project.workspace.submit(project.version, "train.py", source=project.source, target="hpc")
    assert submit_one.record.state == "queued"
    at_most(f"Slurm: {SUBMISSIONS} submissions", submit, SUBMISSIONS / PER_S, rounds=1)
    fact("growth of memory", f"{(held[1] - held[0]) / 1e6:.0f} MB")
    assert held[1] - held[0] < GROWTH_BYTES
    began = time.perf_counter()
    assert len(list(project.workspace.runs.list(limit=1000))) == SUBMISSIONS
    fact("`runs list` of a thousand", f"{time.perf_counter() - began:.2f} s")
    project.cluster.call("scancel", "--me", "--state=PENDING")
    project.cluster.call("scancel", blocked)
