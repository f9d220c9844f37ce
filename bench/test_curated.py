"""The first run of a curated image, against the same definition that nobody has locked or built before."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bench.image_scene import BIN, put_base, why_not
from tests.support.base_images import slim_base
from tests.support.containers import PodmanSpace, podman_space
from tests.support.curated import make
from tests.support.pythons import installed_pythons, make_standalone
from tests.support.registry import DockerRegistry

from wardian.curated.catalogue import PACKAGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.conftest import Ratio

NAME = "Wardian-sklearn-1.9-py312-cpu"
FIRST_LINE = "print('first line', flush=True)\nimport sklearn\n"
MINOR = "3.12"

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.skipif(
        not any(v.startswith(MINOR) for v, _ in installed_pythons()), reason=f"needs a Python {MINOR} to repack"
    ),
]


class Scene:
    """A registry that holds the curated image, and users who have nothing yet."""

    def __init__(self, place: Path, registry: DockerRegistry) -> None:
        self.place, self.registry = place, registry
        self.base = put_base(place / "base", registry.host, slim_base)  # as the default: the environment brings its Python
        executable = next(path for version, path in installed_pythons() if version.startswith(MINOR))
        self.pythons = make_standalone(place / "pythons", executable)
        self.catalogue, self.empty = place / "curated", place / "empty"
        draft = self.catalogue / NAME / "1"
        draft.mkdir(parents=True)
        for file in ("environment.yml", "smoke.py"):
            shutil.copy(PACKAGED / NAME / "1" / file, draft)
        make(self.catalogue, "publish", NAME, "--pythons", str(self.pythons.path), "--platform", "linux/amd64")
        self.empty.mkdir()
        (self.empty / "catalogue.json").write_text(json.dumps({"schema": 1, "environments": {}}))
        self.project = place / "project"
        self.project.mkdir()
        (self.project / "train.py").write_text(FIRST_LINE)
        text = (draft / "environment.yml").read_text()
        (self.project / "own.yml").write_text(text.replace(NAME, "own"))
        self.shared = f"{registry.host}/curated"
        self.user = 0
        self.space: PodmanSpace | None = None
        self.spaces = contextlib.ExitStack()
        self.process: subprocess.Popen[str] | None = None
        self.begin(self.catalogue, "catalog", "build", NAME, "--to", self.shared)
        self.finish()

    def forget(self) -> None:
        """Become somebody who has never run anything; what was begun is waited for first.

        Nothing is removed before the end: ext4 passes over inodes for five seconds after, which makes the next writer slow.
        """
        self.finish()
        self.user += 1
        self.space = self.spaces.enter_context(podman_space())

    def begin(self, catalogue: Path, *words: str) -> str:
        """Call `wardian` as the user of now, and return its first line as soon as it is there."""
        home = self.place / f"user-{self.user}"
        ours = {
            "WARDIAN_HOME": home / "home", "WARDIAN_CACHE": home / "cache", "WARDIAN_BASE_IMAGE": self.base, "WARDIAN_CATALOGUE": catalogue,
            "WARDIAN_PYTHON_DOWNLOADS": self.pythons.path, "WARDIAN_GLOBAL_REGISTRY": self.shared if catalogue == self.catalogue else "",
            **(self.space.environ if self.space else {}), "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        with (self.place / "err.txt").open("w") as errors:
            self.process = subprocess.Popen(
                [BIN / "wardian", *words], env={**os.environ, **{key: str(value) for key, value in ours.items()}}, cwd=self.project,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def finish(self) -> None:
        """Wait for what was begun."""
        if self.process is not None:
            self.process.communicate()
            assert self.process.returncode == 0, (self.place / "err.txt").read_text()
            self.process = None


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    place = Path(tempfile.mkdtemp(prefix="wardian-bench-"))
    try:
        with DockerRegistry(place / "registry") as registry:
            scene = Scene(place, registry)
            with scene.spaces:
                yield scene
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_a_curated_image_against_the_same_definition_uncurated(scene: Scene, ratio: Ratio) -> None:
    def curated() -> None:
        assert scene.begin(scene.catalogue, "run", "-t", "podman", "-e", NAME, "train.py") == "first line\n"

    def uncurated() -> None:
        assert scene.begin(scene.empty, "run", "-t", "podman", "-f", "own.yml", "train.py") == "first line\n"

    try:
        ratio("first line of a curated image, nothing here before", curated, uncurated, 0.3, peer_name="the same definition, uncurated",
              rounds=3, warm_up=0, before_ours=scene.forget, before_peer=scene.forget)  # fmt: skip
    finally:  # else a later benchmark is blamed for it
        scene.finish()
