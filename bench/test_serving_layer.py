"""The serving layer: what a deployment adds to an environment that is there, on this machine and as an image in its registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bench.image_scene import BIN, Ours, put_base, removed_afterwards, why_not
from bench.registry_traffic import CountingRelay
from tests.support.registry import DockerRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.conftest import Amount, AtMost

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

MODEL_BYTES = 2 << 20
SCORE = "def init(): pass\ndef run(data): return data  # {}\n"


class Scene:
    """A home with an environment of scikit-learn, its image in a registry, and a model of bytes that do not compress."""

    def __init__(self, place: Path, relay: CountingRelay):
        self.relay, self.place = relay, place
        self.ours = Ours(place / "ours", relay.host, put_base(place, relay.host))
        self.project = place / "project"
        (self.project / "source").mkdir(parents=True)
        (self.project / "requirements.txt").write_text("scikit-learn\n")
        (self.project / "model.bin").write_bytes(os.urandom(MODEL_BYTES))
        self.number = 0
        self.call("env", "create", "sklearn", "-r", "requirements.txt")
        self.call("env", "build", "sklearn", "--image")
        self.call("model", "create", "churn", "model.bin")

    def call(self, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [BIN / "wardian", *arguments, "--json"], cwd=self.project, env=self.ours.environ, check=True, capture_output=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def another_script(self) -> None:
        self.number += 1
        (self.project / "source" / "score.py").write_text(SCORE.format(self.number))

    def never_served(self) -> None:
        """Another script, and a model that no image has had: no layer of the image to be is known here, or in the registry."""
        self.another_script()
        (self.project / "model.bin").write_bytes(os.urandom(MODEL_BYTES))
        self.call("model", "create", "churn", "model.bin")
        for note in (self.ours.cache / "layers").glob("*.json"):
            if json.loads(note.read_text())["name"] == "the scoring server":
                note.unlink()

    def package(self) -> dict[str, Any]:
        return self.call(
            "model",
            "package",
            "churn",
            "-e",
            "sklearn",
            "--entry",
            "score.py",
            "--source",
            "source",
            "--to",
            f"{self.relay.host}/served:{self.number}",
        )


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with (
        removed_afterwards(Path(tempfile.mkdtemp(prefix="wardian-bench-"))) as place,
        DockerRegistry(place / "registry") as registry,
        CountingRelay(registry.host) as relay,
    ):
        found = Scene(place, relay)
        found.another_script()
        found.package()  # the server's wheels are fetched from now on
        yield found


def test_an_image_of_a_deployment_over_the_environments(scene: Scene, at_most: AtMost) -> None:
    at_most("image of a deployment, pushed: server, model and script new", scene.package, 1.0, before_ours=scene.never_served)


def test_an_image_of_a_deployment_with_another_script(scene: Scene, at_most: AtMost) -> None:
    at_most("image of a deployment, pushed: another script", scene.package, 1.0, before_ours=scene.another_script)


def test_what_is_sent_for_a_deployment(scene: Scene, amount: Amount) -> None:
    def sent() -> int:
        scene.never_served()
        before = scene.relay.sent_bytes
        scene.package()
        return scene.relay.sent_bytes - before - MODEL_BYTES

    amount(
        "image of a deployment: bytes sent beside the model",
        sent,
        5_000_000,
        of="sent to the registry, which has the environment's image",
    )


def test_the_layer_for_a_server_on_this_machine(scene: Scene, at_most: AtMost) -> None:
    environ = {**os.environ, **scene.ours.environ}
    program = """
import wardian
from wardian.sdk.prepare import prepare
from wardian.sdk.serving_layer import ServingLayers
workspace = wardian.Workspace.open()
version = workspace.environments.get("sklearn")
prepared = prepare(workspace.parts, workspace.environments, version)
print(ServingLayers(workspace.parts).local(version, prepared).overlay.path)
"""
    python = str(BIN / "python")

    def ours() -> None:
        subprocess.run([python, "-c", program], cwd=scene.project, env=environ, check=True, capture_output=True)

    def forgotten() -> None:
        serving = scene.ours.cache / "serving"
        if serving.is_dir():
            subprocess.run(["chmod", "-R", "u+w", str(serving)], check=True)
            shutil.rmtree(serving)

    ours()
    at_most("serving layer made and compiled, wheels here, environment installed", ours, 1.5, before_ours=forgotten)
