"""Runs in podman without a build command: built, pushed, pulled, run; from another home only pulled; every way to end."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import registry as registries
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.cli import Cli
from tests.support.containers import PodmanSpace, podman_space
from tests.support.index import Index
from tests.support.jobs import wait_until
from tests.support.registry import DockerRegistry
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(bool(missing_tool()), reason=missing_tool()),
    pytest.mark.skipif(bool(registries.why_not()), reason=registries.why_not()),
]

OLD = datetime(2024, 1, 1, tzinfo=UTC)
WRITES = ("PUT", "POST", "PATCH")
TRAIN = """
import sys, alpha, os, pathlib
print("alpha", alpha.version, sys.executable, alpha.__file__)
pathlib.Path(os.environ["WARDIAN_OUTPUT_DIR"], "model.txt").write_text("42")
"""
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nwhile True: time.sleep(1)\n"


class Surroundings:
    """An index, a registry and a podman that several homes share."""

    def __init__(self, place: Path, shop: Index, registry: DockerRegistry, base: str) -> None:
        self.place, self.shop, self.registry, self.base = place, shop, registry, base

    def home(self, name: str, space: PodmanSpace) -> Cli:
        cli = Cli.at(self.place / name, index_url=self.shop.url)
        cli.variables |= space.environ
        cli.variables |= {"WARDIAN_BASE_IMAGE": self.base, "WARDIAN_REGISTRY": f"{self.registry.host}/team/envs"}
        cli.write("requirements.txt", "alpha\n")
        cli.write("train.py", TRAIN)
        return cli


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    place = tmp_path_factory.mktemp("around")
    base = f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"
    with DockerRegistry(place / "registry") as registry, Index(place / "index") as shop:
        shop.add(make_wheel(place / "wheels", "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
        yield Surroundings(place, shop, registry, base)


@pytest.fixture(scope="module")
def space() -> Iterator[PodmanSpace]:
    with podman_space() as found:
        yield found


@pytest.fixture(scope="module")
def home(around: Surroundings, space: PodmanSpace) -> Cli:
    """A home that has run in its image before."""
    cli = around.home("one", space)
    cli.ok("run", "-t", "podman", "-r", "requirements.txt", "train.py")
    return cli


@pytest.fixture
def cli(home: Cli, space: PodmanSpace) -> Iterator[Cli]:
    yield home
    assert space.names() == []


def runs_of(cli: Cli) -> list[dict[str, Any]]:
    return list(cli.json("runs", "list")["runs"])


def test_without_a_build_command_it_is_built_pushed_pulled_and_run(around: Surroundings, space: PodmanSpace) -> None:
    one = around.home("first", space)
    one.write("requirements.txt", "alpha==1.0\n")  # a definition of its own
    one.ok("env", "create", "sklearn", "-r", "requirements.txt")
    before = one.json("image", "show", "sklearn")
    assert (before["exists"], before["reason"]) == (False, "sklearn:1 is not locked for linux/amd64 yet")

    done = one.ok("run", "-t", "podman", "-e", "sklearn", "train.py")
    assert "alpha 1.0 /opt/env/bin/python /opt/env/" in done.out
    after = one.json("image", "show", "sklearn")
    assert (after["exists"], after["store"]) == (True, f"{around.registry.host}/team/envs")
    (listed,) = runs_of(one)
    run = one.json("runs", "show", listed["id"])
    made_with = run["results"]["environment"]
    assert (run["state"], made_with["image_digest"], made_with["image_origin"]) == (
        "completed",
        after["digest"],
        "built",
    )
    kinds = [build["kind"] for build in one.json("build", "list")["builds"]]
    assert sorted(kinds) == ["image", "lock"]
    requests = around.registry.requests()
    assert any(line.startswith(WRITES) for line in requests)

    with podman_space() as elsewhere:
        two = around.home("second", elsewhere)
        two.write("requirements.txt", "alpha==1.0\n")
        looked = around.shop.downloads()
        done = two.ok("run", "-t", "podman", "-r", "requirements.txt", "train.py")
        assert "alpha 1.0 /opt/env/bin/python" in done.out
        assert "workspace registry" in done.err
        new = around.registry.requests()[len(requests) :]
        assert [line for line in new if line.startswith(WRITES)] == []
        pulled = {line.split()[1].rpartition("sha256:")[2] for line in new if line.startswith("GET") and "/blobs/" in line}
        assert {layer["digest"] for layer in after["layers"]} <= pulled
        assert not (two.cache / "layers").exists()
        assert two.json("build", "list")["builds"] == []  # neither solved nor built
        assert around.shop.downloads() == looked
        assert elsewhere.names() == []

        asked = around.registry.requests()
        two.ok("run", "-t", "podman", "-r", "requirements.txt", "train.py")
        assert around.registry.requests() == asked  # pinned and present: nobody is asked


@pytest.mark.parametrize(
    ("script", "words", "code"),
    [
        ("import sys; sys.exit(3)\n", ("train.py",), 3),
        ("import os; os.kill(os.getpid(), 9)\n", ("train.py",), 128 + 9),
        ("", ("--", "no-such-program"), 127),
        ("not a program\n", ("--", "./train.py"), 126),
        ("import time; time.sleep(600)\n", ("--time", "1s", "train.py"), 124),
    ],
)
def test_the_exit_code_is_as_in_a_shell(cli: Cli, script: str, words: tuple[str, ...], code: int) -> None:
    cli.write("train.py", script)
    done = cli.run("run", "-t", "podman", "-r", "requirements.txt", *words)
    assert done.code == code, done.err


def test_options_of_the_target_are_taken_and_recorded(cli: Cli) -> None:
    options = ["--option", "shm=48M", "--option", "arguments=--network none --hostname inside"]
    script = "import os, socket; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize, socket.gethostname())"
    done = cli.json("run", "-t", "podman", *options, "-r", "requirements.txt", "--", "python", "-c", script)
    assert cli.ok("runs", "logs", done["id"]).out == f"{48 << 20} inside\n"
    assert done["configuration"]["options"] == {"shm": "48M", "arguments": "--network none --hostname inside"}
    local = cli.run("run", *options, "-r", "requirements.txt", "--", "true")
    assert (local.code, "has no options" in local.err) == (125, True)


def test_what_wardian_cannot_do_is_125(cli: Cli) -> None:
    cli.write("others.txt", "alpha>=1\n")  # of which nothing is here yet: what is known needs no registry
    done = cli.run("run", "-t", "podman", "-r", "others.txt", "--", "true", variables={"WARDIAN_REGISTRY": "127.0.0.1:1/envs",
                                                                                       "WARDIAN_TIMEOUT_S": "2"})  # fmt: skip
    assert done.code == 125
    assert "127.0.0.1:1" in done.err


def test_an_interrupt_stops_the_container(cli: Cli) -> None:
    cli.write("train.py", STUBBORN)
    running = cli.start("run", "-t", "podman", "-r", "requirements.txt", "train.py")
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    os.kill(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, out + err
    assert runs_of(cli)[0]["state"] == "canceled"


@pytest.mark.parametrize("how", ["cancel", "time"])
def test_a_detached_run_is_stopped_with_its_container(cli: Cli, how: str) -> None:
    cli.write("train.py", STUBBORN)
    limit = ("--time", "2s") if how == "time" else ()
    run_id = cli.ok("run", "-d", *limit, "-t", "podman", "-r", "requirements.txt", "train.py").out.strip()
    if how == "cancel":
        wait_until(lambda: "ready" in cli.ok("runs", "logs", run_id).out, timeout_s=60)
        cli.ok("runs", "cancel", run_id)
    wait_until(lambda: cli.json("runs", "show", run_id)["state"] not in ("queued", "preparing", "running"), timeout_s=60)
    record = cli.json("runs", "show", run_id)
    assert (record["state"], record["code"]) == (("canceled", "canceled") if how == "cancel" else ("failed", "timeout"))


def test_a_detached_run_keeps_log_and_outputs(cli: Cli) -> None:
    cli.write("train.py", TRAIN)
    run_id = cli.ok("run", "-d", "-t", "podman", "-r", "requirements.txt", "train.py").out.strip()
    cli.ok("runs", "wait", run_id)
    assert "alpha 1.0" in cli.ok("runs", "logs", run_id).out
    record = cli.json("runs", "show", run_id)
    assert [found["path"] for found in record["results"]["outputs"]] == ["outputs/model.txt"]
    model = cli.json("model", "create", "answer", "model.txt", "--run", run_id)
    made_with = record["results"]["environment"]
    assert (model["image_digest"], model["lock_digest"]) == (made_with["image_digest"], made_with["lock_digest"])
    assert Path(model["path"]).read_text() == "42"
    again = cli.ok(
        "run",
        "-t",
        "podman",
        "-e",
        f"model:{model['reference']}",
        "--input",
        "m=model:answer",
        "--",
        "sh",
        "-c",
        'cat "$WARDIAN_INPUT_M"',
    )
    assert again.out == "42"
    assert cli.json("runs", "show", "latest")["results"]["environment"]["image_digest"] == model["image_digest"]
