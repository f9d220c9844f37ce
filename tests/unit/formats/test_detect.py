"""Which format a file has, and what is said of files that hold no definition."""

from __future__ import annotations

import pytest

from wardian.errors import InvalidInput
from wardian.formats.detect import FORMATS, detect

SCRIPT = "# /// script\n# dependencies = []\n# ///\nprint()\n"


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("environment.yml", "dependencies: [numpy]\n", "conda"),
        ("env.yaml", "channels:\n- a\n", "conda"),
        ("env.yaml", "prefix: /x\n", "conda"),
        ("env.yml", "{dependencies: [numpy]}", "conda"),
        ("env.yml", '{"dependencies": ["numpy"]}', "conda"),
        ("env.yml", '"dependencies":\n- numpy\n', "conda"),
        ("env.yml", "name: x\n", "conda"),
        ("env.yml", "", "conda"),
        ("wardian.yml", "name: x\n", "wardian"),
        ("env.yml", "python:\n  pip: [numpy]\n", "wardian"),
        ("env.yml", "# c\ndocker: {base_image: x}\n", "wardian"),
        ("env.yml", "{python: {pip: [numpy]}}", "wardian"),
        ("env.yml", "spark:\n  packages: []\n", "wardian"),
        ("env.yml", "accelerators: {cuda: 12}\n", "wardian"),
        ("env.yml", "python:\n  conda: [numpy]\nimage: x\n", "wardian"),
        ("requirements.txt", "numpy\n", "requirements"),
        ("reqs/dev.in", "numpy\n", "requirements"),
        ("requirements-dev", "numpy\n", "requirements"),
        ("REQS.TXT", "numpy\n", "requirements"),
        ("pyproject.toml", "", "pyproject"),
        ("other.toml", "[project]\nname='x'\n", "pyproject"),
        ("other.toml", "[dependency-groups]\n", "pyproject"),
        ("pylock.dev.toml", 'lock-version = "1.0"\n', "pylock"),
        ("uv.lock", "", "uv-lock"),
        ("pixi.lock", "", "pixi-lock"),
        ("saved.yml", "version: 6\nenvironments: {}\npackages: []\n", "pixi-lock"),
        ("other.lock", "version: 6\nenvironments: {}\npackages: []\n", "pixi-lock"),
        ("pixi.toml", "[project]\n[dependencies]\n", "pixi"),
        ("other.toml", "[workspace]\n", "pixi"),
        ("train.py.lock", 'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n', "uv-lock"),
        ("train.py", SCRIPT, "script"),
        ("train", "#!/usr/bin/env -S uv run\n" + SCRIPT, "script"),
        ("env", "dependencies: [numpy]\n", "conda"),
        ("env", "python: {pip: [a]}\n", "wardian"),
        ("env.yml", "$schema: https://azuremlschemas.example/latest/environment.schema.json\nname: x\n", "azureml-v2"),
        ("env.yml", "image: x\nconda_file: conda.yml\n", "azureml-v2"),
        ("env.yml", "name: x\nversion: 1\nimage: x\n", "azureml-v2"),
        ("env.yml", "name: x\nbuild:\n  path: .\n", "azureml-v2"),
        ("env.yml", "image: x\nconda_file:\n  dependencies: []\n", "azureml-v2"),
        ("azureml_environment.json", "{}", "azureml-v1"),
        ("saved.json", '{"name": "x", "docker": {"baseImage": "y"}}', "azureml-v1"),
        ("env.yml", "name: x\npython: {userManagedDependencies: true}\n", "azureml-v1"),
        ("env.yml", "docker: {base_image: x}  # was baseImage\n", "wardian"),
        ("job.yml", "$schema: https://x/commandJob.schema.json\ncommand: x\nenvironment: azureml:x:1\n", "azureml-job"),
        ("job.yml", "type: command\ncommand: x\ncode: .\n", "azureml-job"),
        ("job.yml", '{"command": "x", "environment": {"image": "y"}}', "azureml-job"),
        ("steps.yml", "$schema: https://x/pipelineJob.schema.json\njobs: {}\n", "azureml-job"),
        (".azureml/gpu.runconfig", "", "azureml-runconfig"),
        ("run.yml", "script: a.py\nframework: Python\ndocker: {useDocker: true}\n", "azureml-runconfig"),
        ("run.json", '{"Script": "a.py", "Framework": "Python", "Environment": {"name": "x"}}', "azureml-runconfig"),
    ],
)
def test_the_format_is_found_by_name_and_content(file: str, text: str, expected: str) -> None:
    assert detect(file, text) == expected
    assert expected in FORMATS


