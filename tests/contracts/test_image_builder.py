"""The contract of what carries out Docker steps, on every adapter."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.containers import BUSYBOX, archive, dockerd, needs, podman_space
from tests.support.jobs import wait_until

from wardian.errors import BuildFailed, InvalidDefinition, InvalidInput, Unavailable
from wardian.image.builder import BuildCanceled, build_image
from wardian.image.builder_buildah import BuildahBuilder, PodmanBuilder
from wardian.image.builder_docker import BuildKitBuilder, DockerBuilder
from wardian.image.engine import EngineUnavailable
from wardian.image.engine_docker import DockerEngine
from wardian.image.engine_podman import PodmanEngine
from wardian.image.engine_way import Way, WayMemory
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import Manifest, read_config, read_manifest
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.events import Event
    from wardian.image.builder import BuiltImage, ImageBuilder
    from wardian.image.oci import ImageConfig

BASE = "FROM localhost/wardian-tests/busybox:1\n"
HIDDEN = "s3cret-of-the-index"
DEBIAN_DOCKER = "/usr/bin/docker"  # has BuildKit built in; a newer one on the PATH may lack the plugin


@pytest.fixture(scope="module")
def podman_environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    needs("buildah")
    with podman_space() as space:
        space.engine().load(archive(BUSYBOX, tmp_path_factory.getbasetemp().parent))
        yield space.environ


@pytest.fixture(scope="module")
def docker_environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with dockerd() as daemon:
        daemon.engine().load(archive(BUSYBOX, tmp_path_factory.getbasetemp().parent))
        yield dict(daemon.environ)


@pytest.fixture(params=[
    "buildah", "podman", pytest.param("buildkit", marks=pytest.mark.slow), pytest.param("docker", marks=pytest.mark.slow)
])  # fmt: skip
def builder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageBuilder:
    kind = request.param
    environ = request.getfixturevalue("docker_environ" if kind in ("buildkit", "docker") else "podman_environ")
    memory = tmp_path_factory.getbasetemp() / "memory"
    if kind in ("buildkit", "docker"):
        program = DEBIAN_DOCKER if Path(DEBIAN_DOCKER).exists() else None
        return BuildKitBuilder(environ, program=program) if kind == "buildkit" else DockerBuilder(environ, program=program)
    return BuildahBuilder(environ, memory=memory) if kind == "buildah" else PodmanBuilder(environ, memory=memory)


@dataclass
class Bench:
    """A store that images are built to, and what was said."""

    builder: ImageBuilder
    place: Path
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = LayoutImageStore(self.place / "layout")

    def build(self, dockerfile: str | None = None, **options: Any) -> BuiltImage:
        options.setdefault("listener", self.events.append)
        return build_image([self.builder], self.store, scratch=self.place / "scratch", dockerfile=dockerfile, **options)

    def log(self) -> str:
        return "\n".join(event.text for event in self.events if event.kind == "output")

    def manifest(self, built: BuiltImage) -> Manifest:
        found = self.store.find(f"sha256:{built.descriptor.digest}")
        assert found is not None
        parsed = read_manifest(found.content, found.descriptor.media_type)
        assert isinstance(parsed, Manifest)
        return parsed

    def config(self, built: BuiltImage) -> ImageConfig:
        with self.store.open(self.manifest(built).config) as stream:
            return read_config(stream.read())

    def files(self, built: BuiltImage) -> dict[str, bytes]:
        """Return the regular files of the image."""
        found: dict[str, bytes] = {}
        for layer in self.manifest(built).layers:
            with self.store.open(layer) as stream:
                content = stream.read()
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                found |= {m.name: t.read() for m in tar if m.isfile() and (t := tar.extractfile(m)) is not None}
        return found

    def everything(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.place.rglob("*") if path.is_file())


@pytest.fixture
def environ(builder: ImageBuilder, request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables that lead to the builder's storage."""
    found = request.getfixturevalue("docker_environ" if builder.name in ("buildkit", "docker") else "podman_environ")
    assert isinstance(found, dict)
    return found


@pytest.fixture
def bench(builder: ImageBuilder, tmp_path: Path) -> Bench:
    return Bench(builder, tmp_path)


def containers(bench: Bench, environ: dict[str, str]) -> list[str]:
    """Return the containers in the builder's storage, those that only builders know included."""
    if bench.builder.name in ("buildkit", "docker"):
        return DockerEngine(environ).call("ps", "--all", "--quiet").stdout.split()
    return PodmanEngine(environ).call("ps", "--all", "--external", "--quiet").stdout.split()


def test_the_check_says_that_it_works(builder: ImageBuilder) -> None:
    check = builder.check()
    assert check.works, check.detail


