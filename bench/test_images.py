"""Images: built, pushed and pulled, against Dockerfiles with pip and with uv that buildah builds."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import random
import shutil
import subprocess
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bench.image_scene import PIP, UV, Buildah, Ours, Podman, pinned, put_base, removed_afterwards, why_not
from bench.memory import peak_memory
from bench.registry_traffic import CountingRelay
from tests.support.containers import dockerd
from tests.support.registry import DockerRegistry
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Fact = Callable[[str, str], None]

    from bench.conftest import Against, Amount, AtMost, Ratio, Stated

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

BY_PIP = "buildah bud (pip install) + push"
BY_UV = "buildah bud (uv, cache mount) + push"
TQDM = ("4.66.1", "4.66.2", "4.66.3", "4.66.4", "4.66.5", "4.66.6", "4.67.0")
TOP = ("tqdm", "pyarrow", "pandas", "matplotlib", "scikit-learn")  # nothing else needs them
PROGRESS_BARS = "tqdm==4.67.1"


@dataclass
class Scene:
    """One registry, both sides, and what was made so far."""

    place: Path
    relay: CountingRelay
    requirements: str
    ours: Ours
    buildah: Buildah
    podman: Podman
    made: dict[str, str] = field(default_factory=dict)
    peer_pulls_s: list[float] = field(default_factory=list)
    peer_pull_bytes: int = 0
    _files: int = 0

    def file(self, text: str) -> Path:
        """Write requirements into a file of their own."""
        self._files += 1
        path = self.place / "definitions" / f"requirements-{self._files}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def with_tqdm(self, version: str) -> str:
        """Return the requirements with another tqdm."""
        assert PROGRESS_BARS in self.requirements
        return self.requirements.replace(PROGRESS_BARS, f"tqdm=={version}")

    def of_peer(self, name: str, dockerfile: str, requirements: str) -> str:
        """Return the peer's image of that name, built once."""
        if name not in self.made:
            self.made[name] = self.buildah.build(name, dockerfile, requirements)
        return self.made[name]

    def cold_pip(self) -> str:
        """The first peer's image."""
        return self.of_peer("pip cold", PIP, self.requirements)

    def changed_pip(self) -> str:
        """The first peer's image with another tqdm."""
        return self.of_peer("pip changed", PIP, self.with_tqdm(TQDM[0]))

    def warm(self) -> str:
        """Our image, in a home that stays from now on."""
        if "ours" not in self.made:
            self.ours.new_home()
            path = self.file(self.requirements)
            self.ours.lock(path)
            self.made["ours"] = self.ours.build(path)
        return self.made["ours"]

    def sent(self, act: Callable[[], object]) -> int:
        """Return the bytes that ``act`` sends to the registry."""
        before = self.relay.sent_bytes
        act()
        return self.relay.sent_bytes - before


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with (
        removed_afterwards(Path(tempfile.mkdtemp(prefix="wardian-bench-"))) as place,
        DockerRegistry(place / "registry") as registry,
        CountingRelay(registry.host) as relay,
    ):
        base = put_base(place, relay.host)
        buildah = Buildah(place / "buildah", relay, base)
        buildah.fetch_base()
        ours = Ours(place / "ours", relay.host, base)
        found = Scene(place, relay, pinned(place), ours, buildah, Podman(place / "podman", relay))
        path = found.file(found.requirements)
        ours.build(path)  # archives are fetched from now on
        yield found


def cold(scene: Scene) -> tuple[Callable[[], object], Callable[[], str]]:
    """Return how a cold build is prepared, and the build: the lock is there, archives are, layers are not."""
    path = scene.file(scene.requirements)

    def prepare() -> None:
        scene.ours.forget_layers()
        scene.ours.new_home()
        scene.ours.lock(path)

    return prepare, lambda: scene.ours.build(path)


def test_cold_against_pip(ratio: Ratio, scene: Scene) -> None:
    prepare, build = cold(scene)
    ratio("image of 20 packages with byte-code, no layer known, built and pushed", build, scene.cold_pip, limit=0.5, peer_name=BY_PIP,
          rounds=1, warm_up=0, before_ours=prepare)  # fmt: skip


def test_cold_against_uv(ratio: Ratio, scene: Scene) -> None:
    prepare, build = cold(scene)
    scene.buildah.build("uv first", UV, scene.requirements)  # fills its cache
    ratio("image of 20 packages with byte-code, no layer known, built and pushed", build,
          lambda: scene.buildah.build("uv", UV, scene.requirements), limit=1.0, peer_name=BY_UV, rounds=2, warm_up=0, before_ours=prepare)  # fmt: skip


