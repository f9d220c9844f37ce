"""Files of Azure ML that say what runs: `wardian run -f`, with what is said beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.cli import Cli

SCRIPT = """\
import json, os, sys
print(json.dumps({"args": sys.argv[1:], "seed": os.environ.get("SEED"), "lr": os.environ.get("AZUREML_PARAMETER_lr")}))
open(sys.argv[2] + "/weights.txt", "w").write(open(sys.argv[1]).read())
"""
JOB = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
code: src
command: python train.py ${{inputs.data}} ${{outputs.model}} --lr ${{inputs.lr}}
inputs:
  data: {type: uri_file, path: data.csv}
  lr: 0.1
outputs:
  model: {type: uri_folder}
environment: azureml:host@latest
environment_variables: {SEED: "1"}
experiment_name: churn
display_name: brave_fern
compute: azureml:gpu-cluster
resources: {shm_size: 4g}
"""


@pytest.fixture
def lab(host: Cli) -> Cli:
    host.ok("env", "create", "plain", "--interpreter", sys.executable, "-V", "PLAIN=1")
    host.write("jobs/src/train.py", SCRIPT)
    host.write("jobs/data.csv", "fern\n")
    host.write("jobs/job.yml", JOB)
    host.write("other.csv", "moss\n")
    return host


def test_a_job_runs_with_its_inputs_and_outputs_and_tells_what_it_left_out(lab: Cli) -> None:
    document = lab.json("run", "-f", "jobs/job.yml")
    assert [(loss["kind"], loss["field"], loss["line"]) for loss in document["losses"]] == [
        ("dropped", "display_name", 12), ("changed", "compute", 13), ("dropped", "resources.shm_size", None),
    ]  # fmt: skip
    configuration = document["configuration"]
    assert configuration["environment"] == "host:1"
    assert (configuration["experiment"], configuration["outputs"]) == ("churn", ["model"])
    assert configuration["command"]["arguments"][1] == (
        'python train.py "${WARDIAN_INPUT_DATA}" "${WARDIAN_OUTPUT_DIR}/model" --lr "${AZUREML_PARAMETER_lr}"'
    )
    (output,) = document["results"]["outputs"]
    assert output["path"] == "outputs/model/weights.txt"
    shown = lab.json("runs", "show", "latest")
    assert (Path(shown["directory"]) / "snapshot" / output["path"]).read_text() == "fern\n"
    log = lab.ok("runs", "logs", "latest").out
    assert '"seed": "1"' in log
    again = lab.ok("runs", "reproduce", "latest")
    assert '"seed": "1", "lr": "0.1"' in again.out
    assert "1 file" in again.err


def test_what_is_said_beside_the_file_wins(lab: Cli) -> None:
    done = lab.ok("run", "-f", "jobs/job.yml", "-e", "plain", "-t", "local", "-x", "moss", "-V", "SEED=2", "--time", "5m", "--input", "data=other.csv",
                  "--input", "lr=0.5; touch pwned")  # fmt: skip
    assert done.out.startswith('{"args": ["' + str(lab.directory / "other.csv"))
    assert '"--lr", "0.5; touch pwned"]' in done.out
    assert '"seed": "2"' in done.out
    assert "compute" not in done.err
    configuration = lab.json("runs", "show", "latest")["configuration"]
    assert (configuration["environment"], configuration["experiment"], configuration["timeout_s"]) == ("plain:1", "moss", 300)


def test_an_environment_that_is_not_here_is_told_with_its_place(lab: Cli) -> None:
    lab.write("jobs/job.yml", JOB.replace("azureml:host@latest", "azureml:AzureML-sklearn-1.5:3"))
    done = lab.run("run", "-f", "jobs/job.yml")
    assert done.code == 125
    assert "jobs/job.yml:9 names `azureml:AzureML-sklearn-1.5:3`: there is no environment `AzureML-sklearn-1.5`" in done.err
    assert "`-e REF` takes another one; the nearest curated one is `Wardian-" in done.err
    assert "`az ml environment show --name AzureML-sklearn-1.5 --" in done.err
    assert done.err.count("az ml") == 1
    lab.write(
        "jobs/job.yml",
        JOB.replace("azureml:host@latest", "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"),
    )
    done = lab.run("run", "-f", "jobs/job.yml")
    assert "the nearest curated one is `Wardian-" in done.err
    assert "`az ml environment show --name sklearn-1.5 --label latest --registry-name azureml -o yaml" in done.err
    lab.write("jobs/job.yml", JOB.replace("azureml:host@latest", "azureml:host:7"))
    assert "environment `host` has no version `7`" in lab.run("run", "-f", "jobs/job.yml").err


