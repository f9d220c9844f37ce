"""Directories of MLflow models as definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian import formats
from wardian.errors import InvalidDefinition, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """\
artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    python_version: 3.11.7
"""
PYTHON_ENV = """\
python: 3.11.7
build_dependencies:
- pip==24.0
- setuptools
dependencies:
- -r requirements.txt
"""
CONDA = """\
channels:
- conda-forge
dependencies:
- python=3.11.7
- pip<=24.0
- pip:
  - mlflow==2.14.1
  - scikit-learn==1.5.0
name: mlflow-env
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "MLmodel").write_text(MODEL)
    (tmp_path / "python_env.yaml").write_text(PYTHON_ENV)
    (tmp_path / "conda.yaml").write_text(CONDA)
    (tmp_path / "requirements.txt").write_text("-c constraints.txt\nmlflow==2.14.1\nscikit-learn==1.5.0\n")
    (tmp_path / "constraints.txt").write_text("numpy<2\n")
    return tmp_path


def test_python_env_is_taken_with_requirements_and_constraints(model: Path) -> None:
    read = formats.read(model)
    python = read.environment.python
    assert (python.manager, python.requires_python) == ("uv", "==3.11.7")
    assert python.pip == ("mlflow==2.14.1", "scikit-learn==1.5.0")
    assert python.constraints == ("numpy<2",)
    assert [fault.code for fault in read.warnings] == ["model_environment"]
    assert "python_env.yaml" in read.warnings[0].message
    assert [(loss.kind, loss.field, loss.value, loss.line) for loss in read.losses] == [
        ("dropped", "build_dependencies[0]", "pip==24.0", 3), ("dropped", "build_dependencies[1]", "setuptools", 4),
    ]  # fmt: skip
    assert formats.read_text(read.text, read.format).environment == read.environment
    assert formats.read(model / "MLmodel").environment == read.environment


def test_conda_packages_that_are_not_taken_are_named(model: Path) -> None:
    (model / "conda.yaml").write_text(CONDA.replace("- pip<=24.0", "- pip<=24.0\n- libgomp"))
    read = formats.read(model)
    assert [fault.code for fault in read.warnings] == ["conda_packages", "model_environment"]
    assert "libgomp" in read.warnings[0].message
    assert formats.read(model / "conda.yaml").environment.python.conda[2] == "libgomp"


def test_without_python_env_conda_is_taken_and_else_the_requirements(model: Path) -> None:
    (model / "python_env.yaml").unlink()
    assert formats.read(model).environment.python.conda == ("python=3.11.7", "pip<=24.0")
    (model / "MLmodel").write_text("flavors: {python_function: {env: conda.yaml}}\n")
    assert formats.read(model).environment.python.manager == "conda"
    (model / "conda.yaml").unlink()
    read = formats.read(model)
    assert read.environment.python.constraints == ("numpy<2",)
    assert [(loss.kind, loss.field) for loss in read.losses] == [("added", "python")]
    (model / "requirements.txt").unlink()
    with pytest.raises(InvalidInput, match="without an environment"):
        formats.read(model)


def test_faults_are_at_their_own_lines(model: Path) -> None:
    (model / "python_env.yaml").write_text(PYTHON_ENV.replace("-r requirements.txt", "numpy=1"))
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(model)
    assert [(fault.file, fault.line) for fault in caught.value.faults] == [(str(model / "python_env.yaml"), 6)]
    (model / "python_env.yaml").write_text(PYTHON_ENV.replace("3.11.7", "three"))
    with pytest.raises(InvalidDefinition, match="three"):
        formats.read(model)


@pytest.mark.parametrize("name", ["../conda.yaml", "/etc/conda.yaml"])
def test_no_file_outside_the_directory_is_read(name: str, model: Path) -> None:
    (model / "MLmodel").write_text(f"flavors: {{python_function: {{env: {{conda: {name}}}}}}}\n")
    with pytest.raises(InvalidDefinition, match="leads out"):
        formats.read(model)


def test_a_damaged_model_says_so(model: Path) -> None:
    (model / "MLmodel").write_text("- a\n")
    with pytest.raises(InvalidDefinition):
        formats.read(model)


def test_what_is_said_of_build_dependencies_holds_no_secret(model: Path) -> None:
    (model / "python_env.yaml").write_text(PYTHON_ENV.replace("pip==24.0", "a @ https://me:pa55@files.example.org/a.zip"))
    [loss, _] = formats.read(model).losses
    assert "`a @ https://files.example.org/a.zip` builds packages" in loss.why
    assert "pa55" not in f"{loss} {loss.value}"