@pytest.mark.parametrize(
    ("file", "text", "what", "hint"),
    [
        ("azureml:AzureML-x:1", "", "Azure ML's service", "`az ml environment show --name AzureML-x --version 1"),
        ("other.json", '{"name": "x", "docker": 1}', "JSON", ""),
        ("environment.json", "{}", "JSON", "environment.yml"),
        ("docker-compose.yml", "services:\n  web:\n    image: x\n", "Docker Compose", "--image"),
        ("pod.yml", "apiVersion: v1\nkind: Pod\n", "Kubernetes", ""),
        ("ci.yml", "on: push\njobs: {}\n", "CI service", ""),
        ("conda-lock.yml", "version: 1\nmetadata: {}\npackage: []\n", "conda-lock", "environment.yml"),
        ("lock.yml", "version: 1\nmetadata: {}\npackage: []\n", "conda-lock", "environment.yml"),
        ("Cargo.lock", "version = 4\n", "a lock file", "the file that it was made from"),
        ("poetry.lock", "", "Poetry", "pyproject.toml"),
        ("other.toml", "a = 1\n", "without a [project] table", "pyproject.toml"),
        ("Pipfile", "", "Pipfile", "pipenv requirements"),
        ("meta.yaml", "package: {}\n", "conda-build", ""),
        ("x.yml", "package: {}\nrequirements: {}\n", "conda-build", ""),
        ("Dockerfile", "FROM x\n", "Dockerfile", "--dockerfile"),
        ("docker/Dockerfile.gpu", "FROM x\n", "Dockerfile", "--dockerfile"),
        ("setup.py", "", "setuptools", "pyproject.toml"),
        ("explicit.txt", "# c\n@EXPLICIT\nhttps://x\n", "explicit list", "environment.yml"),
        ("a.whl", "", "wheel", "requirements.txt"),
        ("a.ipynb", "{}", "notebook", ""),
        (".pre-commit-config.yaml", "repos: []\n", "pre-commit", ""),
        ("python_env.yaml", "", "MLflow", ""),
        ("x.yml", "python: 3.11\nbuild_dependencies: []\n", "", ""),
    ],
)  # fmt: skip
def test_files_of_others_are_named_with_the_next_step(file: str, text: str, what: str, hint: str) -> None:
    if not what:
        assert detect(file, text) == "wardian"  # then the reader says what is wrong with `python: 3.11`
        return
    with pytest.raises(InvalidInput) as caught:
        detect(file, text)
    assert caught.value.stable_code == "format_not_read"
    assert what in caught.value.message
    assert file in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_script_without_a_block_is_told_how_to_write_one() -> None:
    with pytest.raises(InvalidInput) as caught:
        detect("train.py", "import numpy\n")
    assert caught.value.stable_code == "no_script_block"
    assert "# /// script" in (caught.value.hint or "")


def test_an_unknown_format_lists_what_was_tried() -> None:
    with pytest.raises(InvalidInput) as caught:
        detect("something", "hello\n")
    assert caught.value.stable_code == "unknown_format"
    for suffix in (".yml", ".txt", ".toml", ".py", "PEP 723"):
        assert suffix in caught.value.message
    assert "-r FILE" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        ("env.json", '{"name": "a", "image": "b", "conda_file": {"dependencies": ["python"], "channels": []}}', "azureml-v2"),
        ("env.yml", '{"name": "a", "image": "b", "conda_file": {"dependencies": ["python"]}}', "azureml-v2"),
        ("env.yml", "{name: 'a: b, {image: c}', dependencies: [python]}", "conda"),
        ("env.yml", "{name: a, 'channels' : [c], dependencies: []}", "conda"),
        ("env.yml", '{"conda_file": "not closed, dependencies: [python]\n}', "azureml-v2"),
    ],
)
def test_of_a_text_in_flow_style_only_the_outermost_keys_tell(file: str, text: str, kind: str) -> None:
    assert detect(file, text) == kind


@pytest.mark.parametrize("tail", ['"' + '\\"' * 1_000_000, "{" * 1_000_000, "'a" * 500_000, '"a"' + " " * 1_000_000])
def test_a_hostile_text_in_flow_style_is_gone_through_once(tail: str) -> None:
    assert detect("env.yml", "{dependencies: [], " + tail) == "conda"
