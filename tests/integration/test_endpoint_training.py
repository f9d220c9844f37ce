"""The training example, registered and deployed on this machine and in podman: the same predictions, the same packages, nothing solved, nothing built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.cli import Cli
from tests.support.containers import podman_space
from tests.support.endpoints import end_endpoints

import wardian

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.network, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "sklearn"
PREDICT = """
import json, os, joblib
from sklearn.datasets import load_breast_cancer
rows = load_breast_cancer().data[:20].tolist()
model = joblib.load(os.environ["WARDIAN_INPUT_MODEL"])
json.dump({"rows": rows, "chances": model.predict_proba(rows).tolist(), "classes": model.predict(rows).tolist()}, open("outputs/predicted.json", "w"))
"""
SCORE = """
import importlib.metadata, json, os, joblib

def init():
    global model
    model = joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.joblib"))

def run(data):
    found = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
    return {"chances": model.predict_proba(json.loads(data)["input_data"]).tolist(), "inventory": found}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture
def cli(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    if why := missing_tool():
        pytest.skip(why)
    with podman_space() as space:
        found = Cli.at(place / "home")
        (found.home / "config.toml").write_text("")
        base = debian_base(session_place(tmp_path_factory.getbasetemp()))
        found.variables |= space.environ | {"WARDIAN_BASE_IMAGE": f"oci:{base.root}:debian"}
        for name in ("train.py", "requirements.txt"):
            shutil.copy(EXAMPLE / name, found.directory)
        found.write("predict.py", PREDICT)
        found.write("score.py", SCORE)
        yield found
        end_endpoints(found.home)


def test_the_training_example_is_served_as_it_was_trained(cli: Cli) -> None:
    environment = wardian.Environment.from_requirements("sklearn", cli.directory / "requirements.txt")
    cli.ok("env", "create", "sklearn", "-r", "requirements.txt")
    run = cli.json("run", "-e", "sklearn", "train.py")
    in_podman = cli.json("run", "-e", "sklearn", "-t", "podman", "train.py")
    cli.ok("model", "create", "cancer", "model.joblib", "--run", run["id"])
    predicted = cli.json("runs", "show", cli.json("run", "-e", "sklearn", "--input", "model=model:cancer", "predict.py")["id"])
    wanted = json.loads((Path(predicted["directory"]) / "snapshot/outputs/predicted.json").read_text())
    request = json.dumps({"input_data": wanted["rows"]})
    builds, lock = _builds(cli), cli.json("env", "show", "sklearn")["lock"]
    locked = {p["name"]: p["version"] for p in lock["packages"] if p["kind"] == "wheel"}

    for target in ("local", "podman"):
        made = cli.json("deploy", f"free-{target}", "-m", "cancer", "-t", target)
        assert cli.json("endpoint", "score", f"free-{target}", request) == {"predictions": wanted["classes"]}
        assert (made["run_id"], made["environment"], made["lock_digest"]) == (run["id"], "sklearn:1", lock["lock_digest"])
        assert made["image_digest"] == (in_podman["results"]["environment"]["image_digest"] if target == "podman" else None)

        made = cli.json("deploy", f"own-{target}", "-m", "cancer", "-t", target, "--entry", "score.py")
        answer = cli.json("endpoint", "score", f"own-{target}", request)
        assert answer["chances"] == wanted["chances"]
        layer = dict(text.rsplit(" ", 1) for text in made["serving_packages"])
        assert answer["inventory"] == locked | layer | {
            k: v for k, v in answer["inventory"].items() if k in ("pip", "setuptools")
        }
        shown = cli.ok("endpoint", "show", f"own-{target}").out
        for text in (run["id"], lock["lock_digest"], *([made["image_digest"]] if target == "podman" else [])):
            assert text in shown
    assert _builds(cli) == builds  # no solve, no installation, no image, no push

    assert cli.json("env", "show", "model:cancer")["definition_hash"] == environment.definition_hash
    workspace = wardian.Workspace.open(home=cli.home)
    assert workspace.models.get("cancer").environment().environment.content == environment.content
    assert workspace.environments.get("endpoint:own-podman").environment.content == environment.content


def _builds(cli: Cli) -> list[dict[str, Any]]:
    return [
        {key: build[key] for key in ("id", "kind", "subject")}
        for build in cli.json("build", "list", "--limit", "200")["builds"]
    ]