def test_a_run_configuration_runs_the_script_of_its_project(lab: Cli) -> None:
    lab.write("jobs/.azureml/cpu.runconfig", """\
script: src/train.py
arguments: [data.csv, outputs]
framework: Python
target: cpu-cluster
environment: {name: host, version: 1}
environmentVariables: {SEED: "7"}
""")  # fmt: skip
    done = lab.ok("run", "-f", "jobs/.azureml/cpu.runconfig")
    assert '"seed": "7"' in done.out
    assert "changed: jobs/.azureml/cpu.runconfig:4 target: it runs on this machine" in done.err
    assert lab.json("runs", "show", "latest")["results"]["outputs"][0]["path"] == "outputs/weights.txt"


def test_with_words_of_its_own_the_file_is_an_environment_alone(lab: Cli) -> None:
    lab.write("jobs/job.yml", JOB.replace("azureml:host@latest", "{name: mine, conda_file: {dependencies: []}}"))
    done = lab.run("run", "-f", "jobs/job.yml", "jobs/src/train.py")
    assert "there is neither `image` nor `build`" in done.err
    lab.write("jobs/.azureml/user.runconfig", f"""\
script: src/train.py
framework: Python
environment: {{name: own, python: {{userManagedDependencies: true, interpreterPath: {sys.executable}}}}}
""")  # fmt: skip
    lab.write("hello.py", "print('hello')\n")
    done = lab.ok("run", "-f", "jobs/.azureml/user.runconfig", "hello.py")
    assert done.out == "hello\n"
    assert "dropped: jobs/.azureml/user.runconfig:1 script: what runs is no part of an environment" in done.err
    assert lab.ok("env", "create", "copy", "-f", "jobs/.azureml/user.runconfig").out.startswith("copy:1")


def test_a_fault_of_the_file_is_a_usage_error_before_anything_runs(lab: Cli) -> None:
    lab.write("jobs/job.yml", JOB.replace("inputs.data", "inputs.date"))
    done = lab.run("run", "-f", "jobs/job.yml")
    assert done.code == 125
    assert "jobs/job.yml:3: command: `${{inputs.date}}` stands for nothing in this job" in done.err
    assert lab.json("runs", "list")["runs"] == []


def test_a_run_is_written_as_a_job_and_runs_again(lab: Cli) -> None:
    first = lab.ok("run", "-f", "jobs/job.yml", "--time", "5m")
    refused = lab.run("runs", "export", "latest", "--to", "azureml-job", "-o", "out/job.yml")
    assert refused.code == 2
    assert "machine's own Python" in refused.err
    document = lab.json("runs", "export", "latest", "--to", "azureml-runconfig", "-o", "out")
    assert document["paths"] == [".azureml/run.runconfig"]
    assert {(loss["kind"], loss["field"]) for loss in document["losses"]} == {
        ("dropped", "inputs.data"), ("dropped", "outputs.model"), ("dropped", "experiment"), ("changed", "command"),
    }  # fmt: skip
    assert (lab.directory / "out/train.py").read_text() == SCRIPT
    (lab.directory / "out/train.py").write_text("import os\nos.mkdir('outputs/model')\n" + SCRIPT)
    again = lab.ok("run", "-f", "out/.azureml/run.runconfig", "--input", "data=jobs/data.csv")
    assert '"seed": "1", "lr": "0.1"' in again.out
    assert '"seed": "1", "lr": "0.1"' in first.out
    assert lab.run("runs", "export", "latest", "--to", "azureml-runconfig", "-o", "out").code == 5
    assert lab.run("runs", "export", "latest", "--to", "azureml-runconfig", "-o", "x", "--packages").code == 2


def test_a_run_with_secrets_is_written_without_them(lab: Cli) -> None:
    lab.write("hello.py", "print('hello')\n")
    lab.ok("run", "-e", "plain", "-V", "DB_PASSWORD=fern-1842", "hello.py", "--api-key", "fern-1842")
    document = lab.json("runs", "export", "latest", "--to", "azureml-runconfig", "-o", "out")
    assert {(loss["kind"], loss["field"]) for loss in document["losses"]} == {
        ("stripped", "command"), ("dropped", "environmentVariables.DB_PASSWORD"),
    }  # fmt: skip
    texts = "".join(path.read_text() for path in (lab.directory / "out").rglob("*") if path.is_file())
    assert "hello" in texts
    assert "1842" not in texts
