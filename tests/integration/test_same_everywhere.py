"""The training example, unchanged, on this machine, in podman, over ssh, on Slurm and on Spark: the same metrics, the same files of the same lock."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import machine_packager_variables
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.cli import Cli
from tests.support.containers import podman_space
from tests.support.pythons import installed_pythons, make_standalone
from tests.support.spark import Cluster, why_no_java

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.slurm import Slurm
    from tests.support.sshd import Sshd

pytestmark = [pytest.mark.slow, pytest.mark.network]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/sklearn"
DEFINITION = """name: everywhere
python:
  manager: uv
  version: "==3.11.*"
  pip: ["pyspark==3.5.*", "numpy==2.3.*", "scikit-learn==1.7.*", joblib]
"""
# the example as it is; then the job says itself what it ran with
REPORT = """
import hashlib, importlib.metadata, json, os, runpy, sys

runpy.run_path("train.py", run_name="__main__")
with open("train.py", "rb") as file:
    print("TRAIN " + hashlib.sha256(file.read()).hexdigest())
found = {}
for one in importlib.metadata.distributions():
    kept = {}
    for path in one.files:
        if "__pycache__" not in path.parts and path.parts[0] != ".." and path.name not in ("RECORD", "INSTALLER", "REQUESTED", "uv_cache.json"):
            with open(path.locate(), "rb") as file:
                kept[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    found[one.metadata["Name"].lower().replace("-", "_") + " " + one.version] = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
print("INVENTORY " + json.dumps(found, sort_keys=True))
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory, slurm: Slurm, sshd: Sshd) -> Iterator[Cli]:
    """A workspace with the environment, and every target."""
    if why := (why_no_java() or missing_tool()):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    python = next((path for version, path in installed_pythons() if version.startswith("3.11.")), None)
    if python is None:
        pytest.skip("no Python 3.11, which this PySpark is for, is on this machine")
    place = tmp_path_factory.mktemp("everywhere")
    base = f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"
    with podman_space() as space:
        made = Cli.at(place / "one")
        made.variables |= machine_packager_variables() | space.environ
        made.variables |= {"WARDIAN_BASE_IMAGE": base, "SLURM_CONF": str(slurm.conf), "XDG_RUNTIME_DIR": sshd.sockets}
        (made.home / "config.toml").write_text(
            f'python_downloads = "{make_standalone(place / "pythons", python).path}"\nlock_platforms = ["linux/amd64"]\n'
        )
        made.write("everywhere.yml", DEFINITION)
        made.write("report.py", REPORT)
        shutil.copy(EXAMPLE / "train.py", made.directory)
        made.ok("target", "create", "hpc", "--kind", "slurm", "--option", "partition=main")
        machine = sshd.options(directory=str(place / "there"))
        made.ok(
            "target", "create", "big", "--kind", "ssh", *(w for pair in machine.items() for w in ("--option", "=".join(pair)))
        )
        made.ok("env", "create", "everywhere", "-f", "everywhere.yml")
        made.ok("env", "build", "everywhere", timeout_s=1500)
        yield made
        sshd.hosts_of(machine).close()


@pytest.fixture(scope="module")
def spark(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    python = Path(cli.ok("env", "build", "everywhere", "--print-python").out.strip())
    (home,) = (python.parent.parent / "lib").glob("python3*/site-packages/pyspark")
    with Cluster(home, tmp_path_factory.mktemp("spark") / "cluster") as running:
        yield running


def of_the_lock(cli: Cli) -> dict[str, str]:
    """Return what the job has to say: each wheel, checked against the lock's digest of it, and the digest of what is in it."""
    found = {}
    for package in cli.json("env", "show", "everywhere")["lock"]["packages"]:
        if package["kind"] not in ("wheel", "sdist"):
            continue
        wheel = next(
            path
            for root in (cli.cache / "packages", cli.home / "workspaces/default/artifacts")
            for path in root.rglob("*.whl")
            if path.name.lower().startswith(f"{package['name'].replace('-', '_')}-{package['version']}-")
            and hashlib.sha256(path.read_bytes()).hexdigest() in json.dumps(package)
        )
        with zipfile.ZipFile(wheel) as archive:
            kept = {
                name: hashlib.sha256(archive.read(name)).hexdigest()
                for name in archive.namelist()
                if not name.endswith(("/", "/RECORD")) and ".data/" not in name and "__pycache__" not in name
            }
        stem = f"{package['name'].lower().replace('-', '_')} {package['version']}"
        found[stem] = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    return found


def test_the_example_is_the_same_everywhere(cli: Cli, spark: Cluster) -> None:
    expected = of_the_lock(cli)
    assert {name.partition(" ")[0] for name in expected} >= {"numpy", "scikit_learn", "scipy", "joblib", "pyspark", "py4j"}
    script = hashlib.sha256((EXAMPLE / "train.py").read_bytes()).hexdigest()
    places = {
        "local": ["-t", "local"],
        "podman": ["-t", "podman"],
        "ssh": ["-t", "big"],
        "slurm": ["-t", "hpc", "--cpus", "1"],
        "spark": ["-t", "spark", "--option", f"master={spark.master}", "--option", "spark.executor.memory=512m"],
    }
    metrics: dict[str, Any] = {}
    for name, options in places.items():
        done = cli.run("run", "-e", "everywhere", *options, "report.py", timeout_s=1200)
        assert done.code == 0, (name, done.err)
        said = dict(line.split(" ", 1) for line in done.out.splitlines() if line.startswith(("TRAIN ", "INVENTORY ")))
        assert said["TRAIN"] == script, name
        assert json.loads(said["INVENTORY"]) == expected, name
        run = cli.json("runs", "show", "latest")
        assert run["results"]["environment"]["lock_digest"] == cli.json("env", "show", "everywhere")["lock"]["lock_digest"], (
            name
        )
        metrics[name] = (cli.home / "workspaces/default/runs" / run["id"] / "snapshot/outputs/metrics.json").read_text()
        assert (cli.home / "workspaces/default/runs" / run["id"] / "snapshot/outputs/model.joblib").stat().st_size > 0
    assert len(set(metrics.values())) == 1, metrics
    assert json.loads(metrics["local"])["accuracy"] > 0.9
