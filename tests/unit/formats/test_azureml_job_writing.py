"""Runs as jobs and run configurations of Azure ML: what is written reads as the same run, or the ledger says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.builders import an_environment
from tests.support.azure_jobs import CONDA, JOBS, USER, save

from wardian import formats
from wardian.definition.docker_section import DockerSection
from wardian.definition.environment import Environment, PythonSection
from wardian.errors import InvalidInput
from wardian.formats.azureml_job_writing import shell_line, write_job
from wardian.formats.azureml_runconfig_writing import write_runconfig
from wardian.formats.job import ReadJob


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_is_written_reads_as_the_same_run(name: str, tmp_path: Path) -> None:
    job = JOBS[name]
    (tmp_path / "code").mkdir()
    written = write_job(job, CONDA, code="code")
    assert [(loss.kind, loss.field) for loss in written.losses] == [
        ("changed", "environment.python.constraints"), ("added", "environment_variables.WARDIAN_OUTPUT_DIR"),
    ]  # fmt: skip
    found = formats.read_job(save(written, tmp_path, "job.yml"))
    assert (found.kind, found.words) == ("program", ("bash", "-c", shell_line(job)))
    assert (found.inputs, set(found.outputs), dict(found.variables)) == (job.inputs, set(job.outputs), job.variables)
    assert (found.experiment, found.timeout_s, found.options) == (job.experiment or "default", job.timeout_s, job.options)
    assert found.source == tmp_path / "code"
    assert found.environment is not None
    assert found.environment.environment == CONDA
    assert found.losses == ()
    again = write_job(replace(found, losses=()), found.environment.environment, code="code")
    assert again.text == written.text
    assert set(yaml.safe_load(written.text)) <= {"$schema", "type", "experiment_name", "code", "command", "inputs", "outputs", "environment",
                                                 "environment_variables", "resources", "limits"}  # fmt: skip


def test_inputs_that_no_word_names_are_set_for_the_script() -> None:
    document = yaml.safe_load(write_job(JOBS["unnamed inputs"], CONDA, code=None).text)
    assert (
        document["command"] == "export WARDIAN_INPUT_DATA=${{inputs.data}} WARDIAN_INPUT_MORE=${{inputs.more}}\npython train.py"
    )
    assert {name: one["type"] for name, one in document["inputs"].items()} == {"data": "uri_folder", "more": "uri_file"}
    assert document["environment_variables"] == {"WARDIAN_OUTPUT_DIR": "outputs"}
    assert "code" not in document


def test_what_a_job_cannot_say_is_in_the_ledger() -> None:
    job = replace(
        JOBS["all"],
        inputs={"raw-data": Path("/")},
        timeout_s=1.5,
        variables={"AZUREML_PARAMETER_api_key": None, "TOKEN": None, "WANDB_MODE": "x"},
    )
    written = write_job(job, CONDA, code=None)
    assert {(loss.kind, loss.field) for loss in written.losses} >= {
        ("changed", "inputs.raw-data"), ("changed", "limits.timeout"), ("stripped", "inputs.api_key"), ("dropped", "environment_variables.TOKEN"),
    }  # fmt: skip
    assert yaml.safe_load(written.text)["inputs"] == {"raw_data": {"type": "uri_folder", "path": "/"}, "api_key": ""}
    with pytest.raises(InvalidInput, match="machine's own Python"):
        write_job(job, USER, code=None)


def test_a_dockerfile_lies_beside_the_job(tmp_path: Path) -> None:
    steps = Environment("steps", PythonSection("user"), DockerSection(dockerfile="FROM ubuntu:24.04\nRUN true\n"))
    written = write_job(JOBS["script"], steps, code=None)
    assert list(written.files or ()) == ["steps-context/Dockerfile"]
    found = formats.read_job(save(written, tmp_path, "job.yml")).environment
    assert found is not None
    assert found.environment.docker.build_context is not None


RUNCONFIG_LOST = {
    "all": ["inputs.data", "outputs.model", "experiment", "command"],
    "unnamed inputs": ["inputs.data", "inputs.more"],
}


@pytest.mark.parametrize("environment", [CONDA, USER, an_environment(name="plain")])
@pytest.mark.parametrize("name", JOBS)
def test_a_run_configuration_that_is_written_reads_as_the_same_run(name: str, environment: Environment, tmp_path: Path) -> None:
    job = JOBS[name]
    written = write_runconfig(job, environment, in_container=False)
    assert [loss.field for loss in written.losses if not loss.field.startswith("environment.")] == RUNCONFIG_LOST.get(name, [])
    found = formats.read_job(save(written, tmp_path, ".azureml/run.runconfig"))
    kind, words = ("program", ("python", "-m", *job.words)) if job.kind == "module" else (job.kind, job.words)
    assert (found.kind, found.words, found.source) == (kind, words, tmp_path)
    assert (dict(found.variables), found.timeout_s, found.options) == (job.variables, job.timeout_s, job.options)
    assert found.environment is not None
    if not any(loss.field.startswith("environment.") for loss in written.losses):
        assert found.environment.environment == environment
    assert found.losses == ()
    again = write_runconfig(replace(found, losses=()), found.environment.environment, in_container=False)
    assert again.text == written.text


def test_a_run_on_spark_is_written_as_it_is_read(tmp_path: Path) -> None:
    job = ReadJob(
        "",
        "",
        "script",
        ("train.py",),
        options={"spark.executor.memory": "4g", "master": "spark://127.0.0.1:7077"},
        target="spark",
    )
    written = write_runconfig(job, CONDA, in_container=False)
    assert ("dropped", "options.master") in [(loss.kind, loss.field) for loss in written.losses]
    again = formats.read_job(save(written, tmp_path, ".azureml/run.runconfig"))
    assert (again.target, again.options, again.words) == ("spark", {"spark.executor.memory": "4g"}, ("train.py",))
    command = write_job(job, CONDA, code="code")
    assert [loss.value for loss in command.losses if loss.field == "type"] == [
        "spark.executor.memory=4g, master=spark://127.0.0.1:7077"
    ]
