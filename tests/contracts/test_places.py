"""The contract of places: one run, through the Python interface, is the same wherever it runs."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.containers import dockerd, podman_space
from tests.support.fake_kubernetes import IMAGE, fake_kubernetes
from tests.support.index import Index
from tests.support.jobs import wait_until
from tests.support.registry import DockerRegistry
from tests.support.registry import why_not as why_no_registry
from tests.support.sshd import Sshd
from tests.support.sshd import why_not as why_no_sshd
from tests.support.wheels import make_wheel

from wardian import Environment, Workspace
from wardian.errors import InvalidInput, WardianError
from wardian.run.configuration import Resources
from wardian.settings import Settings
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.pythons import Catalogue

    from wardian.sdk.runs import Run
    from wardian.workspace.version import EnvironmentVersion

OLD = datetime(2024, 1, 1, tzinfo=UTC)
TOKEN = f"ghp_{secrets.token_hex(18)}"  # nobody else on this machine has it
TRAIN = """
import os, sys, alpha
print("alpha", alpha.version, *sys.argv[1:], flush=True)
print("seed", os.environ.get("SEED"), os.environ["WARDIAN_EXPERIMENT"], len(os.environ.get("API_KEY", "")), file=sys.stderr, flush=True)
with open(os.path.join(os.environ["WARDIAN_OUTPUT_DIR"], "model.txt"), "w") as file: file.write("42")
open("new.txt", "w").close()
with open("data.txt", "a") as file: file.write("more")
"""
ENDLESS = "import time\nopen('up', 'w').close()\nprint('up', flush=True)\nwhile True: time.sleep(0.1)\n"


@dataclass
class Spot:
    """A workspace with a target, and a project."""

    workspace: Workspace
    target: str
    version: EnvironmentVersion
    place: Path

    @property
    def is_container(self) -> bool:
        return self.target in ("podman", "docker")

    def project(self, name: str, script: str) -> Path:
        made = self.place / name
        made.mkdir(exist_ok=True)
        (made / "train.py").write_text(script)
        (made / "data.txt").write_text("data")
        return made

    def run(self, name: str, script: str, *arguments: str, **options: Any) -> Run:
        return self.workspace.submit(
            self.version, "train.py", arguments, source=self.project(name, script), target=self.target, **options
        )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    place = tmp_path_factory.mktemp("shop")
    with Index(place / "index") as running:
        running.add(make_wheel(place / "wheels", "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
        yield running


@pytest.fixture(
    scope="module",
    params=[
        "local",
        pytest.param("podman", marks=pytest.mark.slow),
        pytest.param("docker", marks=pytest.mark.slow),
        pytest.param("slurm", marks=pytest.mark.slow),
        pytest.param("ssh", marks=pytest.mark.slow),
        pytest.param("pods", marks=pytest.mark.slow),
    ],
)
def spot(
    request: pytest.FixtureRequest, shop: Index, python_catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spot]:
    place, name = tmp_path_factory.mktemp("spot"), str(request.param)
    environ = {**os.environ, "WARDIAN_HOME": str(place / "home"), "WARDIAN_CACHE": str(place / "cache"), "WARDIAN_BYTE_CODE": "never",
               "WARDIAN_PYTHON_DOWNLOADS": str(python_catalogue.path)}  # fmt: skip
    kind, options = "", {}
    with pytest.MonkeyPatch.context() as patch:
        for owner in _engine(name, place, request, tmp_path_factory):
            environ |= owner.get("environ", {})
            kind, options = owner.get("kind", ""), owner.get("options", {})
            for key, value in environ.items():
                patch.setenv(key, value)
            (place / "home").mkdir()
            (place / "home/config.toml").write_text(f'lock_platforms = ["linux/amd64"]\n[indexes]\npypi = "{shop.url}"\n')
            workspace = Workspace(Settings.load(), environ=environ)
            if kind:
                workspace.targets.create(name, kind, options)
            (place / "requirements.txt").write_text("alpha\n")
            version = workspace.environments.register(Environment.from_requirements("places", place / "requirements.txt"))[0]
            yield Spot(workspace, name, version, place)


def _engine(
    name: str, place: Path, request: pytest.FixtureRequest, factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Yield once what an engine that runs asks of a workspace."""
    if name in ("podman", "docker"):
        if why := missing_tool():
            pytest.skip(why)
        base = f"oci:{debian_base(session_place(factory.getbasetemp())).root}:debian"
        with podman_space() if name == "podman" else dockerd() as space:
            yield {"environ": {**space.environ, "WARDIAN_BASE_IMAGE": base}}
    elif name == "slurm":
        yield {
            "environ": {"SLURM_CONF": str(request.getfixturevalue("slurm").conf)},
            "kind": "slurm",
            "options": {"partition": "main"},
        }
    elif name == "ssh":
        if why := why_no_sshd():
            pytest.skip(why)
        with Sshd(factory.mktemp("sshd")) as server:
            directory = str(factory.mktemp("there") / "wardian")
            yield {
                "environ": {"XDG_RUNTIME_DIR": server.sockets},
                "kind": "ssh",
                "options": server.options(directory=directory),
            }
    elif name == "pods":
        if why := why_no_registry():
            pytest.skip(why)
        with fake_kubernetes() as cluster, DockerRegistry(factory.mktemp("registry")) as registry:
            cluster.pulls, cluster.in_images = registry.host, {"/agents": str(place / "cache/agents")}
            yield {
                "environ": {"KUBECONFIG": str(cluster.kubeconfig()), "WARDIAN_REGISTRY": f"{registry.host}/team/envs"},
                "kind": "kubernetes",
                "options": {"image": IMAGE},
            }
    else:
        yield {}


