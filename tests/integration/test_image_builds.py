"""Builds of images as things one can see: killed anywhere, wanted by many at once, failed for all, detached, canceled."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import registry as registries
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.conda_channel import Channel, greeter, python_package, scripted
from tests.support.image_homes import a_home, image_builds, image_of, kill_inside
from tests.support.index import Index
from tests.support.jobs import wait_until
from tests.support.registry import DockerRegistry
from tests.support.wheels import make_wheel

from wardian.errors import BuildFailed, InstallFailed
from wardian.sdk.workspace import Workspace
from wardian.tools.disk import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Cli

pytestmark = [
    pytest.mark.skipif(bool(missing_tool()), reason=missing_tool()),
    pytest.mark.skipif(bool(registries.why_not()), reason=registries.why_not()),
]

OLD = datetime(2024, 1, 1, tzinfo=UTC)
PIP, CONDA = "all.txt", "environment.yml"
PACKAGES = ("alpha", "beta", "gamma")
WRITES = ("PUT", "POST", "PATCH")


class Around:
    """What all homes share: index, channel, base image; and what the images must be, once they are made."""

    def __init__(self, place: Path, shop: Index, channel_url: str, base: str) -> None:
        self.place, self.shop, self.channel_url, self.base = place, shop, channel_url, base
        self.expected: dict[str, dict[str, Any]] = {}

    def home(self, place: Path, **variables: str) -> Cli:
        cli = a_home(place, self.shop, self.base, channel_url=self.channel_url, **variables)
        cli.write(PIP, "".join(f"{name}\n" for name in PACKAGES))
        cli.write(CONDA, "name: c\nchannels: [local]\ndependencies: [python, greeter]\n")
        cli.write("scripts.yml", "name: s\nchannels: [local]\ndependencies: [python, scripted]\n")
        return cli

    def image(self, file: str) -> dict[str, Any]:
        if file not in self.expected:
            self.expected[file] = image_of(self.home(self.place / f"expected-{file}"), file)
        return self.expected[file]


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    place = tmp_path_factory.mktemp("around")
    base = f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"
    channel = Channel(place / "channel").publish(python_package(), greeter(), scripted())
    with Index(place / "index") as shop, channel.serve() as server:
        for name in PACKAGES:
            shop.add(make_wheel(place / "wheels", name, "1.0", files={f"{name}/__init__.py": f"name = '{name}'\n"}), OLD)
        yield Around(place, shop, server.url, base)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def cli(around: Around, tmp_path: Path) -> Cli:
    return around.home(tmp_path / "one")


# -- killed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "file", "event", "pattern"),
    [
        pytest.param("fetch", PIP, "os.rename", r"/packages/", marks=pytest.mark.slow),
        ("link", CONDA, "os.mkdir", r"/staging/"),
        ("layer", PIP, "open", r"/layers/incoming/"),
        pytest.param("store here", PIP, "os.rename", r"/images/\.wardian/incoming/", marks=pytest.mark.slow),
        pytest.param("note of a layer", PIP, "os.rename", r"/layers/[0-9a-f]{64}\.json", marks=pytest.mark.slow),
        ("store there", PIP, "http.client.send", r"PUT /v2/.*/blobs/"),
        ("manifest and tag", PIP, "http.client.send", r"PUT /v2/.*/manifests/i-"),
    ],
)
def test_a_builder_that_is_killed_leaves_nothing_broken(
    around: Around, registry: DockerRegistry, tmp_path: Path, phase: str, file: str, event: str, pattern: str
) -> None:
    expected = around.image(file)
    place = f"{registry.host}/team/envs"
    one, two = around.home(tmp_path / "one", WARDIAN_REGISTRY=place), around.home(tmp_path / "two", WARDIAN_REGISTRY=place)
    one.ok("env", "lock", file)
    kill_inside(one, event, pattern, tmp_path, "env", "build", file, "--image")

    (build,) = image_builds(one)
    assert (build["state"], build["reason"]) == ("failed", "process ended"), phase
    looked = f"{place}:i-{expected['image_key']}"
    assert not two.json("image", "show", looked)["exists"], phase

    image = image_of(one, file)
    assert (image["digest"], image["origin"]) == (expected["digest"], "built")
    found = image_of(two, file)
    assert (found["digest"], found["origin"]) == (expected["digest"], "workspace registry")
    two.ok("image", "copy", looked, f"oci:{tmp_path / 'copy'}:whole")  # reads every blob against its digest


@pytest.mark.parametrize("pattern", [r"/images/\.wardian/incoming/", r"/images/index\.json"], ids=["manifest", "tag"])
def test_a_builder_that_is_killed_leaves_this_machines_store_whole(
    around: Around, cli: Cli, tmp_path: Path, pattern: str
) -> None:
    expected = around.image(PIP)
    cli.ok("env", "lock", PIP)
    kill_inside(cli, "os.rename", pattern, tmp_path, "env", "build", PIP, "--image")
    assert image_builds(cli)[0]["reason"] == "process ended"
    assert not cli.json("image", "show", f"oci:{cli.cache / 'images'}:i-{expected['image_key']}")["exists"]
    assert image_of(cli, PIP)["digest"] == expected["digest"]


# -- wanted by many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_many_processes_build_and_push_one_image_once(
    around: Around, registry: DockerRegistry, tmp_path: Path, processes: int
) -> None:
    cli = around.home(tmp_path / "one", WARDIAN_REGISTRY=f"{registry.host}/envs")
    running = [cli.start("env", "build", PIP, "--image", "--json") for _ in range(processes)]
    ended = [(*process.communicate(timeout=500), process.returncode) for process in running]
    assert [code for *_, code in ended] == [0] * processes, ended
    assert len(image_builds(cli)) == 1
    assert len(cli.json("build", "list", "--kind", "lock")["builds"]) == 1
    key = image_of(cli, PIP)["image_key"]
    requests = registry.requests()
    assert len([line for line in requests if line.startswith(f"PUT /v2/envs/manifests/i-{key}")]) == 1
    put = [line.partition("digest=")[2] for line in requests if line.startswith("PUT /v2/envs/blobs/")]
    assert len(put) == len(set(put))


def test_who_waits_shares_log_and_error_of_one_attempt(cli: Cli) -> None:
    first = cli.run("env", "build", "scripts.yml", "--image", "--json")
    assert first.code == 1
    (build,) = image_builds(cli)
    assert (build["state"], build["code"]) == ("failed", "link_script_refused")

    logs = [cli.home / f"err-{n}" for n in range(10)]
    with contextlib.ExitStack() as stack:
        flight = FileLock(cli.cache / "flights" / f"i-{build['key']}.lock")
        flight.acquire()
        stack.callback(flight.release)
        streams = [stack.enter_context(log.open("w")) for log in logs]
        running = [cli.start("env", "build", "scripts.yml", "--image", stderr=stream) for stream in streams]
        wait_until(lambda: all("waiting for another process" in log.read_text() for log in logs), timeout_s=200)
        flight.release()
        for process in running:
            process.communicate(timeout=200)
    assert {process.returncode for process in running} == {1}
    assert len(image_builds(cli)) == 2  # one attempt for all ten
    for log in logs:
        assert build["reason"].splitlines()[0] in log.read_text()


# -- detached ----------------------------------------------------------------------------------------------------------


def test_a_detached_build_has_an_id_at_once_and_goes_on(around: Around, cli: Cli) -> None:
    terminal = cli.start("env", "build", PIP, "--image", "--detach", "--json", start_new_session=True)
    begun = json.loads(terminal.communicate(timeout=60)[0])
    with contextlib.suppress(ProcessLookupError):  # what had stayed there would end with it
        os.killpg(terminal.pid, signal.SIGHUP)
    log = cli.ok("build", "logs", "-f", begun["build_id"]).out
    assert "storing" in log
    record = cli.json("build", "show", begun["build_id"])
    assert (record["state"], record["kind"]) == ("completed", "image")
    assert record["outcome"]["digest"] == around.image(PIP)["digest"]
    assert [phase["name"] for phase in record["phases"] if phase["seconds"] is None] == []
    assert image_of(cli, PIP)["cached"]
    assert len(image_builds(cli)) == 1


def test_waiting_for_a_detached_build_raises_its_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cli.environ.items():
        monkeypatch.setenv(name, value)
    workspace = Workspace.open(home=cli.home)
    version = workspace.environments.register_file(cli.directory / "scripts.yml")
    build = workspace.images.submit(version)
    with pytest.raises(BuildFailed) as raised:
        build.wait(timeout_s=120)
    assert raised.value.stable_code == "link_script_refused"
    assert raised.value.exit_code == InstallFailed("x").exit_code
    assert build.status == "failed"
    assert "scripted" in build.log()


def test_a_detached_build_is_canceled(around: Around, registry: DockerRegistry, tmp_path: Path) -> None:
    cli = around.home(tmp_path / "one", WARDIAN_REGISTRY=f"{registry.host}/envs")
    cli.ok("env", "lock", PIP)
    begun = cli.json("env", "build", PIP, "--image", "-d")["build_id"]
    canceled = cli.run("build", "cancel", begun)
    wait_until(lambda: cli.json("build", "show", begun)["state"] != "running", timeout_s=60)
    state = cli.json("build", "show", begun)["state"]
    assert (canceled.code, state) in ((0, "canceled"), (5, "completed"), (0, "completed"))  # it may have been quicker
    if state == "canceled":
        assert not [line for line in registry.requests() if line.startswith("PUT") and "/manifests/i-" in line]
    assert image_of(cli, PIP)["digest"] == around.image(PIP)["digest"]
