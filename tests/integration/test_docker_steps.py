"""Definitions with Docker steps of their own, and with nothing but an image: built once, pinned, run in podman."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import registry as registries
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.cli import Cli
from tests.support.containers import needs, podman_space
from tests.support.jobs import wait_until
from tests.support.registry import DockerRegistry
from tests.support.wheels import make_wheel

from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.containers import PodmanSpace
    from tests.support.index import Index

pytestmark = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())

OLD = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def space() -> Iterator[PodmanSpace]:
    with podman_space() as found:
        yield found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry's name of an image with Debian's Python."""
    needs("buildah", "skopeo")
    if why := registries.why_not():
        pytest.skip(why)
    layout = debian_base(session_place(tmp_path_factory.getbasetemp())).root
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as running:
        command = [
            "skopeo",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            f"oci:{layout}:debian",
            f"docker://{running.host}/debian:1",
        ]
        subprocess.run(command, check=True)
        yield f"{running.host}/debian:1"


@pytest.fixture
def cli(tmp_path: Path, index: Index, space: PodmanSpace, base: str) -> Cli:
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
    found = Cli.at(tmp_path / "one", index_url=index.url)
    found.variables |= {name: value for name, value in space.environ.items() if name not in ("PATH", "HOME")}
    found.write("Dockerfile", f"FROM {base}\nRUN echo by-hand > /etc/marker\nENV OF_STEPS=yes\n")
    found.write("Broken", f"FROM {base}\n\nRUN false\n")
    return found


def bases(cli: Cli) -> list[str]:
    return [build["state"] for build in cli.json("build", "list", "--kind", "base")["builds"]]


def test_steps_are_what_the_packages_are_put_on_and_are_carried_out_once(cli: Cli) -> None:
    text = (cli.directory / "Dockerfile").read_text().replace("\n", "\n    ")
    cli.write("env.yml", f"name: stepped\ndocker:\n  dockerfile: |\n    {text}\npython:\n  manager: uv\n  pip: [alpha]\n")
    cli.write("show.py", "import alpha, os\nprint(alpha.version, open('/etc/marker').read().strip(), os.environ['OF_STEPS'])\n")
    assert cli.ok("run", "-t", "podman", "-f", "env.yml", "show.py").out == "1.0 by-hand yes\n"
    assert bases(cli) == ["completed"]
    details = cli.json("image", "show", "stepped")
    assert (details["base"], details["dockerfile"].startswith("FROM ")) == ("docker steps", True)

    cli.write("other.yml", (cli.directory / "env.yml").read_text().replace("stepped", "other") + "variables: {A: b}\n")
    assert cli.ok("run", "-t", "podman", "-f", "other.yml", "show.py").out == "1.0 by-hand yes\n"
    assert bases(cli) == ["completed"]
    assert cli.json("image", "show", "other")["digest"] == details["digest"]


def test_an_image_alone_runs_in_a_container_with_the_interpreter_that_it_names(cli: Cli) -> None:
    cli.ok("env", "create", "alone", "--dockerfile", "Dockerfile", "--interpreter", "/usr/bin/python3")
    run = cli.json("run", "-e", "alone", "--", "python3", "-c", "import os; print(os.environ['OF_STEPS'])")
    assert (run["state"], run["configuration"]["target"]) == ("completed", "podman")
    assert run["results"]["environment"]["observed"]["executable"] == "/usr/bin/python3"
    assert run["results"]["environment"]["image_origin"] == "given"


def test_an_interpreter_that_the_image_lacks_is_named_before_the_script_runs(cli: Cli) -> None:
    cli.ok("env", "create", "wrong", "--dockerfile", "Dockerfile", "--interpreter", "/opt/nope/python")
    done = cli.run("run", "-e", "wrong", "--json", "--", "python3", "-c", "print('ran')")
    assert (done.code, "ran" in done.out) == (125, False)
    assert "interpreter_missing" in done.err
    assert "/opt/nope/python" in done.err


def test_a_step_that_fails_is_named_with_its_line_and_leaves_nothing(cli: Cli) -> None:
    cli.ok("env", "create", "broken", "--dockerfile", "Broken", "--interpreter", "/usr/bin/python3")
    done = cli.run("run", "-e", "broken", "--", "true")
    assert done.code == 125
    assert "Dockerfile:3: `RUN false`" in done.err
    (build,) = cli.json("build", "list", "--kind", "base")["builds"]
    assert (build["state"], build["code"]) == ("failed", "docker_build_failed")
    assert not cli.json("image", "show", "broken")["exists"]


def test_a_plain_image_is_what_it_is(cli: Cli, base: str) -> None:
    cli.ok("env", "create", "plain", "--image", base, "--interpreter", "/usr/bin/python3")
    run = cli.json("run", "-e", "plain", "--", "python3", "-c", "import sys; print(sys.version_info[0])")
    assert (run["state"], run["results"]["environment"]["image_origin"]) == ("completed", "given")
    assert bases(cli) == []


