"""The contract of container engines, on every adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.containers import BUSYBOX, Dockerd, PodmanSpace, archive, dockerd, podman_space
from tests.support.jobs import wait_until

from wardian.errors import BadArchive, InvalidInput, Unavailable
from wardian.image.engine import RUN_LABEL, Container, ContainerFailed, Mount
from wardian.image.engine_run import ContainerEnd, owner_labels, run_container, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.image.engine import ContainerEngine, LocalImage

Space = PodmanSpace | Dockerd


@pytest.fixture(scope="module", params=["podman", pytest.param("docker", marks=pytest.mark.slow)])
def space(request: pytest.FixtureRequest) -> Iterator[Space]:
    with podman_space() if request.param == "podman" else dockerd() as found:
        yield found


@pytest.fixture(scope="module")
def busybox(space: Space, tmp_path_factory: pytest.TempPathFactory) -> LocalImage:
    return space.engine().load(archive(BUSYBOX, tmp_path_factory.getbasetemp().parent))


@pytest.fixture
def engine(space: Space) -> ContainerEngine:
    return space.engine()


class Seen:
    """What a container wrote."""

    def __init__(self) -> None:
        self.streams = {1: b"", 2: b""}
        self.at = {b"": threading.Event()}

    def __call__(self, stream: int, chunk: bytes) -> None:
        self.streams[stream] += chunk


def a_container(image: LocalImage, *command: str, **changes: object) -> Container:
    name = f"wardian-test-{os.getpid()}-{time.monotonic_ns()}"
    return Container(name, image.id, command, labels=owner_labels(name), **changes)  # type: ignore[arg-type]


def ran(engine: ContainerEngine, container: Container) -> tuple[int, str, str]:
    seen = Seen()
    end = run_container(engine, container, seen)
    return end.code, seen.streams[1].decode(), seen.streams[2].decode()


def test_the_check_says_that_it_works(engine: ContainerEngine) -> None:
    check = engine.check()
    assert check.works, check.detail
    assert check.name == engine.name
    assert check.version[0].isdigit()


def test_images_are_found_by_id_and_name_and_what_is_not_there_is_none(engine: ContainerEngine, busybox: LocalImage) -> None:
    assert busybox.id.startswith("sha256:")
    assert busybox.platform == "linux/amd64"
    assert dict(busybox.variables)["FROM_IMAGE"] == "yes"
    assert engine.find(busybox.id) == busybox
    assert engine.find("localhost/wardian-tests/busybox:1") == busybox
    assert engine.find("localhost/wardian-tests/no-such:1") is None
    assert engine.find(f"localhost/x@sha256:{'0' * 64}") is None
    assert engine.find("sha256:" + "0" * 64) is None


def test_an_archive_is_read_again_without_harm_and_a_broken_one_is_named(
    engine: ContainerEngine, busybox: LocalImage, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert engine.load(archive(BUSYBOX, tmp_path_factory.getbasetemp().parent)) == busybox
    (tmp_path / "broken.tar").write_bytes(b"no archive")
    with pytest.raises(BadArchive, match=r"broken\.tar"):
        engine.load(tmp_path / "broken.tar")


def test_a_registry_that_is_not_there_is_an_error(engine: ContainerEngine) -> None:
    with pytest.raises(Unavailable) as caught:
        engine.load(f"127.0.0.1:9/nothing@sha256:{'0' * 64}", plain_http=True)
    assert caught.value.stable_code == "pull_failed"


def test_output_and_exit_code_are_the_programs(engine: ContainerEngine, busybox: LocalImage, space: Space) -> None:
    assert ran(engine, a_container(busybox, "sh", "-c", "echo out; echo err >&2; exit 3")) == (3, "out\n", "err\n")
    assert space.names() == []


@pytest.mark.parametrize("code", [0, 125, 126, 127, 255])
def test_codes_that_the_engine_uses_too_are_told_apart(engine: ContainerEngine, busybox: LocalImage, code: int) -> None:
    assert ran(engine, a_container(busybox, "sh", "-c", f"echo words >&2; exit {code}")) == (code, "", "words\n")


@pytest.mark.parametrize(("program", "code"), [
    ("/no/such", "program_not_found"), ("no-such", "program_not_found"), ("/etc/passwd", "program_not_executable"),
])  # fmt: skip
def test_a_program_that_cannot_be_started_is_the_containers_failure(
    engine: ContainerEngine, busybox: LocalImage, space: Space, program: str, code: str
) -> None:
    with pytest.raises(ContainerFailed, match=program) as caught:
        ran(engine, a_container(busybox, program))
    assert caught.value.stable_code == code
    assert space.names() == []


def test_an_image_that_is_not_here_is_not_fetched(engine: ContainerEngine, busybox: LocalImage) -> None:
    with pytest.raises(ContainerFailed):
        ran(engine, Container("wardian-none", "sha256:" + "0" * 64, ("true",)))


def test_mounts_directory_user_and_variables(engine: ContainerEngine, busybox: LocalImage, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/data.txt").write_text("data")
    (tmp_path / "work").mkdir()
    script = "cat /in/data.txt; touch /in/x && exit 9; touch made; id -u; echo; pwd; echo $A; echo $B; echo $FROM_IMAGE"
    mounts = (Mount(tmp_path / "in", "/in", read_only=True), Mount(tmp_path / "work", "/w"))
    variables = {"A": "one two", "B": "first\nsecond"}
    code, out, err = ran(engine, a_container(busybox, "sh", "-c", script, mounts=mounts, directory="/w", variables=variables))
    assert (code, out.split()) == (0, ["data0", "/w", "one", "two", "first", "second", "yes"])
    assert "Read-only" in err
    assert (tmp_path / "work/made").stat().st_uid == os.geteuid()


def test_a_path_that_the_command_line_cannot_say_is_refused(
    engine: ContainerEngine, busybox: LocalImage, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"a,readonly"):
        ran(engine, a_container(busybox, "true", mounts=(Mount(tmp_path / "a,readonly", "/a"),)))


def test_values_are_in_no_list_of_processes(engine: ContainerEngine, busybox: LocalImage, tmp_path: Path) -> None:
    command = engine.command(a_container(busybox, "true", variables={"KEY": "s3cret", "TWO": "s3cret\nx"}), variables_path="/v")
    assert command is not None
    assert "s3cret" not in " ".join(command.start)
    assert command.variables_file == "KEY=s3cret\n"


def test_shared_memory_memory_and_cpus(engine: ContainerEngine, busybox: LocalImage) -> None:
    script = "stat -f -c '%b %s' /dev/shm; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"
    limits = {"shm_bytes": 32 << 20, "memory_bytes": 100 << 20, "cpus": 0.5}
    code, out, _ = ran(engine, a_container(busybox, "sh", "-c", script, **limits))
    blocks, size, *memory = out.split()
    assert (code, int(blocks) * int(size)) == (0, 32 << 20)
    assert memory in ([], [str(100 << 20)])


def test_further_arguments_go_to_the_engine(engine: ContainerEngine, busybox: LocalImage) -> None:
    extra = ("--network", "none", "--hostname", "elsewhere")
    assert ran(engine, a_container(busybox, "sh", "-c", "cat /proc/sys/kernel/hostname", extra=extra))[1] == "elsewhere\n"


def test_stop_is_term_then_kill(engine: ContainerEngine, busybox: LocalImage, space: Space) -> None:
    def stopped(script: str, grace_s: float) -> ContainerEnd:
        read_end, write_end = os.pipe()

        def take(_stream: int, chunk: bytes) -> None:
            if b"ready" in chunk:
                os.write(write_end, b"x")

        try:
            return run_container(engine, a_container(busybox, "sh", "-c", script), take, stop=read_end, grace_s=grace_s)
        finally:
            os.close(read_end)
            os.close(write_end)

    kind = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    assert stopped(kind, 60) == ContainerEnd(7, stopped=True)
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    assert stopped(stubborn, 0.2).stopped
    assert space.names() == []


def test_a_container_whose_time_is_up_is_stopped(engine: ContainerEngine, busybox: LocalImage, space: Space) -> None:
    container = a_container(busybox, "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done")
    end = run_container(engine, container, Seen(), timeout_s=1.0)
    assert end.stopped
    assert space.names() == []


def test_containers_of_dead_owners_are_swept_and_those_of_living_ones_stay(
    engine: ContainerEngine, busybox: LocalImage, space: Space, tmp_path: Path
) -> None:
    commands = []
    for name, owner in (("wardian-dead", _dead_owner()), ("wardian-alive", owner_labels("wardian-alive"))):
        labels = {**owner, RUN_LABEL: name}
        command = engine.command(Container(name, busybox.id, ("sleep", "600"), labels=labels, removes_itself=False))
        assert command is not None
        commands.append(command)
    processes = [
        subprocess.Popen(c.start, env=dict(c.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands
    ]
    wait_until(lambda: len(space.names()) == 2)
    assert sweep(engine) == ["wardian-dead"]
    assert space.names() == ["wardian-alive"]
    assert engine.remove(lambda labels: labels[RUN_LABEL] == "wardian-alive") == ["wardian-alive"]
    assert space.names() == []
    for process in processes:
        process.wait(timeout=60)


def _dead_owner() -> dict[str, str]:
    code = "from wardian.image.engine_run import owner_labels; import json; print(json.dumps(owner_labels('x')))"
    found: dict[str, str] = json.loads(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)
    return found
