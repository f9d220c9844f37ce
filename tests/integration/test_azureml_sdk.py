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
from tests.support.pythons import python_for

from wardian import formats
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


@pytest.mark.network
@pytest.mark.slow
def test_sdk_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = client(tmp_path / "venv", "3.9", "azureml-core==1.61.0.post4")
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
    for place, text, loaded in zip(places, texts, json.loads(answer(python, LOAD_V1, *places)), strict=True):
        assert_holds(loaded, json.loads(text), place.name)
    saved = tmp_path / "saved"
    saved.mkdir()
    answer(python, SAVE_V1, saved)
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
def test_sdk_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = client(tmp_path / "venv", "3.10", "azure-ai-ml==1.35.2")
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
    for place, loaded in zip(places, json.loads(answer(python, LOAD_V2, *places)), strict=True):
        document = yaml.safe_load(place.read_text(encoding="utf-8"))
        document.pop("$schema")
        assert_holds(loaded, document, place.parent.name)
