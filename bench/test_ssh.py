"""What Wardian adds to ssh: from the submission to the script's first line, with a new connection and with one that is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.index import Index
from tests.support.pythons import installed_pythons, make_standalone
from tests.support.sshd import Sshd, why_not
from tests.support.wheels import make_wheel

from wardian import Environment, Workspace
from wardian.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.conftest import Ratio

    from wardian import Run

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

ROUNDS, PLUS_S = 15, 0.3


class Machine:
    """A machine behind ssh whose environment is installed, and a script that says when it begins."""

    def __init__(self, place: Path, sshd: Sshd, index: Index, environ: dict[str, str]) -> None:
        self.sshd, self.began, self.source = sshd, place / "began", place / "project"
        (place / "home").mkdir()
        (place / "home/config.toml").write_text(f'lock_platforms = ["linux/amd64"]\n[indexes]\npypi = "{index.url}"\n')
        pythons = make_standalone(place / "pythons", installed_pythons()[0][1])
        self.environ = {**environ, "WARDIAN_HOME": str(place / "home"), "WARDIAN_CACHE": str(place / "cache"),
                        "WARDIAN_PYTHON_DOWNLOADS": str(pythons.path), "XDG_RUNTIME_DIR": sshd.sockets}  # fmt: skip
        self.workspace = Workspace(Settings.load(self.environ), environ=self.environ)
        (place / "requirements.txt").write_text("alpha\n")
        self.source.mkdir()
        (self.source / "train.py").write_text(f"open({str(self.began)!r}, 'w').close()\n")
        self.version = self.workspace.environments.register(Environment.from_requirements("bench", place / "requirements.txt"))[
            0
        ]
        self.options = sshd.options(directory=str(place / "there"))
        self.workspace.targets.create("big", "ssh", self.options)
        self.run: Run | None = None
        self.ours()
        self.idle()

    def ours(self) -> None:
        """Submit a run, and wait for its script's first line."""
        self.run = self.workspace.submit(self.version, "train.py", source=self.source, target="big")
        self._until_it_begins()

    def bare(self, *options: str) -> None:
        """Run the script by ssh alone."""
        given = self.options
        subprocess.run(
            ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={given['known_hosts']}", "-o", "IdentitiesOnly=yes",
             "-i", given["identity"], "-p", given["port"], *options, given["hosts"], f"{sys.executable} -I -S {self.source}/train.py"],
            check=True, env=self.environ,
        )  # fmt: skip
        self._until_it_begins()

    def idle(self) -> None:
        """Wait until nothing runs there."""
        if self.run is not None:
            ended = self.run.wait()
            assert ended.record.state == "completed", ended.record.reason + ended.log()
            self.run = None

    def alone(self) -> None:
        """Wait until nothing runs there, and end the connections that are kept."""
        self.idle()
        self.sshd.hosts_of(self.options).close()

    def _until_it_begins(self) -> None:
        while not self.began.exists():
            time.sleep(0.001)
        self.began.unlink()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with Sshd(tmp_path / "sshd") as sshd, Index(tmp_path / "index") as index:
        index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"), datetime(2024, 1, 1, tzinfo=UTC))
        yield Machine(tmp_path, sshd, index, dict(os.environ))


def test_from_the_submission_to_the_first_line(ratio: Ratio, machine: Machine) -> None:
    """The environment is warm; both sides connect anew."""
    ratio("ssh: submission to the script's first line", machine.ours, machine.bare, 1.0, peer_name="ssh", plus_s=PLUS_S, rounds=ROUNDS,
          before_ours=machine.alone, before_peer=machine.alone)  # fmt: skip


def test_with_a_connection_that_is_kept(ratio: Ratio, machine: Machine) -> None:
    """Both sides have a connection already."""
    kept = ("-o", "ControlMaster=auto", "-o", f"ControlPath={machine.sshd.sockets}/bare", "-o", "ControlPersist=60")
    ratio("ssh, connection kept: submission to the first line", machine.ours, lambda: machine.bare(*kept), 1.0, peer_name="ssh", plus_s=PLUS_S,
          rounds=ROUNDS, before_ours=machine.idle, before_peer=machine.idle)  # fmt: skip