def test_build_arguments_and_mounted_secrets_reach_the_steps(cli: Cli, base: str) -> None:
    """The argument decides the identity and can be seen; the secret is read in a step, and is in nothing that is kept."""
    cli.write("Steps", f"FROM {base}\nARG RELEASE=1\nRUN echo $RELEASE > /etc/marker\n"
                       "RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /etc/length\n")  # fmt: skip
    create = [
        "env",
        "create",
        "armed",
        "--dockerfile",
        "Steps",
        "--interpreter",
        "/usr/bin/python3",
        "--build-arg",
        "RELEASE=2",
    ]
    first = cli.json(*create, "--build-secret", "token=team")
    missing = cli.run("run", "-e", "armed", "--", "cat", "/etc/marker")
    assert (missing.code, "none of that name" in missing.err, "wardian secret set team" in missing.err) == (125, True, True)

    cli.run("secret", "set", "team", "--url", "https://team.example.org", stdin="tok-4711-xyzzy")
    bound = cli.run("run", "-e", "armed", "--", "cat", "/etc/marker")
    assert (bound.code, "is a login for https://team.example.org" in bound.err) == (125, True)

    cli.run("secret", "set", "team", stdin="tok-4711-xyzzy")
    done = cli.ok("run", "-e", "armed", "--", "cat", "/etc/marker", "/etc/length")
    assert done.out.split() == ["2", str(len("tok-4711-xyzzy"))]
    assert cli.json("image", "show", "armed")["build_args"] == {"RELEASE": "2"}
    log = cli.ok("build", "logs", cli.json("build", "list", "--kind", "base", "--state", "completed")["builds"][0]["id"])
    assert "xyzzy" not in log.out + log.err + done.err

    other = cli.json(*create[:-1], "RELEASE=3", "--build-secret", "token=team")
    assert other["definition_hash"] != first["definition_hash"]
    assert cli.ok("run", "-e", "armed", "--", "cat", "/etc/marker").out.split() == ["3"]


def test_a_login_that_a_definition_names_must_be_that_of_its_registry(cli: Cli, base: str) -> None:
    host = base.partition("/")[0]
    text = f"name: private\ndocker:\n  base_image: {base}\n  credentials: acr\npython:\n  manager: user\n  interpreter: /usr/bin/python3\n"
    cli.write("private.yml", text)
    done = cli.run("run", "-f", "private.yml", "--", "true")
    assert (done.code, "no secret of that name" in done.err, f"--url https://{host}" in done.err) == (125, True, True)
    cli.run("secret", "set", "acr", "--kind", "registry", "--url", "https://elsewhere.example.org", "--user", "u", stdin="pw")
    done = cli.run("run", "-f", "private.yml", "--", "true")
    assert (done.code, "is kept for" in done.err, "elsewhere.example.org" in done.err) == (125, True, True)
    cli.run("secret", "set", "acr", "--kind", "registry", "--url", f"http://{host}", "--user", "u", stdin="pw")
    assert cli.ok("run", "-f", "private.yml", "--", "true").code == 0


def test_a_canceled_build_stops_in_the_middle_of_a_silent_step(cli: Cli, base: str) -> None:
    cli.write("Slow", f"FROM {base}\nRUN sleep 600\n")
    cli.ok("env", "create", "slow", "--dockerfile", "Slow", "--interpreter", "/usr/bin/python3")
    running = cli.start("run", "-e", "slow", "--", "true")
    wait_until(lambda: "RUN sleep 600" in latest_log(cli), timeout_s=100)
    children = [found for pid in processes.descendants(running.pid) if (found := processes.identify(pid)) is not None]
    cli.ok("build", "cancel", cli.json("build", "list", "--kind", "base")["builds"][0]["id"])
    _, err = running.communicate(timeout=60)
    assert (running.returncode, "was canceled" in err) == (125, True), err
    assert bases(cli) == ["canceled"]
    wait_until(lambda: not any(processes.is_alive(child) for child in children))


def latest_log(cli: Cli) -> str:
    builds = cli.json("build", "list", "--kind", "base")["builds"]
    return cli.ok("build", "logs", builds[0]["id"]).out if builds else ""


def test_an_image_that_is_here_is_used_whatever_registry_is_configured_by_now(cli: Cli, base: str) -> None:
    cli.write("env.yml", f"docker: {{base_image: '{base}'}}\npython: {{manager: uv, pip: [alpha]}}\n")
    cli.ok("env", "create", "here", "-f", "env.yml")
    cli.ok("env", "build", "here", "--image")
    elsewhere = {"WARDIAN_REGISTRY": "127.0.0.1:1/nobody-answers"}
    cli.ok("run", "-e", "here", "-t", "podman", "--", "true", variables=elsewhere)  # from this machine's store
    shutil.rmtree(cli.cache / "images")
    cli.ok("run", "-e", "here", "-t", "podman", "--", "true", variables=elsewhere)  # podman has it
    done = cli.run("env", "build", "here", "--image", variables=elsewhere)  # is to be in that registry
    assert (done.code, "127.0.0.1:1" in done.err) == (7, True)