def test_success_variables_and_what_it_leaves(spot: Spot) -> None:
    run = spot.run("success", TRAIN, "a b", "$HOME", variables={"SEED": "7", "API_KEY": TOKEN}, experiment="places").wait()
    assert run.record.state == "completed", run.record.reason + run.log()
    assert sorted(run.log().splitlines()) == ["alpha 1.0 a b $HOME", f"seed 7 places {len(TOKEN)}"]
    results = run.record.results
    assert [(one.path, one.size_bytes) for one in results.outputs] == [("outputs/model.txt", 2)]
    assert (results.new_files, results.changed_files) == (("new.txt",), ("data.txt",))
    assert (run.output_directory / "model.txt").read_text() == "42"
    record = run.record
    moments = [record.queued, record.preparing or "", record.running or "", record.ended or ""]
    assert moments == sorted(moments)
    assert all(moments)
    assert run.lock is not None
    assert record.process_exit_code == 0


def test_its_exit_code(spot: Spot) -> None:
    run = spot.run("exit", "raise SystemExit(3)").wait()
    assert (run.record.state, run.record.code, run.record.exit_code, run.record.process_exit_code) == ("failed", "exited", 3, 3)


def test_a_signal(spot: Spot) -> None:
    run = spot.run("signal", "import os, signal\nsignal.signal(6, signal.SIG_DFL)\nos.kill(os.getpid(), 6)\n").wait()
    assert (run.record.state, run.record.code, run.record.signal) == ("failed", "signal", signal.SIGABRT)
    assert run.record.process_exit_code == 128 + signal.SIGABRT


def test_a_time_that_is_up(spot: Spot) -> None:
    run = spot.run("time", ENDLESS, timeout_s=2).wait()
    assert (run.record.state, run.record.code, run.record.process_exit_code) == ("failed", "timeout", 124)


def test_a_script_that_is_not_there_and_a_program_that_is_not(spot: Spot) -> None:
    with pytest.raises(WardianError):
        spot.workspace.submit(spot.version, "no.py", source=spot.project("none", TRAIN), target=spot.target)
    run = spot.workspace.submit(
        spot.version, command=["no-such-program"], source=spot.project("none", TRAIN), target=spot.target
    ).wait()
    assert (run.record.state, run.record.code, run.record.process_exit_code) == ("failed", "not_found", 127)


