"""Azure ML's command jobs: what is read, what is lost and told, and every fault in its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wardian import formats
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats import azureml_job
from wardian.formats.job import Given

if TYPE_CHECKING:
    from wardian.formats.job import ReadJob

JOB = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
type: command
code: src
command: >-
  python train.py --data ${{inputs.data}} --lr ${{inputs.lr}}
  --out ${{outputs.model}} > ${{outputs.log}}
inputs:
  data: {type: uri_folder, path: ./data, mode: ro_mount}
  table: {type: uri_file, path: file:data/a.csv}
  lr: 0.10
  epochs: {type: integer, default: 3}
outputs:
  model: {type: uri_folder, mode: rw_mount}
  log: {type: uri_file}
environment:
  image: ubuntu:24.04
  conda_file: {channels: [conda-forge], dependencies: [python=3.11]}
environment_variables: {SEED: "1"}
experiment_name: churn
compute: local
resources: {instance_count: 1, shm_size: 4g}
limits: {timeout: 600}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1\n")
    (tmp_path / "env.yml").write_text("name: geo\nchannels: [conda-forge]\ndependencies: [python=3.11]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str, given: Given | None = None) -> ReadJob:
    Path("job.yml").write_text(text)
    return formats.read_job("job.yml", given)


def test_all_of_a_job_that_a_run_has(place: Path) -> None:
    found = read(JOB)
    assert found.losses == ()
    assert found.warnings == ()
    assert (found.kind, found.words[:2]) == ("program", ("bash", "-c"))
    assert found.words[2] == (
        'python train.py --data "${WARDIAN_INPUT_DATA}" --lr "${AZUREML_PARAMETER_lr}" --out "${WARDIAN_OUTPUT_DIR}/model" > "${WARDIAN_OUTPUT_DIR}/log"'
    )
    assert found.source == place / "src"
    assert found.inputs == {"data": place / "data", "table": place / "data/a.csv"}
    assert found.outputs == ("model",)
    assert found.variables == {"AZUREML_PARAMETER_lr": "0.10", "AZUREML_PARAMETER_epochs": "3", "SEED": "1"}
    assert (found.experiment, found.timeout_s, found.options) == ("churn", 600.0, {"shm": "4g"})
    assert found.environment is not None
    assert found.environment.environment.python.conda == ("python=3.11",)
    assert found.reference is None


def test_every_thing_that_has_no_place_here_is_told_with_its_line(place: Path) -> None:
    text = """\