def test_steps_arguments_and_settings_are_in_the_image(bench: Bench) -> None:
    built = bench.build(
        BASE + 'ARG WHO=nobody\nENV GREETING=hello\nRUN echo "hi $WHO" > /made && echo seen-in-the-log\nWORKDIR /w\nLABEL a=b\n',
        build_args={"WHO": "me"}, names=["mine"],
    )  # fmt: skip
    assert bench.files(built)["made"] == b"hi me\n"
    config = bench.config(built)
    assert dict(config.variables)["GREETING"] == "hello"
    assert dict(config.variables)["FROM_IMAGE"] == "yes"
    assert (config.working_directory, dict(config.labels)["a"], config.platform) == ("/w", "b", "linux/amd64")
    assert "seen-in-the-log" in bench.log()
    assert bench.store.tags() == ["mine"]
    assert (built.builder, bool(built.why)) == (bench.builder.name, True)
    assert list((bench.place / "scratch").iterdir()) == []


def a_context(place: Path) -> Path:
    context = place / "context"
    (context / "sub").mkdir(parents=True)
    (context / "sub/kept.txt").write_text("kept")
    (context / "sub/left.log").write_text("left out")
    (context / "docker").mkdir()
    (context / "docker/Dockerfile").write_text(BASE + "COPY . /all\n")
    return context


@pytest.mark.parametrize("ignore_file", [".dockerignore", ".containerignore"])
def test_a_context_and_its_ignore_file(bench: Bench, ignore_file: str) -> None:
    context = a_context(bench.place)
    (context / ignore_file).write_text("**/*.log\n")
    (context / ".gitignore").write_text("secret.txt\n")
    (context / "secret.txt").write_text("not part of the context's digest")
    names = set(bench.files(bench.build(context=context, name="docker/Dockerfile")))
    assert "all/sub/kept.txt" in names
    assert not names & {"all/sub/left.log", "all/secret.txt"}


def test_what_was_done_before_is_not_done_again(bench: Bench) -> None:
    dockerfile = BASE + f"RUN echo a-step-{os.getpid()} && cat /proc/sys/kernel/random/uuid > /uuid\n"
    first = bench.build(dockerfile)
    assert bench.files(bench.build(dockerfile))["uuid"] == bench.files(first)["uuid"]
    assert bench.files(bench.build(dockerfile, use_cache=False))["uuid"] != bench.files(first)["uuid"]


def test_a_secret_is_there_for_its_step_and_nowhere_else(bench: Bench) -> None:
    if bench.builder.name == "docker":
        pytest.skip("docker's classic builder cannot mount secrets: it says so, see below")
    seen: list[str] = []

    def listener(event: Event) -> None:
        bench.events.append(event)
        if event.kind == "output":
            pids = processes.descendants(os.getpid())
            seen.extend(_command_line(pid) for pid in pids)

    dockerfile = (
        BASE
        + "RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /length && cat /run/secrets/token && false || true\n"
    )
    built = bench.build(dockerfile, secrets={"token": HIDDEN}, listener=listener, use_cache=False)
    assert bench.files(built)["length"].strip() == str(len(HIDDEN)).encode()
    assert HIDDEN not in bench.log()
    assert "***" in bench.log()
    assert HIDDEN.encode() not in bench.everything()
    assert not any(HIDDEN.encode() in content for content in bench.files(built).values())
    assert HIDDEN not in json.dumps([dict(entry) for entry in bench.config(built).history])
    assert not any(HIDDEN in text for text in seen)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize(("steps", "line", "words"), [
    ("RUN true\n\nRUN echo before && \\\n  false\n", 4, "RUN echo before"),
    ("RUN true\nCOPY no-such-file /x\n", 3, "COPY no-such-file"),
    ("RUN no-such-program\n", 2, "RUN no-such-program"),
])  # fmt: skip
def test_a_step_that_fails_is_named_with_file_and_line(
    bench: Bench, environ: dict[str, str], steps: str, line: int, words: str
) -> None:
    with pytest.raises(BuildFailed) as caught:
        bench.build(BASE + steps)
    assert caught.value.stable_code == "docker_build_failed"
    assert caught.value.message.startswith(f"Dockerfile:{line}: `{words}")
    assert caught.value.details == {"file": "Dockerfile", "line": line}
    assert bench.store.tags() == []
    assert containers(bench, environ) == []


def test_a_registry_that_is_not_there_is_told_at_the_base_image(bench: Bench) -> None:
    with pytest.raises(Unavailable, match=r"^Dockerfile:2: `FROM 127") as caught:
        bench.build("# nothing\nFROM 127.0.0.1:9/no-such:1\nRUN true\n", plain_http=True)
    assert caught.value.stable_code == "pull_failed"


def test_faults_of_the_file_come_before_any_builder(bench: Bench) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        bench.build(BASE + "RUNN x\nCOPY a\n")
    assert [(fault.line, fault.code) for fault in caught.value.faults] == [(2, "unknown_instruction"), (3, "missing_argument")]
    assert bench.events == []


def test_an_argument_that_looks_like_a_secret_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match="INDEX_TOKEN") as caught:
        bench.build(BASE, build_args={"INDEX_TOKEN": HIDDEN})
    assert HIDDEN not in str(caught.value)