def test_peak_memory(amount: Amount, scene: Scene) -> None:
    prepare, _ = cold(scene)
    prepare()
    command = scene.ours.command(scene.file(scene.requirements))
    amount("peak memory of the cold build, all processes", lambda: peak_memory(command, scene.ours.environ), 300e6)


def test_peak_memory_of_a_large_package(amount: Amount, scene: Scene) -> None:
    scene.ours.new_home()
    path = scene.file("./large-1.0-py3-none-any.whl\n")
    write_large_wheel(path.parent / "large-1.0-py3-none-any.whl", blocks=64)
    command = scene.ours.command(path)
    amount("peak memory, a wheel of 1 GiB, locked, built and pushed", lambda: peak_memory(command, scene.ours.environ), 300e6)


def write_large_wheel(target: Path, *, blocks: int) -> None:
    """Write a wheel with a file of so many times 16 MiB, which do not compress."""
    block = random.Random(1).randbytes(16 << 20)  # noqa: S311 - not a secret
    hasher = hashlib.sha256()
    for _ in range(blocks):
        hasher.update(block)
    digest = base64.urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode()
    row = f"large/data.bin,sha256={digest},{blocks * len(block)}\n"
    small = make_wheel(target.parent / "small", "large", "1.0")
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(target, "w") as wheel:
        for name in source.namelist():
            wheel.writestr(name, source.read(name) + (row.encode() if name.endswith("/RECORD") else b""))
        with wheel.open("large/data.bin", "w", force_zip64=True) as stream:
            for _ in range(blocks):
                stream.write(block)


def test_layers_known(against: Against, scene: Scene) -> None:
    path = scene.file(scene.requirements)
    scene.cold_pip()
    scene.warm()

    def prepare() -> None:
        scene.ours.new_home()
        scene.ours.lock(path)

    against("image of 20 packages, layers known, all of them pushed", lambda: scene.ours.build(path),
            scene.buildah.took_s["pip cold"], 0.1, peer_name=BY_PIP, before_ours=prepare)  # fmt: skip
    del scene.made["ours"]


def test_one_package_changed(against: Against, scene: Scene) -> None:
    scene.changed_pip()
    scene.warm()
    changed = iter(TQDM)
    files: list[Path] = []

    def prepare() -> None:
        files.append(scene.file(scene.with_tqdm(next(changed))))
        scene.ours.lock(files[-1])

    def build() -> None:
        scene.made["ours changed"] = scene.ours.build(files[-1])

    against("tqdm changed, built and pushed", build, scene.buildah.took_s["pip changed"], 0.03, peer_name=BY_PIP, rounds=5,
            before_ours=prepare)  # fmt: skip


def test_bytes_of_one_package_changed(amount: Amount, scene: Scene) -> None:
    scene.changed_pip()
    scene.warm()
    path = scene.file(scene.with_tqdm(TQDM[-1]))
    scene.ours.lock(path)
    theirs = scene.buildah.sent_bytes["pip changed"]
    amount("tqdm changed: bytes sent to the registry", lambda: scene.sent(lambda: scene.ours.build(path)), 0.02 * theirs,
           of=f"2 % of {theirs / 1e6:.0f} MB ({BY_PIP})")  # fmt: skip


def test_nothing_changed(at_most: AtMost, scene: Scene) -> None:
    scene.warm()
    path = scene.file(scene.requirements)
    at_most("wardian env build --image, nothing changed", lambda: scene.ours.build(path), 0.3)


def fewer_packages(scene: Scene) -> Iterator[Path]:
    """Yield one environment after the other, all of packages whose layers are known: two that nothing needs are left out."""
    for out in itertools.combinations(TOP, 2):
        kept = [line for line in scene.requirements.splitlines(keepends=True) if line.partition("==")[0] not in out]
        path = scene.file("".join(kept))
        scene.ours.lock(path)
        yield path


def test_all_packages_known(at_most: AtMost, scene: Scene) -> None:
    scene.warm()
    environments = fewer_packages(scene)
    current: list[Path] = []
    at_most("an environment of 18 known packages, built and pushed", lambda: scene.ours.build(current[-1]), 0.5, rounds=5,
            before_ours=lambda: current.append(next(environments)))  # fmt: skip


def test_bytes_of_known_packages(amount: Amount, scene: Scene) -> None:
    scene.warm()
    *_, path = fewer_packages(scene)
    amount(
        "an environment of 18 known packages: bytes sent to the registry",
        lambda: scene.sent(lambda: scene.ours.build(path)),
        100e3,
    )