type: command
command: echo hello
environment: azureml:churn:3
name: a
display_name: b
description: c
tags: {d: e}
properties: {f: g}
identity: {type: managed}
services: {lab: {type: jupyter_lab}}
distribution: {type: pytorch, process_count_per_instance: 4}
queue_settings: {job_tier: Spot}
compute: azureml:gpu-cluster
resources: {instance_count: 2, instance_type: Standard_NC6, docker_args: --privileged, properties: {a: b}}
limits: {timeout: 60, max_trials: 3}
experiment_name: with a space
inputs: {m: {type: literally, default: 1}}
outputs: {o: {type: mltable, path: azureml://datastores/x, name: asset, version: "1", mode: direct}}
environment_variables: {WARDIAN_RUN_ID: x, WARDIAN_OUTPUT_DIR: outputs, A: "${{inputs.m}}", AZURE_CLIENT_SECRET: fern-1842}
status: Completed
""".replace("literally", "number")
    found = read(text)
    assert [(loss.line, loss.kind, loss.field) for loss in found.losses] == [
        (4, "dropped", "name"), (5, "dropped", "display_name"), (6, "dropped", "description"), (7, "dropped", "tags"), (8, "dropped", "properties"),
        (9, "dropped", "identity"), (10, "dropped", "services"), (11, "dropped", "distribution"), (12, "dropped", "queue_settings"),
        (13, "changed", "compute"), (14, "dropped", "resources.instance_count"), (14, "dropped", "resources.instance_type"),
        (14, "dropped", "resources.docker_args"), (14, "dropped", "resources.properties"), (15, "dropped", "limits.max_trials"),
        (16, "dropped", "experiment_name"), (18, "dropped", "outputs.o.path"), (18, "dropped", "outputs.o.name"),
        (18, "dropped", "outputs.o.version"), (18, "changed", "outputs.o.mode"), (18, "changed", "outputs.o.type"),
        (19, "dropped", "environment_variables.WARDIAN_RUN_ID"), (19, "changed", "environment_variables.A"),
        (19, "stripped", "environment_variables.AZURE_CLIENT_SECRET"), (20, "dropped", "status"),
    ]  # fmt: skip
    assert "fern-1842" not in f"{found}"
    assert found.variables == {"AZUREML_PARAMETER_m": "1", "A": "${{inputs.m}}"}


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("azureml:churn:3", "churn:3"), ("azureml:churn@latest", "churn"), ("azureml:churn@stable", "churn@stable"), ("azureml:churn", "churn"),
        ("azureml://registries/azureml/environments/sklearn-1.5/versions/33", "sklearn-1.5:33"),
        ("azureml://registries/azureml/environments/sklearn-1.5/labels/latest", "sklearn-1.5"),
        ("azureml:/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/environments/churn/versions/3", "churn:3"),
    ],
)  # fmt: skip
def test_a_reference_of_azures_is_one_here(text: str, reference: str, place: Path) -> None:
    found = read(f"command: a\nenvironment: {text}\n")
    assert (found.environment, found.reference, found.reference_text, found.reference_line) == (None, reference, text, 2)


@pytest.mark.parametrize("text", ["azureml:./data", "azureml:{place}/data", "file:data", "{place}/data", "./data"])
def test_a_path_is_a_path_as_the_sdk_writes_it_too(text: str, place: Path) -> None:
    found = read(
        f"command: a\nenvironment: azureml:a:1\ninputs: {{data: {{type: uri_folder, path: '{text.format(place=place)}'}}}}\n"
    )
    assert found.inputs == {"data": place / "data"}


@pytest.mark.parametrize("text", ["file:env.yml", "./env.yml", "env.yml"])
def test_an_environment_may_be_a_file_beside(text: str, place: Path) -> None:
    found = read(f"command: a\nenvironment: {text}\n").environment
    assert found is not None
    assert found.environment.name == "geo"


def test_what_is_said_beside_the_file_wins_and_is_no_fault(place: Path) -> None:
    text = """\
command: train ${{inputs.data}} ${{inputs.lr}} ${{inputs.extra}}
code: https://git.example.org/a.git
environment: {image: [nonsense]}
compute: azureml:gpu
inputs:
  data: {type: uri_folder, path: azureml://datastores/x/paths/y}
  lr: {type: number, default: 0.1}
environment_variables: {API_TOKEN: fern, SEED: "1"}
"""
    given = Given(
        {"data": "data", "lr": "0.5", "extra": "data/a.csv"},
        frozenset({"API_TOKEN"}),
        environment=True,
        target=True,
        source=True,
    )
    found = read(text, given)
    assert found.losses == ()
    assert found.inputs == {"data": place / "data", "extra": place / "data/a.csv"}
    assert found.variables == {"AZUREML_PARAMETER_lr": "0.5", "SEED": "1"}
    assert (found.source, found.environment) == (None, None)


def test_a_secret_among_the_inputs_is_the_callers_to_give(place: Path) -> None:
    text = "command: a ${{inputs.api_key}}\nenvironment: azureml:a:1\ninputs: {api_key: fern-1842}\n"
    found = read(text)
    assert [(loss.kind, loss.field) for loss in found.losses] == [("stripped", "inputs.api_key")]
    assert found.variables == {"AZUREML_PARAMETER_api_key": None}
    assert "fern" not in f"{found}"
    assert read(text, Given({"api_key": "mine"})).variables == {"AZUREML_PARAMETER_api_key": "mine"}


def test_a_text_of_several_words_is_told(place: Path) -> None:
    found = read(
        'command: a ${{inputs.more}} "${{inputs.quoted}}"\nenvironment: azureml:a:1\ninputs: {more: --lr 1 --n *, quoted: a b}\n'
    )
    assert [(loss.kind, loss.field, loss.line) for loss in found.losses] == [("changed", "inputs.more", 3)]


ENV = "environment: azureml:a:1\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENV, [(1, "", "missing_key")]),
        ("command: a\n", [(1, "", "missing_key")]),
        ("command: a\nenvironment: other words\n", [(2, "environment", "bad_reference")]),
        ("command: a\nenvironment: https://example.org/env.yml\n", [(2, "environment", "bad_reference")]),
        ("command: a\nenvironment: gone.yml\n", [(2, "environment", "no_such_path")]),
        ("command: a\nenvironment: job.yml\n", [(2, "environment", "bad_reference")]),
        ("command: a\nenvironment: [a]\n", [(2, "environment", "wrong_type")]),
        ("command: a\nenvironment: {imaje: a}\n", [(2, "environment.imaje", "unknown_key"), (2, "environment", "missing_key")]),
        ("command: a\nenvironment: {image: a, conda_file: gone.yml}\n", [(2, "environment.conda_file", "no_such_file")]),
        (ENV + "command: a\nkomputer: b\n", [(3, "komputer", "unknown_key")]),
        (ENV + "command: a ${{inputs.x}}\n", [(2, "command", "unknown_placeholder")]),
        (ENV + "command: a ${{search_space.x}}\n", [(2, "command", "unknown_placeholder")]),
        (ENV + "command: a $[[--x ${{inputs.x}}]]\ninputs: {x: 1}\n", [(2, "command", "optional_part")]),
        (ENV + "command: |\n  cat <<'E'\n  ${{inputs.x}}\n  E\ninputs: {x: 1}\n", [(2, "command", "quoted_placeholder")]),
        (ENV + f"command: {'a' * 100_001}\n", [(2, "command", "command_too_long")]),
        (ENV + "command: a\ncode: gone\n", [(3, "code", "no_such_path")]),
        (ENV + "command: a\ncode: env.yml\n", [(3, "code", "not_a_directory")]),
        (ENV + "command: a\ncode: azureml:code:1\n", [(3, "code", "remote_code")]),
        (ENV + "command: a\ncode: git+https://example.org/a\n", [(3, "code", "remote_code")]),
        (ENV + "command: a ${{inputs.d}}\ninputs:\n  d:\n    path: azureml:d:1\n", [(5, "inputs.d.path", "remote_input")]),
        (ENV + "command: a\ninputs:\n  d:\n    path: https://u:fern@example.org/d?sig=fern\n", [(5, "inputs.d.path", "remote_input")]),
        (ENV + "command: a\ninputs: {d: {type: uri_file, path: gone}}\n", [(3, "inputs.d.path", "no_such_path")]),
        (ENV + "command: a\ninputs: {d: {type: uri_file, path: data}}\n", [(3, "inputs.d.path", "bad_input")]),
        (ENV + "command: a\ninputs: {d: {type: uri_folder, path: env.yml}}\n", [(3, "inputs.d.path", "bad_input")]),
        (ENV + "command: a\ninputs: {d: {type: uri_folder}}\n", [(3, "inputs.d", "missing_key")]),
        (ENV + "command: a\ninputs: {d: {type: nothing}}\n", [(3, "inputs.d.type", "bad_input")]),
        (ENV + "command: a\ninputs: {d: {path: data, mode: x}}\n", [(3, "inputs.d.mode", "bad_mode")]),
        (ENV + "command: a\ninputs: {d: [a]}\n", [(3, "inputs.d", "wrong_type")]),
        (ENV + "command: a\ninputs: {d: }\n", [(3, "inputs.d", "missing_key")]),
        (ENV + "command: a\ninputs: {'d e': 1}\n", [(3, "inputs.d e", "bad_input")]),
        (ENV + "command: a\ninputs: {d: {path: data}, D: {path: data}}\n", [(3, "inputs.D", "bad_input")]),
        (ENV + "command: a\ninputs: {n: {type: integer, default: 1.5}}\n", [(3, "inputs.n", "bad_input")]),
        (ENV + "command: a\ninputs: {n: {type: number, default: $(x)}}\n", [(3, "inputs.n", "bad_input")]),
        (ENV + "command: a\noutputs: {'../x': }\n", [(3, "outputs.../x", "bad_output")]),
        (ENV + "command: a\noutputs: {x: ../y}\n", [(3, "outputs.x", "wrong_type")]),
        (ENV + "command: a\nlimits: {timeout: soon}\n", [(3, "limits.timeout", "bad_timeout")]),
        (ENV + "command: a\nenvironment_variables: {A B: c}\n", [(3, "environment_variables.A B", "bad_variable")]),
        ("type: sweep\ntrial: {}\n", [(1, "type", "not_a_command_job")]),
    ],
)  # fmt: skip
def test_every_fault_has_its_place(text: str, expected: list[tuple[int, str, str]], place: Path) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read("$schema: https://x/commandJob.schema.json\n" + text)
    assert [(fault.line, fault.field, fault.code) for fault in caught.value.faults] == [
        (line if code == "missing_key" and not field else line + 1, field, code) for line, field, code in expected
    ]
    assert "fern" not in f"{caught.value}"


def test_a_job_is_a_definition_of_its_environment(place: Path) -> None:
    Path("job.yml").write_text(JOB.replace("image:", "name: churn\n  version: 3\n  image:"))
    found = formats.read("job.yml")
    assert (found.environment.name, found.environment.python.conda) == ("churn", ("python=3.11",))
    assert [(loss.line, loss.field) for loss in found.losses] == [
        (3, "code, command, inputs, outputs, environment_variables, experiment_name, compute, resources, limits"), (17, "environment.version"),
    ]  # fmt: skip
    assert "`wardian run -f job.yml`" in (found.losses[0].hint or "")
    assert "environment.version" in found.text
    assert found.places["python.conda[0]"].field == "environment.conda_file.dependencies[0]"
    again = formats.read_text(found.text, found.format)
    assert again.environment == found.environment
    Path("job.yml").write_text("command: a\nenvironment: azureml:AzureML-sklearn-1.5@latest\n")
    with pytest.raises(InvalidDefinition, match="does not say what is in it") as caught:
        formats.read("job.yml")
    assert "az ml environment show --name AzureML-sklearn-1.5" in (caught.value.faults[0].hint or "")


def test_a_file_that_says_not_what_runs_is_no_job(place: Path) -> None:
    assert formats.find_job("env.yml") is None
    with pytest.raises(InvalidInput, match="does not say what runs"):
        formats.read_job("env.yml")


def test_a_list_is_no_job(place: Path) -> None:
    with pytest.raises(InvalidDefinition, match="a job is a mapping"):
        azureml_job.read_job("- command: a\n", file="job.yml")


def test_an_input_that_is_given_needs_a_path(place: Path) -> None:
    text = "command: a ${{inputs.lr}}\nenvironment: azureml:a:1\ninputs: {lr: 1, data: {type: uri_folder, path: gone}}\n"
    with pytest.raises(InvalidDefinition, match="`data` is given without a path"):
        read(text, Given({"data": ""}))
    assert read(text, Given({"data": ".", "lr": ""})).variables == {"AZUREML_PARAMETER_lr": ""}


def test_thousands_of_inputs_are_read(place: Path) -> None:
    inputs = "".join(f"  i{number}: {{type: uri_folder, path: .}}\n" for number in range(5000))
    found = read(
        f"command: a {' '.join(f'${{{{inputs.i{number}}}}}' for number in range(2000))}\nenvironment: azureml:a:1\ninputs:\n{inputs}"
    )
    assert len(found.inputs) == 5000
