"""Runs on a real Slurm in OCI bundles, which runc runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.image_homes import a_home
from tests.support.index import Index
from tests.support.jobs import wait_until
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.slurm import Slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_tool()), reason=missing_tool()),
]
INVENTORY = """
import importlib.metadata, json, os, sys
found = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
print(json.dumps({"python": sys.executable, "found": found, "home": os.environ["HOME"], "job": os.environ["SLURM_JOB_ID"],
                  "secret": len(os.environ.get("API_KEY", "")), "root": sorted(os.listdir("/"))}))
open("outputs/model", "w").close()
try:
    open("/opt/env/written", "w")
except OSError as error:
    print(error.strerror)
raise SystemExit(5)
"""


@pytest.fixture
def cli(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, slurm: Slurm) -> Iterator[Cli]:
    if shutil.which("runc", path="/usr/bin:/usr/sbin:/sbin") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("runc is missing: scripts/test-tools installs it")
    base = f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"
    with Index(tmp_path / "index") as shop:
        wheel = make_wheel(tmp_path / "wheels", "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"})
        shop.add(wheel, datetime(2024, 1, 1, tzinfo=UTC))
        made = a_home(tmp_path / "cli", shop, base, SLURM_CONF=str(slurm.conf))
        made.write("requirements.txt", "alpha\n")
        made.ok("env", "create", "sklearn", "-r", "requirements.txt")
        made.ok("target", "create", "hpc", "--kind", "slurm", "--option", "container=oci")
        yield made
    slurm.call("scancel", "--me", check=False)
    wait_until(lambda: not slurm.call("squeue", "-h", "-o", "%A"))


def run(cli: Cli, *words: str, **options: Any) -> Any:
    return cli.run("run", "-t", "hpc", "-e", "sklearn", *words, **options)


def test_the_job_prints_its_inventory_from_the_image(cli: Cli, tmp_path: Path) -> None:
    cli.write("inventory.py", INVENTORY)
    done = run(cli, "-V", "API_KEY", "inventory.py", variables={"API_KEY": "hunter2hunter2"})
    assert done.code == 5, done.err
    first, refused = done.out.splitlines()
    said = json.loads(first)
    assert said["python"] == "/opt/env/bin/python"
    assert said["found"]["alpha"] == "1.0"
    assert said["secret"] == 14
    assert refused == "Read-only file system"
    assert str(tmp_path).split("/")[1] in said["root"]
    record = cli.json("runs", "show", "latest")
    assert record["results"]["environment"]["image_digest"]
    assert record["results"]["environment"]["lock_digest"]
    assert [one["path"] for one in record["results"]["outputs"]] == ["outputs/model"]
    bundles = list((cli.home / "nodes/images").iterdir())
    before = [path.stat().st_ino for path in bundles]
    assert run(cli, "inventory.py").code == 5
    assert [path.stat().st_ino for path in (cli.home / "nodes/images").iterdir()] == before, "unpacked once"


def test_ends_are_told_and_a_cancel_is_heard(cli: Cli) -> None:
    cli.write("killed.py", "import os; os.kill(os.getpid(), 11)")
    assert run(cli, "killed.py").code == 128 + signal.SIGSEGV
    cli.write("wait.py", "import time; print('up', flush=True); time.sleep(600)")
    assert run(cli, "-d", "wait.py").code == 0
    wait_until(lambda: "up" in cli.run("runs", "logs", "latest").out, pause_s=0.2)
    cli.ok("runs", "cancel", "latest")
    wait_until(lambda: cli.json("runs", "show", "latest")["state"] == "canceled", pause_s=0.2)


def test_what_it_cannot_see_is_refused_before_it_is_submitted(cli: Cli, tmp_path: Path) -> None:
    cli.write("train.py", "")
    data = tmp_path / "data"
    data.mkdir()
    refused = run(cli, "--input", f"data={data}", "train.py")
    assert "is not seen in the container" in refused.err
    assert f"--option mounts={tmp_path}" in refused.err
    several = run(cli, "--nodes", "2", "train.py")
    assert "not run in OCI bundles" in several.err
    shown = run(cli, "--dry-run", "train.py")
    assert "srun --export=ALL --nodes=1 --ntasks=1 --container=" in shown.out
