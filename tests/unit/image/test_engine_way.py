"""Which way to start containers follows from what an engine says, and is remembered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from wardian.errors import InvalidInput
from wardian.image.engine import Container, EngineUnavailable, Mount
from wardian.image.engine_cli import words
from wardian.image.engine_docker import DockerEngine
from wardian.image.engine_podman import _NOWHERE, PodmanEngine
from wardian.image.engine_run import start_failure
from wardian.image.engine_way import Way, WayMemory

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = "Error: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied"
RUNC_LIMIT = "Error: runc: runc create failed: error setting rlimits for ready process: error setting rlimit type 7: operation not permitted"
HYBRID = "Error: OCI runtime error: crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2"


def test_this_machines_two_errors_lead_to_runc_with_ulimits() -> None:
    first = Way().after(LIMIT, has_runc=True)
    assert first == Way(limits=1)
    second = first.after(HYBRID, has_runc=True)
    assert second == Way("runc", limits=1)
    assert second.after(RUNC_LIMIT, has_runc=True) == Way("runc", limits=2)
    assert Way("runc", limits=2).after(RUNC_LIMIT, has_runc=True) is None
    assert str(second) == "with runc, with ulimits given"
    assert [limit.split("=")[0] for limit in second.ulimits()] == ["nofile", "nproc"]


def test_what_nothing_helps_against() -> None:
    assert Way().after("Error: no space left on device", has_runc=True) is None
    assert Way().after(HYBRID, has_runc=False) is None
    assert Way("runc").after(HYBRID, has_runc=True) is None


def test_builders_can_do_without_a_runtime() -> None:
    assert Way("runc").after(HYBRID, has_runc=True, can_chroot=True) == Way(isolation="chroot")
    assert Way().after(HYBRID, has_runc=False, can_chroot=True) == Way(isolation="chroot")
    assert Way(isolation="chroot").after(HYBRID, has_runc=False, can_chroot=True) is None


def test_a_way_is_remembered_while_the_engine_is_the_same(tmp_path: Path) -> None:
    program = tmp_path / "podman"
    program.write_text("1")
    WayMemory(tmp_path / "memory", "podman", str(program)).put(Way("runc", limits=1))
    memory = WayMemory(tmp_path / "memory", "podman", str(program))
    assert memory.is_known
    assert memory.get() == Way("runc", limits=1)
    program.write_text("another one")
    memory = WayMemory(tmp_path / "memory", "podman", str(program))
    assert not memory.is_known
    assert memory.get() == Way()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"runtime": "sh -c x", "limits": 0}', '{"runtime": "runc", "isolation": "", "limits": "x"}']
)
def test_a_damaged_memory_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "engine-podman.json").write_text(text)
    assert WayMemory(tmp_path, "podman", "/no/such").get() == Way()


def test_how_containers_start_is_found_out_while_an_image_comes(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    program, calls = tmp_path / "podman", tmp_path / "calls"
    program.write_text(
        f"""#!/bin/sh
echo "$1" >> {calls}
case "$*" in
  run*--ulimit*) echo "{HYBRID}" >&2; exit 126 ;;
  run*) echo "{LIMIT}" >&2; exit 126 ;;
  *run*) echo "Error: no {_NOWHERE}" >&2; exit 127 ;;
  image*) echo '[{{"Id": "sha256:1", "Os": "linux", "Architecture": "amd64"}}]' ;;
  *) echo sha256:1 ;;
esac
"""
    )
    program.chmod(0o755)
    (tmp_path / "runc").symlink_to("/bin/true")

    def engine() -> PodmanEngine:
        path = f"{tmp_path}:/usr/bin:/bin"
        return PodmanEngine({"PATH": path}, program=str(program), memory=tmp_path / "memory")

    engine().load("r.example/x@sha256:1")
    assert WayMemory(tmp_path / "memory", "podman", str(program)).get() == Way("runc", limits=1)
    tried = calls.read_text().count("run")
    assert tried == 3
    engine().load("r.example/x@sha256:1")  # it is known by now
    assert calls.read_text().count("run") == tried


def test_an_engine_that_is_not_installed_says_so(tmp_path: Path) -> None:
    for engine in (PodmanEngine({"PATH": str(tmp_path)}), DockerEngine({"PATH": str(tmp_path)})):
        check = engine.check()
        assert (check.works, check.detail) == (False, f"{engine.name} is not installed")
        with pytest.raises(EngineUnavailable, match="is not installed"):
            engine.find("x")


def an_engine(place: Path, kind: type[PodmanEngine | DockerEngine]) -> PodmanEngine | DockerEngine:
    return kind({"PATH": str(place)}, program="/usr/bin/true")


def test_graphics_cards_are_said_in_each_engines_way(tmp_path: Path) -> None:
    container = Container("n", "sha256:0", ("python", "-c", "x"), gpus=2, user="5:5", extra=("--cap-add", "SYS_PTRACE"))
    podman = an_engine(tmp_path, PodmanEngine).command(container)
    docker = an_engine(tmp_path, DockerEngine).command(container)
    assert podman is not None
    assert docker is not None
    assert "--device nvidia.com/gpu=0 --device nvidia.com/gpu=1" in " ".join(podman.start)
    assert "--gpus 2" in " ".join(docker.start)
    for command in (podman, docker):
        assert command.start[-7:] == ("--entrypoint", "python", "--cap-add", "SYS_PTRACE", "sha256:0", "-c", "x")


@pytest.mark.parametrize("path", ["/a,readonly", "/a\nb", '/a"b'])
def test_a_mount_cannot_say_more_than_a_path(tmp_path: Path, path: str) -> None:
    container = Container("n", "sha256:0", ("x",), mounts=(Mount(tmp_path, path),))
    with pytest.raises(InvalidInput) as caught:
        an_engine(tmp_path, PodmanEngine).command(container)
    assert caught.value.stable_code == "bad_mount"


@pytest.mark.parametrize(("said", "expected"), [
    ("Error: x\n", "x"),
    ("docker: Error response from daemon: x.\nSee 'docker run --help'.\n", "x."),
    ("time=now level=warning msg=w\nError: x", "x"),
    ("payload does not match any:\n * oci: no such file or directory\n * docker-archive: broken\n * dir: not a directory", "docker-archive: broken"),
    ("", "it says nothing"),
])  # fmt: skip
def test_an_engines_words_without_its_frame(said: str, expected: str) -> None:
    assert words(said) == expected


@pytest.mark.parametrize(("said", "code"), [
    ('runc: exec: "/x": stat /x: no such file or directory: OCI runtime attempted to invoke a command that was not found', "program_not_found"),
    ('exec: "/etc": permission denied: unknown.', "program_not_executable"),
    ("exec /x: exec format error", "program_not_executable"),
    ("no space left on device", "container_failed"),
])  # fmt: skip
def test_why_a_container_did_not_start(said: str, code: str) -> None:
    assert start_failure(f"Error: {said}", Container("n", "i", ("/x",))).stable_code == code


def test_logins_are_never_shown(tmp_path: Path) -> None:
    from wardian.image.engine import Login

    login = Login("u", "p4ssword")
    assert "p4ssword" not in repr(login)
    found = an_engine(tmp_path, PodmanEngine).login_variables(tmp_path, "r:5000", login)
    path = found["REGISTRY_AUTH_FILE"]
    assert json.loads((tmp_path / "auth.json").read_text())["auths"]["r:5000"]["auth"]
    assert (tmp_path / "auth.json").stat().st_mode & 0o777 == 0o600
    assert path == str(tmp_path / "auth.json")