def test_a_canceled_build_leaves_nothing(bench: Bench, environ: dict[str, str]) -> None:
    read_end, write_end = os.pipe()

    def listener(event: Event) -> None:
        if "a-long-step" in event.text and "echo" not in event.text:
            os.write(write_end, b"x")

    began = time.monotonic()
    with pytest.raises(BuildCanceled):
        bench.build(BASE + "RUN echo a-long-step; sleep 987\n", listener=listener, stop=read_end, use_cache=False)
    os.close(read_end)
    os.close(write_end)
    assert time.monotonic() - began < 60
    wait_until(lambda: not _sleepers())
    wait_until(lambda: containers(bench, environ) == [])  # a daemon does it in its own time
    assert list((bench.place / "scratch").iterdir()) == []
    assert not _secret_places()


_BUILD = """
import os, sys
from pathlib import Path
from wardian.image.builder import build_image
from wardian.image.builder_buildah import BuildahBuilder, PodmanBuilder
from wardian.image.builder_docker import BuildKitBuilder, DockerBuilder
from wardian.image.layout import LayoutImageStore
kind, place, program, dockerfile, secret = sys.argv[1:]
if kind in ("buildah", "podman"): builder = {"buildah": BuildahBuilder, "podman": PodmanBuilder}[kind]()
else: builder = {"buildkit": BuildKitBuilder, "docker": DockerBuilder}[kind](program=program)
build_image([builder], LayoutImageStore(Path(place, "x")), scratch=Path(place, "s"), dockerfile=dockerfile, use_cache=False,
            secrets={"token": secret} if secret else {}, listener=lambda e: print(e.text, flush=True))
"""


def test_a_build_ends_with_the_process_that_wants_it(bench: Bench, environ: dict[str, str]) -> None:
    kind = bench.builder.name
    process = subprocess.Popen(
        [sys.executable, "-c", _BUILD, kind, str(bench.place), DEBIAN_DOCKER, BASE + "RUN echo a-long-step; sleep 987\n",
         "" if kind == "docker" else HIDDEN],
        env=environ | {"PYTHONPATH": ":".join(sys.path)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert any("a-long-step" in line and "echo" not in line for line in process.stdout)
    process.kill()
    with process:
        pass
    wait_until(lambda: not _sleepers() and not _secret_places(), timeout_s=40)
    wait_until(lambda: containers(bench, environ) == [])


def _secret_places() -> list[Path]:
    """Return the directories with secrets whose files hold this test's."""
    return [path.parent for path in Path("/dev/shm").glob("wardian-secrets-*/*") if path.read_text() == HIDDEN]


def _sleepers() -> list[int]:
    return [
        pid
        for pid in map(int, filter(str.isdecimal, (p.name for p in Path("/proc").iterdir())))
        if _command_line(pid).startswith("sleep\x00987")
    ]


@pytest.mark.slow
def test_the_classic_builder_says_what_it_cannot_and_the_next_one_is_taken(
    docker_environ: dict[str, str], podman_environ: dict[str, str], tmp_path: Path
) -> None:
    dockerfile = BASE + "RUN --mount=type=secret,id=t true\n"
    classic = DockerBuilder(docker_environ)
    with pytest.raises(EngineUnavailable, match="not docker: steps that mount secrets or caches"):
        Bench(classic, tmp_path).build(dockerfile)
    store = LayoutImageStore(tmp_path / "layout")
    built = build_image([classic, BuildahBuilder(podman_environ)], store, scratch=tmp_path / "scratch", dockerfile=dockerfile)
    assert built.builder == "buildah"
    assert "not docker: steps that mount" in built.why


def test_steps_are_carried_out_without_a_runtime_too(podman_environ: dict[str, str], tmp_path: Path) -> None:
    program = shutil.which("buildah", path=podman_environ["PATH"])
    assert program is not None
    WayMemory(tmp_path, "build-buildah", program).put(Way(isolation="chroot"))
    bench = Bench(BuildahBuilder(podman_environ, memory=tmp_path), tmp_path)
    assert bench.files(bench.build(BASE + "RUN echo yes > /made\n", use_cache=False))["made"] == b"yes\n"
    assert WayMemory(tmp_path, "build-buildah", program).get() == Way(isolation="chroot")


def test_the_working_containers_of_others_stay(podman_environ: dict[str, str], tmp_path: Path) -> None:
    made = subprocess.run(
        ["buildah", "from", "localhost/wardian-tests/busybox:1"], env=podman_environ, capture_output=True, text=True, check=True
    )
    try:
        with pytest.raises(BuildFailed):
            Bench(PodmanBuilder(podman_environ, memory=tmp_path), tmp_path).build(BASE + "RUN false\n", use_cache=False)
    finally:
        removed = subprocess.run(["buildah", "rm", made.stdout.strip()], env=podman_environ, capture_output=True, check=False)
    assert removed.returncode == 0


def test_parallel_builds_do_not_mix(bench: Bench) -> None:
    other = Bench(bench.builder, bench.place / "other")
    other.place.mkdir()
    found: dict[str, BuiltImage] = {}

    def work(which: Bench, name: str) -> None:
        found[name] = which.build(BASE + f"RUN echo {name} > /name\n")

    threads = [threading.Thread(target=work, args=pair) for pair in ((bench, "one"), (other, "two"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.files(found["one"])["name"] == b"one\n"
    assert other.files(found["two"])["name"] == b"two\n"