def test_resources_that_are_not_there(spot: Spot) -> None:
    if spot.target == "pods":
        pytest.skip("a cluster may grow: the run waits there, and says what for")
    with pytest.raises(InvalidInput) as refused:
        spot.run("resources", TRAIN, resources=Resources(memory_bytes=1 << 50))
    assert refused.value.hint


def test_an_image_that_is_not_there(spot: Spot) -> None:
    if not spot.is_container:
        pytest.skip("runs have no image there")
    from wardian.definition.docker_section import DockerSection

    missing = Environment(name="no-image", docker=DockerSection(base_image="127.0.0.1:1/not/there:1"))
    run = spot.workspace.submit(missing, command=["true"], source=None, target=spot.target).wait()
    assert run.record.state == "failed"
    assert run.record.reason


def test_it_is_canceled_while_it_runs(spot: Spot) -> None:
    run = spot.run("cancel", ENDLESS)
    wait_until(lambda: "up" in run.log() or not run.record.is_active, pause_s=0.1)
    run.cancel()
    assert (run.record.state, run.record.code, run.record.process_exit_code) == ("canceled", "canceled", 143)
    assert run.log() == "up\n"
    wait_until(lambda: not processes.with_variable("WARDIAN_RUN_ID", run.id))


def test_it_is_canceled_before_it_runs(spot: Spot) -> None:
    if spot.target != "slurm":
        pytest.skip("nothing waits there")
    first = spot.run("first", ENDLESS, resources=Resources(cpus=4, nodes=2))
    wait_until(lambda: first.status == "running", pause_s=0.1)
    second = spot.run("second", ENDLESS, resources=Resources(cpus=4, nodes=2))
    wait_until(lambda: second.refresh().record.reason, pause_s=0.1)
    assert second.cancel().record.state == "canceled"
    assert second.record.running is None
    first.cancel()


def test_a_log_of_a_hundred_megabytes(spot: Spot) -> None:
    script = "import sys\nline = b'x' * 9999 + b'\\n'\nfor _ in range(10_000): sys.stdout.buffer.write(line)\n"
    run, size_bytes = spot.run("log", script), 0
    for piece in run.follow():
        assert len(piece) <= 4 << 20
        size_bytes += len(piece)
    assert (size_bytes, run.status) == (100_000_000, "completed")
    assert (run.directory / "log.txt").stat().st_size == 100_000_000


def test_a_secret_is_in_no_file_and_no_argument(spot: Spot) -> None:
    script = "import os\nprint(len(os.environ['API_KEY']))\nopen('up', 'w').close()\nimport time\nwhile True: time.sleep(0.1)\n"
    run = spot.run("secret", script, variables={"API_KEY": TOKEN})
    wait_until(run.log, pause_s=0.1)
    try:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert TOKEN.encode() not in process.read_bytes()
            except OSError:
                continue
        # in a process of its own: one that has a database open loses its locks when it opens and closes the file another time
        found = subprocess.run(
            ["grep", "-rlFf", "-", str(spot.place)], input=TOKEN, text=True, capture_output=True, check=False
        )
        assert [path for path in found.stdout.splitlines() if not path.endswith("/secrets.json")] == []
    finally:
        run.cancel()


def test_it_is_reproduced(spot: Spot) -> None:
    first = spot.run("again", TRAIN, variables={"SEED": "7"}).wait()
    assert first.record.state == "completed", first.record.reason
    (spot.place / "again/train.py").write_text("raise SystemExit('another script')")
    again = spot.workspace.runs.reproduce(first.id)
    assert again.record.state == "completed", again.record.reason
    assert again.log() == first.log()
    assert again.record.environment.lock_digest == first.record.environment.lock_digest
    assert again.record.configuration.target == spot.target


def test_this_interpreter_is_not_the_one_that_ran(spot: Spot) -> None:
    run = spot.run("python", "import sys\nprint(sys.executable, sys.prefix)").wait()
    assert sys.prefix not in run.log()
