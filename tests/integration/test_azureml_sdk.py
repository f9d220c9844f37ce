"""The real clients of Azure ML read what Wardian writes, and Wardian reads what they write: field by field, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.conftest import machine_packager_variables
from tests.support.azure_jobs import CONDA, JOBS, USER, save
from tests.support.pythons import python_for

from wardian import formats
from wardian.formats.azureml_job_writing import shell_line, write_job
from wardian.formats.azureml_runconfig_writing import write_runconfig
from wardian.formats.tree_copy import copy_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.formats.read_definition import ReadDefinition

DATA = Path(__file__).parents[1] / "data" / "azureml"
CASES = sorted(path.name for path in DATA.iterdir())
LOAD_V1 = """
import json, logging, sys
logging.disable(50)
from azureml.core import Environment
print(json.dumps([json.loads(repr(Environment.load_from_directory(place))) for place in sys.argv[1:]]))
"""
SAVE_V1 = """
import logging, sys
logging.disable(50)
from azureml.core import Environment
from azureml.core.conda_dependencies import CondaDependencies
out = sys.argv[1]
plain = Environment("plain")
plain.save_to_directory(out + "/plain")
user = Environment("user")
user.python.user_managed_dependencies = True
user.python.interpreter_path = "/usr/bin/python3"
user.save_to_directory(out + "/user")
steps = Environment("steps")
steps.docker.base_dockerfile = "FROM ubuntu:22.04\\nRUN true\\n"
steps.save_to_directory(out + "/stale")
steps.save_to_directory(out + "/steps")
plain.save_to_directory(out + "/stale", overwrite=True)
"""
LOAD_V2 = """
import json, sys
from azure.ai.ml import load_environment
found = []
for place in sys.argv[1:]:
    env = load_environment(place)
    build = env.build and {"path": env.build.path, "dockerfile_path": env.build.dockerfile_path}
    found.append({"name": env.name, "image": env.image, "description": env.description, "tags": env.tags, "build": build, "conda_file": env.conda_file})
print(json.dumps(found))
"""
LOAD_JOBS = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
from azure.ai.ml import load_job
found = []
for place in sys.argv[1:]:
    os.chdir(os.path.dirname(place))
    job = load_job(place)._to_job()
    job.dump(place + ".dumped.yml")
    env = job.environment
    found.append({
        "command": job.command, "code": str(job.code), "experiment_name": job.experiment_name, "environment_variables": job.environment_variables,
        "inputs": {name: dict(one) if isinstance(one, dict) or hasattr(one, "path") else one for name, one in job.inputs.items()},
        "outputs": {name: dict(one) for name, one in job.outputs.items()}, "environment": {"image": env.image, "conda_file": env.conda_file},
        "resources": job.resources and {"shm_size": job.resources.shm_size, "docker_args": job.resources.docker_args},
        "limits": job.limits and {"timeout": job.limits.timeout},
    })
print(json.dumps(found))
"""
LOAD_RUNS = """
import json, logging, sys
logging.disable(50)
from azureml.core import RunConfiguration
from azureml.core._serialization_utils import _serialize_to_dict
print(json.dumps([_serialize_to_dict(RunConfiguration.load(place, "run")) for place in sys.argv[1:]]))
"""
SAVE_RUNS = """
import json, logging, os, sys
logging.disable(50)
from azureml.core import RunConfiguration
from azureml.core._serialization_utils import _serialize_to_dict
out = sys.argv[1]
os.makedirs(out + "/.azureml")
plain = RunConfiguration()
plain.script = "train.py"
plain.arguments = ["--epochs", "3"]
plain.save(out, "plain.runconfig")
plain.save(out, "apart.runconfig", separate_environment_yaml=True)
with open(out + "/plain.json", "w") as stream:
    json.dump(_serialize_to_dict(plain), stream)
full = RunConfiguration(command=["python", "-m", "train"], framework="PyTorch", communicator="Nccl")
full.target = "gpu-cluster"
full.node_count = 2
full.max_run_duration_seconds = 600
full.environment_variables = {"SEED": "1"}
full.docker.use_docker = True
full.docker.shm_size = "8g"
full.environment.name = "full"
full.environment.python.user_managed_dependencies = True
full.environment.python.interpreter_path = "/usr/bin/python3"
full.save(out, "full.runconfig")
"""


