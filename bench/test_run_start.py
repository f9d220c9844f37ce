"""What a run costs beyond its script, once its environment is ready: record, snapshot, isolation, keeper, results."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wardian.events import Listener  # noqa: TC001 - the type of a callback
from wardian.run.configuration import Command, Prepared, RunConfiguration
from wardian.run.record import RunRecord  # noqa: TC001
from wardian.run.records import RunStore
from wardian.run.snapshot import copy
from wardian.run.source_tree import scan
from wardian.run.submit import submit
from wardian.run.targets.local import LocalTarget
from wardian.tools import isolation
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from bench.conftest import AtMost, Ratio


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A hundred files and an ignore file."""
    place = tmp_path / "project"
    for n in range(98):
        path = place / f"package{n % 10}" / f"module{n}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x = {n}\n" * 50)
    (place / "hello.py").write_text("pass\n")
    (place / ".gitignore").write_text("__pycache__/\n*.py[codz]\n*.egg-info/\n/build/\n.env\n.venv/\n*.log\n")
    return place


def test_a_run_against_its_script_alone(ratio: Ratio, project: Path, tmp_path: Path) -> None:
    """A no-op script with a 100-file snapshot, its environment ready and, for root, bound read-only."""
    store = RunStore(Database.open(tmp_path / "workspace.db"))
    configuration = RunConfiguration(Command("script", "hello.py"), source=project)

    def prepare(_record: RunRecord, _listener: Listener) -> Prepared:
        return Prepared(Path(sys.prefix), sys.executable, read_only=(Path(sys.prefix),))

    def ours() -> None:
        record = submit(configuration, store, tmp_path / "runs", prepare, target=LocalTarget(standard_input=False))
        assert store.get(record.id).state == "completed"

    def peer() -> None:
        subprocess.run([sys.executable, "hello.py"], cwd=project, check=True, stdin=subprocess.DEVNULL, capture_output=True)

    ratio("a run beyond its script", ours, peer, 1.0, peer_name="the script alone", plus_s=0.040, rounds=30)


def test_snapshot_of_a_hundred_files(ratio: Ratio, project: Path, tmp_path: Path) -> None:
    """Listed by ignore rules, copied, and digested, against a plain copy. 4 ms on a quiet machine."""
    numbers = itertools.count()
    ratio(
        "snapshot of 100 files", lambda: copy(scan(project), tmp_path / f"ours{next(numbers)}"),
        lambda: shutil.copytree(project, tmp_path / f"peer{next(numbers)}"), 1.0, peer_name="shutil.copytree", plus_s=0.002, rounds=30,
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root: mount namespaces")
def test_private_read_only_mounts(at_most: AtMost, tmp_path: Path) -> None:
    paths = [tmp_path / "packages", tmp_path / "prefix"]
    for path in paths:
        path.mkdir()

    def bind() -> None:
        thread = threading.Thread(target=isolation.bind_read_only, args=(paths,))
        thread.start()
        thread.join()

    at_most("private read-only mounts for root", bind, 0.010, rounds=30)
