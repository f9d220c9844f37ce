from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.jobs import a_configuration

from wardian.errors import InvalidInput
from wardian.run.configuration import Prepared
from wardian.run.record import RunRecord
from wardian.run.variables import SYSTEM_PATH, caller_variables, job_variables, recorded

CALLER = {
    "HOME": "/home/u", "LANG": "C.UTF-8", "LC_ALL": "de_DE", "LC_TIME": "C", "TZ": "UTC", "TERM": "xterm", "https_proxy": "http://p",
    "NO_PROXY": "localhost", "SSL_CERT_FILE": "/ca.pem", "REQUESTS_CA_BUNDLE": "/ca.pem",
    "PATH": "/caller/bin", "PYTHONPATH": "/caller", "LD_LIBRARY_PATH": "/caller", "USER": "u", "AWS_SECRET_ACCESS_KEY": "s",
    "WARDIAN_HOME": "/w", "CUDA_VISIBLE_DEVICES": "1", "WANDB_MODE": "offline", "WANDB_API_KEY": "k", "XLC_ALL": "x", "HOMEDIR": "x",
    "VIRTUAL_ENV": "/v", "CONDA_PREFIX": "/c", "PYTHONHOME": "/p",
}  # fmt: skip


def variables(prepared: Prepared | None = None, environ: dict[str, str] | None = None, **changes: Any) -> dict[str, str]:
    configuration = a_configuration(Path("/project"), **changes)
    caller = CALLER if environ is None else environ
    of_run = caller_variables(configuration, (), caller)
    record = RunRecord("1qjm5wmczg9m", "preparing", configuration, "2026")
    return job_variables(record, prepared or Prepared(None, sys.executable), Path("/run/outputs"), of_run, caller)


def test_little_of_the_callers_is_inherited() -> None:
    assert variables() == {
        "HOME": "/home/u", "LANG": "C.UTF-8", "LC_ALL": "de_DE", "LC_TIME": "C", "TZ": "UTC", "TERM": "xterm",
        "https_proxy": "http://p", "NO_PROXY": "localhost", "SSL_CERT_FILE": "/ca.pem", "REQUESTS_CA_BUNDLE": "/ca.pem",
        "PATH": SYSTEM_PATH, "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1",
        "WARDIAN_RUN_ID": "1qjm5wmczg9m", "WARDIAN_EXPERIMENT": "default", "WARDIAN_OUTPUT_DIR": "/run/outputs",
    }  # fmt: skip


def test_the_environments_variables_come_before_the_runs_and_wardians_last() -> None:
    prepared = Prepared(
        prefix=Path("/prefix"), python="/prefix/bin/python", path_entries=(Path("/prefix/bin"), Path("/prefix/condabin")),
        variables={"A": "environment", "B": "environment", "WARDIAN_RUN_ID": "forged", "PYTHONUNBUFFERED": "0"},
    )  # fmt: skip
    found = variables(prepared, environ={}, variables={"B": "run", "PYTHONNOUSERSITE": ""}, inputs={"train-set": Path("/data")})
    assert found == {
        "A": "environment", "B": "run", "PATH": f"/prefix/bin:/prefix/condabin:{SYSTEM_PATH}", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "0", "PYTHONNOUSERSITE": "", "WARDIAN_INPUT_TRAIN_SET": "/data",
        "WARDIAN_RUN_ID": "1qjm5wmczg9m", "WARDIAN_EXPERIMENT": "default", "WARDIAN_OUTPUT_DIR": "/run/outputs",
    }  # fmt: skip


def test_path_is_the_environments_then_the_definitions_and_a_run_may_replace_it() -> None:
    prepared = Prepared(Path("/prefix"), "/prefix/bin/python", {"PATH": "/opt/bin"}, (Path("/prefix/bin"),))
    assert variables(prepared)["PATH"] == "/prefix/bin:/opt/bin"
    assert variables(prepared, variables={"PATH": "/mine"})["PATH"] == "/mine"


def test_variables_are_passed_on_by_name_and_by_pattern() -> None:
    configuration = a_configuration(Path("/p"), variables={"CUDA_VISIBLE_DEVICES": None, "WANDB_*": None, "EPOCHS": "3"})
    assert caller_variables(configuration, ("US?R", "NOTHING_*"), CALLER) == {
        "CUDA_VISIBLE_DEVICES": "1", "WANDB_MODE": "offline", "WANDB_API_KEY": "k", "EPOCHS": "3", "USER": "u",
    }  # fmt: skip


def test_a_name_that_is_not_set_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="`HF_TOKEN`") as caught:
        caller_variables(a_configuration(Path("/p"), variables={"HF_TOKEN": None}), (), CALLER)
    assert caught.value.stable_code == "variable_not_set"


def test_records_hold_the_names_of_secrets_alone() -> None:
    assert recorded({"HF_TOKEN": "x", "EPOCHS": "3", "URL": "https://u:p@h/"}) == {"EPOCHS": "3", "HF_TOKEN": None, "URL": None}


def test_an_entry_stands_on_the_path_once() -> None:
    prepared = Prepared(
        None, "/opt/env/bin/python", variables={"PATH": "/opt/env/bin:/usr/bin:/bin"}, path_entries=(Path("/opt/env/bin"),)
    )
    assert variables(prepared)["PATH"] == "/opt/env/bin:/usr/bin:/bin"