def client(place: Path, version: str, package: str) -> str:
    """Return the Python of a new virtual environment with ``package``; skip where this machine has no such Python."""
    python = python_for(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    uv = [sys.executable, "-m", "uv"]
    env = {**os.environ, **machine_packager_variables()}
    subprocess.run([*uv, "venv", "-q", "--python", python, place], check=True, env=env)
    target = str(place / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "-q", "--python", target, package], check=True, env=env)
    return target


def answer(python: str, script: str, *arguments: Path) -> str:
    done = subprocess.run([python, "-c", script, *arguments], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def read_cases(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ReadDefinition]]:
    for name in CASES:
        monkeypatch.chdir(DATA / name)
        file = next(path for path in ("azureml_environment.json", "saved.json", "environment.yml") if Path(path).exists())
        yield name, formats.read(file)


def assert_holds(found: Any, written: Any, where: str) -> None:
    """Assert that ``found`` says all that ``written`` does; it may say more, such as its defaults."""
    if isinstance(written, dict) and isinstance(found, dict):
        for key, value in written.items():
            assert_holds(found.get(key), value, f"{where}.{key}")
    else:
        assert (found or None) == (written or None), where


@pytest.fixture(scope="module")
def sdk_v1(tmp_path_factory: pytest.TempPathFactory) -> str:
    return client(tmp_path_factory.mktemp("v1") / "venv", "3.9", "azureml-core==1.61.0.post4")


@pytest.fixture(scope="module")
def sdk_v2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return client(tmp_path_factory.mktemp("v2") / "venv", "3.10", "azure-ai-ml==1.35.2")


