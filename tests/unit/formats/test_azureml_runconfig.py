"""Azure ML's run configurations (SDK v1): what is read, what is lost and told, and every fault in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from wardian import formats
from wardian.errors import InvalidDefinition
from wardian.formats import azureml_runconfig
from wardian.formats.azureml_runconfig_keys import SPARK_TAKEN
from wardian.formats.job import Given, ReadJob
from wardian.run.targets import spark_options

# all that the SDK (1.61) writes into one, in the order in which it does
SAVED: dict[str, Any] = {
    "script": "train.py", "arguments": [], "target": "local", "framework": "Python", "communicator": "None", "maxRunDurationSeconds": None,
    "nodeCount": 1, "priority": None,
    "environment": {
        "name": "default-environment", "version": None, "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
        "python": {"userManagedDependencies": False, "interpreterPath": "python", "condaDependenciesFile": ".azureml/conda_dependencies.yml",
                   "baseCondaEnvironment": None},
        "docker": {"enabled": False, "baseImage": "team/base:1", "baseDockerfile": None, "buildContext": None, "sharedVolumes": True, "shmSize": "2g",
                   "arguments": [], "baseImageRegistry": {"address": None, "username": None, "password": None, "registryIdentity": None},
                   "platform": {"os": "Linux", "architecture": "amd64"}},
        "spark": {"repositories": [], "packages": [], "precachePackages": True},
        "databricks": {"mavenLibraries": [], "pypiLibraries": [], "rcranLibraries": [], "jarLibraries": [], "eggLibraries": []},
        "r": None, "inferencingStackVersion": None, "assetId": None,
    },
    "history": {"outputCollection": True, "snapshotProject": True, "directoriesToWatch": ["logs"]},
    "spark": {"configuration": {"spark.app.name": "Azure ML Experiment", "spark.yarn.maxAppAttempts": 1}},
    "docker": {"useDocker": False, "sharedVolumes": True, "arguments": [], "shmSize": "2g"},
    "hdi": {"yarnDeployMode": "cluster"}, "tensorflow": {"workerCount": 1, "parameterServerCount": 1}, "mpi": {"processCountPerNode": 1, "nodeCount": 1},
    "pytorch": {"communicationBackend": "nccl", "processCount": None, "nodeCount": 1},
    "paralleltask": {"maxRetriesPerWorker": 0, "workerCountPerNode": 1, "terminalExitCodes": None},
    "dataReferences": {}, "data": {}, "datacaches": [], "outputData": {}, "sourceDirectoryDataStore": None,
    "amlcompute": {"vmSize": None, "vmPriority": None, "retainCluster": False, "name": None, "clusterMaxNodeCount": None},
    "autoClusterComputeSpecification": None, "kubernetescompute": {"instanceType": None}, "credentialPassthrough": False, "command": "",
    "environmentVariables": {}, "applicationEndpoints": {},
}  # fmt: skip
UNNAMED = [("dropped", "environment.name"), ("dropped", "environment.environmentVariables.EXAMPLE_ENV_VAR")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".azureml").mkdir()
    (tmp_path / ".azureml/conda_dependencies.yml").write_text("channels: [conda-forge]\ndependencies: [python=3.11]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(changes: dict[str, Any], given: Given | None = None, *, file: str = ".azureml/gpu.runconfig") -> ReadJob:
    document = {**SAVED, **changes}
    Path(file).write_text(
        json.dumps(document, indent=1) if file.endswith(".json") else yaml.safe_dump(document, sort_keys=False)
    )
    return formats.read_job(file, given)


def told(found: ReadJob) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in found.losses]


@pytest.mark.parametrize("file", [".azureml/gpu.runconfig", "saved.json"])
def test_what_the_sdk_saves_is_a_script_of_the_project(place: Path, file: str) -> None:
    found = read({}, file=file)
    assert (found.kind, found.words, found.source) == ("script", ("train.py",), place)
    assert found.environment is not None
    assert found.environment.environment.name is None
    assert found.environment.environment.python.conda == ("python=3.11",)
    assert found.environment.environment.docker.base_image == "team/base:1"
    assert (found.variables, found.timeout_s, found.options) == ({}, None, {})
    assert told(found) == UNNAMED


def test_all_that_a_run_has(place: Path) -> None:
    found = read({
        "script": "./sub/train.py", "arguments": ["--epochs", 3, "--name", "a b"], "maxRunDurationSeconds": 3600, "environmentVariables": {"SEED": "1"},
        "docker": {"useDocker": True, "shmSize": "8g"},
    }, Given(target=True))  # fmt: skip
    assert (found.kind, found.words) == ("script", ("sub/train.py", "--epochs", "3", "--name", "a b"))
    assert (found.timeout_s, found.variables, found.options) == (3600.0, {"SEED": "1"}, {"shm": "8g"})
    assert told(found) == UNNAMED


def test_every_thing_that_has_no_place_here_is_told(place: Path) -> None:
    found = read({
        "target": "gpu-cluster", "framework": "PyTorch", "communicator": "Nccl", "nodeCount": 2, "priority": 3,
        "environment": {**SAVED["environment"], "name": "churn", "environmentVariables": {"A": "1"},
                        "r": {"rVersion": "4.1", "cranPackages": [{"name": "caret"}], "githubPackages": [{"repository": "a/b", "authToken": "fern-1842"}]},
                        "databricks": {"jarLibraries": [{"library": "x.jar"}]}},
        "history": {"outputCollection": False, "directoriesToWatch": ["logs", "more"]},
        "spark": {"configuration": {"spark.executor.memory": "4g"}}, "docker": {"useDocker": True, "arguments": ["--privileged"]},
        "mpi": {"processCountPerNode": 4}, "pytorch": {"processCount": 8},
        "dataReferences": {"images": {"dataStoreName": "store", "mode": "Mount", "pathOnDataStore": "x"}}, "outputData": {"model": {"outputLocation": {}}},
        "amlcompute": {"vmSize": "STANDARD_NC6"}, "environmentVariables": {"DB_PASSWORD": "fern-1842"},
    })  # fmt: skip
    assert sorted(told(found)) == sorted([
        ("changed", "target"), ("changed", "framework"), ("dropped", "communicator"), ("dropped", "nodeCount"), ("dropped", "priority"),
        ("dropped", "environment.r.rVersion"), ("dropped", "environment.r.cranPackages[0]"),
        ("dropped", "environment.r.githubPackages[0]"), ("dropped", "environment.databricks.jarLibraries"), ("dropped", "history.outputCollection"),
        ("dropped", "history.directoriesToWatch"), ("dropped", "spark.configuration.spark.executor.memory"), ("dropped", "docker.useDocker"),
        ("dropped", "docker.arguments"), ("dropped", "mpi.processCountPerNode"), ("dropped", "pytorch.processCount"),
        ("dropped", "dataReferences.images"), ("dropped", "outputData.model"), ("dropped", "amlcompute.vmSize"),
        ("stripped", "environmentVariables.DB_PASSWORD"),
    ])  # fmt: skip
    assert "fern" not in f"{found}"
    assert "caret" in next(loss.value for loss in found.losses if loss.field == "environment.r.cranPackages[0]")
    assert found.environment is not None
    assert found.environment.environment.name == "churn"


PYSPARK: dict[str, Any] = {
    "framework": "PySpark", "target": "synapse", "docker": {"shmSize": "8g"},
    "spark": {"configuration": {"spark.app.name": "Azure ML Experiment", "spark.executor.memory": "4g", "spark.jars.packages": "a:b:1"}},
}  # fmt: skip


def test_a_job_for_spark_runs_as_one_with_its_settings(place: Path) -> None:
    found = read(PYSPARK)
    assert (found.target, found.options) == ("spark", {"spark.executor.memory": "4g"})
    assert sorted(told(found)) == sorted([
        ("changed", "target"), ("dropped", "spark.configuration.spark.jars.packages"), ("dropped", "docker.shmSize"), *UNNAMED,
    ])  # fmt: skip
    elsewhere = read(PYSPARK, Given(target=True))
    assert (elsewhere.target, elsewhere.options) == (None, {"shm": "8g"})
    assert ("changed", "framework") in told(elsewhere)


def test_what_spark_is_not_told_is_what_wardian_tells_it() -> None:
    assert set(SPARK_TAKEN) == set(spark_options._TAKEN)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"command": ["python", "-m", "train", "--n", "1"], "script": None}, "program", ("python", "-m", "train", "--n", "1")),
        ({"command": "python train.py && ls", "script": None}, "program", ("bash", "-c", "python train.py && ls")),
        ({"script": "train.R", "framework": "R", "arguments": ["1"]}, "program", ("Rscript", "train.R", "1")),
        ({"arguments": ["--data", "$AZUREML_DATAREFERENCE_images", "it's"]}, "program", ("bash", "-c", "python train.py --data \"${WARDIAN_INPUT_IMAGES}\" 'it'\"'\"'s'")),
        ({"arguments": ["$AZUREML_DATAREFERENCE_images"], "DataReferences": {"images": {"DataStoreName": "x"}}}, "program", ("bash", "-c", 'python train.py "${WARDIAN_INPUT_IMAGES}"')),
        ({"arguments": ["a b/$AZUREML_DATAREFERENCE_images"]}, "program", ("bash", "-c", "python train.py 'a b/'\"${WARDIAN_INPUT_IMAGES}\"")),
        ({"arguments": ["DatasetConsumptionConfig:images"]}, "program", ("bash", "-c", 'python train.py "${WARDIAN_INPUT_IMAGES}"')),
    ],
)  # fmt: skip
def test_what_runs(changes: dict[str, Any], kind: str, words: tuple[str, ...], place: Path) -> None:
    (place / "data").mkdir()
    found = read(changes, Given({"images": "data"}))
    assert (found.kind, found.words) == (kind, words)


def test_the_environment_may_be_a_file_or_a_reference(place: Path) -> None:
    (place / ".azureml/environment.yml").write_text(yaml.safe_dump({**SAVED["environment"], "name": "apart"}))
    found = read({"environment": ".azureml/environment.yml"})
    assert found.environment is not None
    assert (found.environment.environment.name, found.environment.environment.python.conda) == ("apart", ("python=3.11",))
    found = read({"environment": {"name": "AzureML-sklearn-1.5", "version": 3}})
    assert (found.environment, found.reference, found.reference_text) == (
        None,
        "AzureML-sklearn-1.5:3",
        "azureml:AzureML-sklearn-1.5:3",
    )
    assert read({"environment": {"name": "churn", "version": None}}).reference == "churn"
    assert read({"environment": None}, Given(environment=True)).environment is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"script": None}, [("", "missing_key")]),
        ({"script": "../train.py"}, [("script", "script_outside_source")]),
        ({"environment": None}, [("", "missing_key")]),
        ({"environment": "gone.yml"}, [("environment", "no_such_path")]),
        ({"environment": {"name": "a b", "version": "1"}}, [("environment", "bad_reference")]),
        ({"environment": {"name": "a b", "docker": {"baseImage": "x"}}}, [("environment.name", "bad_name")]),
        ({"environment": {"docker": {"baseImage": "x", "platform": {"os": "Windows"}}}}, [("environment.docker.platform.os", "not_linux")]),
        ({"arguments": ["$AZUREML_DATAREFERENCE_images"]}, [("arguments", "remote_input")]),
        ({"maxRunDurationSeconds": "soon"}, [("maxRunDurationSeconds", "bad_timeout")]),
        ({"environmentVariables": {"A B": "1"}}, [("environmentVariables.A B", "bad_variable")]),
        ({"arguments": "--epochs 3"}, [("arguments", "wrong_type")]),
    ],
)  # fmt: skip
def test_every_fault_has_its_place(changes: dict[str, Any], expected: list[tuple[str, str]], place: Path) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read(changes)
    assert [(fault.field, fault.code) for fault in caught.value.faults] == expected
    assert all(fault.file == ".azureml/gpu.runconfig" and fault.line for fault in caught.value.faults)


def test_its_environment_is_a_definition(place: Path) -> None:
    read({"arguments": ["a"], "target": "cpu"})
    found = formats.read(".azureml/gpu.runconfig")
    assert found.environment.python.conda == ("python=3.11",)
    assert [(loss.kind, loss.field) for loss in found.losses] == [("dropped", "script, arguments, target"), *UNNAMED]
    again = formats.read_text(found.text, found.format)
    assert again.environment == found.environment
    with pytest.raises(InvalidDefinition, match="a run configuration is a mapping"):
        azureml_runconfig.read_job("- a\n", file="x.runconfig")