def test_first_pull(ratio: Ratio, scene: Scene, fact: Fact) -> None:
    """Each into storage that never held anything: ext4 looks for long past inodes that were freed in the last minutes."""
    theirs, ours = scene.cold_pip(), scene.warm()
    machines: list[Podman] = []

    def new_machine() -> None:
        machines.append(Podman(scene.place / f"podman-{len(machines) + 1}", scene.relay))

    def pull(whose: str, reference: str) -> None:
        fact(f"fetched ({whose})", megabytes(machines[-1].pull(reference)))

    ratio("podman pulls all, nothing there before", lambda: pull("ours", ours), lambda: pull("theirs", theirs), limit=1.0,
          peer_name="the image of pip", rounds=3, warm_up=0, before_ours=new_machine, before_peer=new_machine)  # fmt: skip


def test_pull_after_tqdm_changed(against: Against, scene: Scene, fact: Fact) -> None:
    ours = scene.warm()
    path = scene.file(scene.with_tqdm(TQDM[0]))
    pull_after(scene, against, fact, "podman pulls, tqdm changed", (ours, scene.ours.build(path)))


def test_pull_after_a_local_package_changed(against: Against, scene: Scene, fact: Fact) -> None:
    scene.warm()
    images = []
    for version in ("1.0", "1.1"):
        module = "def answer() -> int:\n    return 42\n" * 1000 + f"__version__ = '{version}'\n"
        beside = scene.file("").parent
        wheel = make_wheel(beside, "mine", version, files={f"mine/module{n}.py": module for n in range(20)})
        images.append(scene.ours.build(scene.file(f"{scene.requirements}./{wheel.name}\n")))
    pull_after(scene, against, fact, "podman pulls, a local package changed", (images[0], images[1]))


def pull_after(scene: Scene, against: Against, fact: Fact, name: str, ours: tuple[str, str]) -> None:
    """Hold the pull of the second of two images, the first of which is there, against the peer's."""
    theirs = (scene.cold_pip(), scene.changed_pip())
    if not scene.peer_pulls_s:
        scene.podman.only(theirs[0])
        for _ in range(2):
            scene.podman.forget(theirs[1])
            start = time.perf_counter()
            scene.peer_pull_bytes = scene.podman.pull(theirs[1])
            scene.peer_pulls_s.append(time.perf_counter() - start)
    scene.podman.only(ours[0])

    def pull() -> None:
        fact("fetched", f"{megabytes(scene.podman.pull(ours[1]))} against {megabytes(scene.peer_pull_bytes)}")

    against(
        name,
        pull,
        scene.peer_pulls_s,
        0.1,
        peer_name="the image of pip, tqdm changed",
        before_ours=lambda: scene.podman.forget(ours[1]),
    )


@pytest.mark.skipif(not os.environ.get("BENCH_SLOW"), reason="takes minutes: `BENCH_SLOW=1 make bench`")
def test_docker_pulls(stated: Stated, scene: Scene, fact: Fact) -> None:
    """As gzip, which old dockers know; docker fetches again whatever lies above a changed layer."""
    ours = Ours(scene.place / "ours-gzip", scene.relay.host, scene.ours.base, compression="gzip")
    shutil.copytree(scene.ours.cache / "packages", ours.cache / "packages", copy_function=os.link)
    images = [ours.build(scene.file(text)) for text in (scene.requirements, scene.with_tqdm(TQDM[0]))]
    theirs = [scene.cold_pip(), scene.changed_pip()]
    with dockerd() as daemon:

        def pull(reference: str) -> int:
            before = scene.relay.received_bytes
            subprocess.run(["docker", "pull", "--quiet", reference], env={**daemon.environ}, check=True, capture_output=True)
            return scene.relay.received_bytes - before

        fact("the image of pip: first pull", megabytes(pull(theirs[0])))
        fact("the image of pip: tqdm changed", megabytes(pull(theirs[1])))
        subprocess.run(
            ["docker", "image", "prune", "--all", "--force"], env={**daemon.environ}, check=True, capture_output=True
        )
        fact("ours: first pull", megabytes(stated("docker pulls all, as gzip", lambda: pull(images[0]), rounds=1)))
        fact("ours: tqdm changed", megabytes(pull(images[1])))


def megabytes(size_bytes: int) -> str:
    """Return bytes as the report shows them."""
    return f"{size_bytes / 1e6:.2f} MB"
