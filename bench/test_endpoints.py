"""Claims about endpoints: from a model to the first answer, and updates under load that fail no request."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import debian_base, missing_tool
from tests.support.containers import podman_space
from tests.support.endpoints import end_endpoints

from wardian.serving.load import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.conftest import AtMost, Stated

BIN = Path(sys.executable).parent
EXAMPLE = Path(__file__).parents[1] / "examples" / "sklearn"
REQUEST = json.dumps({"input_data": [[0.1] * 30]})
ECHO = "def init():\n    pass\n\ndef run(data):\n    return data\n"
REQUESTS, CONNECTIONS = 100_000, 8


class Scene:
    """A home with the training example's model, and podman's storage."""

    def __init__(self, place: Path, environ: dict[str, str], base: str) -> None:
        self.home, self.project = place / "home", place / "project"
        shutil.copytree(EXAMPLE, self.project, ignore=shutil.ignore_patterns("outputs"))
        (self.project / "echo.py").write_text(ECHO)
        machine = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        self.environ = {**machine, **environ, "WARDIAN_HOME": str(self.home), "WARDIAN_CACHE": str(place / "cache"), "WARDIAN_BASE_IMAGE": base,
                        "NO_PROXY": "127.0.0.1"}  # fmt: skip
        self.call("env", "create", "sklearn", "-r", "requirements.txt")
        self.call("run", "-e", "sklearn", "train.py")
        self.call("model", "create", "cancer", "model.joblib", "--run", "latest")

    def call(self, *arguments: str) -> Any:
        words = [arguments[0], "--json", *arguments[1:]] if arguments[0] == "run" else [*arguments, "--json"]
        done = subprocess.run([BIN / "wardian", *words], cwd=self.project, env=self.environ, check=True, capture_output=True)
        return json.loads(done.stdout)

    def forget(self, name: str) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.call("endpoint", "delete", name, "--yes")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if why := missing_tool():
        pytest.skip(why)
    place = tmp_path_factory.mktemp("endpoints")
    with podman_space() as space:
        found = Scene(place, dict(space.environ), f"oci:{debian_base(place).root}:debian")
        yield found
        end_endpoints(found.home)


@pytest.mark.parametrize(("target", "limit_s"), [("local", 2.0), ("podman", 3.0)])
def test_from_a_model_to_the_first_answer(scene: Scene, at_most: AtMost, target: str, limit_s: float) -> None:
    def deploy_and_score() -> None:
        scene.call("deploy", "first", "-m", "cancer", "-t", target)
        assert scene.call("endpoint", "score", "first", REQUEST) == {"predictions": [1]}

    deploy_and_score()  # environment, serving layer and image are there from now on
    at_most(f"deploy a model of scikit-learn to its first answer, environment there, {target}", deploy_and_score, limit_s, rounds=5,
            before_ours=lambda: scene.forget("first"))  # fmt: skip


def test_updates_under_load_fail_no_request(scene: Scene, stated: Stated, fact: Callable[[str, str], None]) -> None:
    made = scene.call("deploy", "rolling", "--entry", "echo.py", "-e", "sklearn", "--replicas", "2", "--no-auth")
    over, rollouts = threading.Event(), 0

    def roll() -> None:
        nonlocal rollouts
        while not over.is_set():
            for change in (["update", "rolling", "-V", f"LEVEL={rollouts}"], ["rollback", "rolling"], ["restart", "rolling"]):
                if not over.is_set():
                    scene.call("endpoint", *change)
                    rollouts += 1

    def load() -> Any:
        rolling = threading.Thread(target=roll)
        rolling.start()
        try:
            return replay(made["url"], [b"[1]"], count=REQUESTS, connections=CONNECTIONS)
        finally:
            over.set()
            rolling.join()

    figures = stated(f"{REQUESTS:,} requests while deployments are replaced all the time", load, rounds=1)
    fact("failed", str(figures.failed))
    fact("rollouts meanwhile", str(rollouts))
    fact("p99", f"{figures.percentile(0.99):.1f} ms")
    assert figures.failures == {}
    assert rollouts > 0
