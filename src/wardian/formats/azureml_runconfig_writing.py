"""A run as a run configuration of Azure ML's SDK v1: the files below `.azureml`, and a ledger of what they cannot say."""

from __future__ import annotations

import json
import math
import shlex
from typing import TYPE_CHECKING, Any

from wardian.formats.azureml import Written
from wardian.formats.azureml_job_keys import SHELL
from wardian.formats.azureml_writing import CONDA_FILE, write_v1
from wardian.formats.ledger import Ledger
from wardian.formats.yaml_emit import scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.definition.environment import Environment
    from wardian.formats.job import ReadJob

DIRECTORY = ".azureml"
FILE = f"{DIRECTORY}/run.runconfig"


def write_runconfig(job: ReadJob, environment: Environment, *, in_container: bool) -> Written:
    """Return ``job`` as a run configuration that `azureml_runconfig.read_job` reads as the same run: files of the project's directory.

    Args:     in_container: whether it ran in a container.
    Raises:   InvalidInput: code ``not_expressible``: see `write_v1`.
    """
    ledger = Ledger()
    written = write_v1(environment)
    for loss in written.losses:
        ledger.note(loss.kind, f"environment.{loss.field}", loss.why, hint=loss.hint, value=loss.value)
    stated: dict[str, Any] = json.loads(written.text)
    files = {}
    if (conda := (written.files or {}).get(CONDA_FILE)) is not None:
        files[f"{DIRECTORY}/{CONDA_FILE}"] = conda
        stated["python"]["condaDependenciesFile"] = f"{DIRECTORY}/{CONDA_FILE}"
        stated["python"].pop("condaDependencies", None)
    for name in job.inputs:
        ledger.note("dropped", f"inputs.{name}", "its data lies in Azure's storage there: `dataReferences`", value=str(job.inputs[name]),
                    hint=f"`wardian run --input {name}=PATH` gives it here")  # fmt: skip
    for name in job.outputs:
        ledger.note("dropped", f"outputs.{name}", "a script makes its directories below `outputs/` itself")
    if job.experiment not in (None, "default"):
        ledger.note("dropped", "experiment", "it is named where the run is submitted", value=job.experiment or "")
    script, arguments, command = _command(job, ledger)
    document: dict[str, Any] = {
        "script": script,
        "arguments": arguments,
        "target": "local",
        "framework": "PySpark" if job.target == "spark" else "Python",
        "communicator": "None",
        "maxRunDurationSeconds": _seconds(job, ledger),
        "nodeCount": 1,
        "environment": stated,
        "history": {"outputCollection": True, "snapshotProject": True, "directoriesToWatch": ["logs"]},
        "docker": {"useDocker": in_container, "sharedVolumes": True, "shmSize": job.options.get("shm", "2g"),
                   "arguments": shlex.split(job.options.get("arguments", ""))},
        **_spark(job, ledger),
        "command": command,
        "environmentVariables": _variables(job, ledger),
    }  # fmt: skip
    files[FILE] = "".join(f"{line}\n" for line in _lines(document, 0))
    return Written(files[FILE], (*job.losses, *ledger.losses), files, is_directory=True)


def _command(job: ReadJob, ledger: Ledger) -> tuple[str | None, list[str], list[str] | str]:
    if job.kind == "script":
        return job.words[0], list(job.words[1:]), ""
    if job.kind == "module":
        return None, [], ["python", "-m", *job.words]
    if job.words[:2] == SHELL and len(job.words) == len(SHELL) + 1:
        if "WARDIAN_" in job.words[2]:
            ledger.note("changed", "command", "Azure ML sets no `WARDIAN_…` variables", hint="`--to azureml-job` says inputs and outputs", value=job.words[2])  # fmt: skip
        return None, [], job.words[2]
    return None, [], list(job.words)


def _spark(job: ReadJob, ledger: Ledger) -> dict[str, Any]:
    """Return the section of a job for Spark: Spark's own settings. What says where it runs is told."""
    if job.target != "spark":
        return {}
    for name, value in job.options.items():
        if not name.startswith("spark."):
            ledger.note(
                "dropped",
                f"options.{name}",
                "a Spark of Azure's is attached to its workspace",
                hint="name it there: `target:`",
                value=value,
            )
    settings = {name: value for name, value in job.options.items() if name.startswith("spark.")}
    return {"spark": {"configuration": settings}} if settings else {}


def _seconds(job: ReadJob, ledger: Ledger) -> int | None:
    if job.timeout_s is None:
        return None
    seconds = math.ceil(job.timeout_s)
    if seconds != job.timeout_s:
        ledger.note("changed", "maxRunDurationSeconds", f"Azure ML counts whole seconds: {seconds}", value=f"{job.timeout_s:g}")
    return seconds


def _variables(job: ReadJob, ledger: Ledger) -> dict[str, str]:
    for name, value in job.variables.items():
        if value is None:
            ledger.note(
                "dropped", f"environmentVariables.{name}", "its value is not kept", hint="set it where the run is submitted"
            )
    return {name: value for name, value in job.variables.items() if value is not None}


def _lines(value: dict[str, Any], indent: int) -> Iterator[str]:
    """Yield the lines of a mapping: texts as YAML takes them for texts, and everything else plain."""
    pad = " " * indent
    for key, item in value.items():
        name = scalar(key)
        if isinstance(item, dict) and item:
            yield f"{pad}{name}:"
            yield from _lines(item, indent + 2)
        elif isinstance(item, list) and item:
            yield f"{pad}{name}:"
            yield from (f"{pad}- {_item(one)}" for one in item)
        else:
            yield f"{pad}{name}: {_plain(item)}".rstrip()


def _item(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(one, flow=True)}" for key, one in value.items()) + "}"
    return _plain(value)


def _plain(value: Any, *, flow: bool = False) -> str:
    if isinstance(value, str):
        return scalar(value, flow=flow)
    if value is None:
        return ""
    return json.dumps(value)