@pytest.mark.network
@pytest.mark.slow
def test_sdk_v1(tmp_path: Path, sdk_v1: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places, texts = [], []
    for name, found in read_cases(monkeypatch):
        if found.environment.docker.build_context is not None:
            continue
        written = formats.export(found.environment, "azureml-v1")
        place = tmp_path / "written" / name
        place.mkdir(parents=True)
        for path, text in (written.files or {}).items():
            (place / path).write_text(text, encoding="utf-8")
        places.append(place)
        texts.append(written.text)
    for place, text, loaded in zip(places, texts, json.loads(answer(sdk_v1, LOAD_V1, *places)), strict=True):
        assert_holds(loaded, json.loads(text), place.name)
    saved = tmp_path / "saved"
    saved.mkdir()
    answer(sdk_v1, SAVE_V1, saved)
    read = {place.name: formats.read(place) for place in saved.iterdir()}
    plain, user = read["plain"].environment, read["user"].environment
    assert plain.python.manager == "conda"
    assert [text.split("=")[0] for text in plain.python.conda] == ["python"]
    assert plain.docker.base_image is not None
    assert (user.python.manager, user.python.interpreter, user.python.conda) == ("user", "/usr/bin/python3", ())
    assert read["steps"].environment.docker.dockerfile == "FROM ubuntu:22.04\nRUN true\n"
    assert read["stale"].environment == plain
    assert "BaseDockerfile" in [loss.field for loss in read["stale"].losses]
    for found in read.values():
        assert dict(found.environment.variables) == {}


@pytest.mark.network
@pytest.mark.slow
def test_sdk_v2(tmp_path: Path, sdk_v2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    for name, found in read_cases(monkeypatch):
        environment = found.environment.renamed(found.environment.name or "nameless")  # its client asks for a name
        written = formats.export(environment, "azureml-v2")
        place = tmp_path / "written" / name
        place.mkdir(parents=True)
        for path, text in (written.files or {}).items():
            (place / path).parent.mkdir(exist_ok=True)
            (place / path).write_text(text, encoding="utf-8")
        for path, digest in (written.trees or {}).items():
            copy_tree(found.sources[digest], place / path)
        (place / "environment.yml").write_text(written.text, encoding="utf-8")
        places.append(place / "environment.yml")
    for place, loaded in zip(places, json.loads(answer(sdk_v2, LOAD_V2, *places)), strict=True):
        document = yaml.safe_load(place.read_text(encoding="utf-8"))
        document.pop("$schema")
        assert_holds(loaded, document, place.parent.name)


@pytest.mark.network
@pytest.mark.slow
def test_sdk_v2_jobs(tmp_path: Path, sdk_v2: str) -> None:
    places = []
    for name, job in JOBS.items():
        place = tmp_path / name
        (place / "code").mkdir(parents=True)
        places.append(save(write_job(job, CONDA, code="code"), place, "job.yml"))
    for place, loaded, job in zip(places, json.loads(answer(sdk_v2, LOAD_JOBS, *places)), JOBS.values(), strict=True):
        document = yaml.safe_load(place.read_text(encoding="utf-8"))
        assert (place.parent / loaded.pop("code")).resolve() == (place.parent / document.pop("code")).resolve()
        for key in ("$schema", "type"):
            document.pop(key)
        document["environment"].pop("name")  # its client names every environment that stands in a job
        assert_holds(loaded, document, place.parent.name)
        ours, theirs = formats.read_job(place), formats.read_job(f"{place}.dumped.yml")
        assert ours.words[-1] == shell_line(job)
        for field in ("kind", "words", "source", "inputs", "outputs", "variables", "experiment", "timeout_s", "options"):
            assert getattr(theirs, field) == getattr(ours, field), (place, field)
        assert ours.environment is not None
        assert theirs.environment is not None
        wanted = ours.environment.environment.renamed(None).with_python(constraints=())  # these stand in a comment
        assert theirs.environment.environment == wanted
        assert [loss.field for loss in theirs.losses] == ["environment.name", "environment.version"]


@pytest.mark.network
@pytest.mark.slow
def test_sdk_v1_run_configurations(tmp_path: Path, sdk_v1: str) -> None:
    places = []
    for name, job in JOBS.items():
        for kind, environment in (("conda", CONDA), ("user", USER)):
            place = tmp_path / f"{name} {kind}"
            save(write_runconfig(job, environment, in_container=False), place, ".azureml/run.runconfig")
            places.append(place)
    for place, loaded in zip(places, json.loads(answer(sdk_v1, LOAD_RUNS, *places)), strict=True):
        document = yaml.safe_load((place / ".azureml/run.runconfig").read_text(encoding="utf-8"))
        named = document["environment"]["python"].pop("condaDependenciesFile")
        assert_holds(loaded, document, place.name)
        if named is not None:
            conda = yaml.safe_load((place / named).read_text(encoding="utf-8"))
            assert_holds(loaded["environment"]["python"]["condaDependencies"], conda, place.name)
    saved = tmp_path / "saved"
    answer(sdk_v1, SAVE_RUNS, saved)
    plain = [formats.read_job(saved / name) for name in (".azureml/plain.runconfig", ".azureml/apart.runconfig", "plain.json")]
    for found in plain:
        assert (found.kind, found.words, found.source) == ("script", ("train.py", "--epochs", "3"), saved)
        assert found.environment is not None
        assert found.environment.environment == plain[0].environment.environment  # type: ignore[union-attr]
        assert {loss.field.removeprefix("environment.") for loss in found.losses} == {
            "name",
            "environmentVariables.EXAMPLE_ENV_VAR",
        }
    full = formats.read_job(saved / ".azureml/full.runconfig")
    assert (full.kind, full.words) == ("program", ("python", "-m", "train"))
    assert (full.timeout_s, full.variables, full.options) == (600.0, {"SEED": "1"}, {"shm": "8g"})
    assert {loss.field for loss in full.losses} == {
        "target", "framework", "communicator", "nodeCount", "docker.useDocker", "environment.environmentVariables.EXAMPLE_ENV_VAR", "environment.python.condaDependencies",
    }  # fmt: skip
