"""Configurations of deployments: frozen, always valid, written down without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wardian.errors import InvalidInput
from wardian.run.configuration import Resources
from wardian.serving.deployment import DeploymentConfiguration, InferenceConfiguration, check_endpoint_name

HERE = Path("/project")


@pytest.mark.parametrize("entry", ["score.py", "src/score.py", "package.module:predict"])
def test_entries(entry: str) -> None:
    assert InferenceConfiguration(entry, HERE).entry == entry


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("/tmp/score.py", "bad_entry"),
        ("../score.py", "bad_entry"),
        ("score.R", "bad_entry"),
        ("a b:c", "bad_entry"),
        ("x\0.py", "bad_entry"),
    ],
)
def test_entries_that_are_none(entry: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        InferenceConfiguration(entry, HERE)
    assert caught.value.stable_code == code


def test_an_entry_needs_an_absolute_source() -> None:
    for source in (None, Path("src")):
        with pytest.raises(InvalidInput) as caught:
            InferenceConfiguration("score.py", source)
        assert caught.value.stable_code == "bad_source"


def test_a_record_is_read_back_and_holds_no_secret() -> None:
    made = DeploymentConfiguration(target="podman", replicas=3, port=8080, variables={"LEVEL": "1", "API_TOKEN": "s3cr3t-value"}, workers=2,
                                   resources=Resources(cpus=1.5, memory_bytes=1 << 30), timeout_s=5, cors=("https://example.com",))  # fmt: skip
    document = made.as_document()
    assert document["variables"] == {"LEVEL": "1", "API_TOKEN": None}
    assert "s3cr3t" not in str(document)
    assert DeploymentConfiguration.from_document(document, {"API_TOKEN": "s3cr3t-value"}) == made
    assert DeploymentConfiguration.from_document(document).variables == {"LEVEL": "1"}
    assert DeploymentConfiguration().as_document() == {"target": "local", "workers": 1}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"target": "slurm"}, "unknown_target"),
        ({"replicas": 0}, "bad_replicas"),
        ({"replicas": 2.5}, "bad_replicas"),
        ({"workers": 1000}, "bad_workers"),
        ({"worker_memory_bytes": -1}, "bad_worker_memory_bytes"),
        ({"worker_requests": -1}, "bad_worker_requests"),
        ({"port": 0}, "bad_port"),
        ({"port": 70000}, "bad_port"),
        ({"timeout_s": 0}, "bad_timeout"),
        ({"drain_s": float("inf")}, "bad_timeout"),
        ({"variables": {"A-B": "1"}}, "bad_variable"),
        ({"variables": {"AZUREML_MODEL_DIR": "/"}}, "bad_variable"),
        ({"variables": {"WARDIAN_REPLICA": "1"}}, "bad_variable"),
        ({"variables": {"A": "\0"}}, "bad_variable"),
        ({"cors": ("example.com",)}, "bad_origin"),
        ({"log": "xml"}, "bad_log"),
        ({"resources": Resources(nodes=2)}, "bad_resources"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        DeploymentConfiguration(**values)
    assert caught.value.stable_code == code


@pytest.mark.parametrize("name", ["churn", "a", "my-model-2", "x" * 32])
def test_names(name: str) -> None:
    assert check_endpoint_name(name) == name


@pytest.mark.parametrize("name", ["", "Churn", "2nd", "a_b", "a-", "x" * 33, "a/b", "ä"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_endpoint_name(name)


def test_an_inference_configuration_is_given_whole_or_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = InferenceConfiguration("score.py", tmp_path, "sklearn:1")
    assert InferenceConfiguration.of(whole) is whole
    assert InferenceConfiguration.of(entry="score.py", environment="sklearn:1") == whole
    assert InferenceConfiguration.of(entry="score.py", source=".", environment="sklearn:1") == whole
    assert InferenceConfiguration.of() == InferenceConfiguration()
    for part in ({"entry": "other.py"}, {"source": "."}, {"environment": "sklearn:2"}):
        with pytest.raises(InvalidInput, match="has its own entry, source and environment") as caught:
            InferenceConfiguration.of(whole, **part)
        assert caught.value.stable_code == "given_twice"


def test_limits_of_workers_reach_the_server_and_the_record() -> None:
    made = DeploymentConfiguration(worker_memory_bytes=1 << 30, worker_requests=500)
    assert (made.server_document()["max_memory_bytes"], made.server_document()["max_requests"]) == (1 << 30, 500)
    assert made.as_document() == {"target": "local", "workers": 1, "worker_memory_bytes": 1 << 30, "worker_requests": 500}
    assert DeploymentConfiguration.from_document(made.as_document()) == made
    bare = DeploymentConfiguration().server_document()
    assert (bare["max_memory_bytes"], bare["max_requests"]) == (0, 0)
