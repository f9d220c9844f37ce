"""A run as a command job of Azure ML: its YAML, and a ledger of what the YAML cannot say."""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING

from wardian.definition.docker_section import VARIABLE
from wardian.errors import InvalidInput
from wardian.formats.azureml import Written
from wardian.formats.azureml_job_keys import SHELL
from wardian.formats.azureml_line import outputs_in, to_azure, variables_in, with_exports
from wardian.formats.azureml_writing import v2_lines
from wardian.formats.conda_yaml import constraint_block
from wardian.formats.job import PARAMETER
from wardian.formats.ledger import Ledger
from wardian.formats.yaml_emit import entry, scalar, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.formats.job import ReadJob

SCHEMA = "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json"
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


def write_job(job: ReadJob, environment: Environment, *, code: str | None) -> Written:
    """Return ``job`` as a command job that `azureml_job.read_job` reads as the same run.

    Args:     code: the directory beside the YAML that its code is written to; None: it has none.
    Raises:   InvalidInput: code ``not_expressible``: the environment is a machine's own Python.
    """
    if environment.python.manager == "user" and environment.docker.base_image is None and not environment.docker.has_steps:
        raise InvalidInput("a command job of Azure ML runs in an image, and this run's environment is a machine's own Python", code="not_expressible",
                           hint="`--to azureml-runconfig` keeps its interpreter")  # fmt: skip
    ledger = Ledger()
    files: dict[str, str] = {}
    trees: dict[str, Digest] = {}
    inner = Ledger(prefix="environment.")
    stated, constraints = v2_lines(environment, inner, files, trees)
    ledger.take(inner.losses)
    inputs = {name: re.sub(r"[.-]", "_", name) for name in job.inputs}
    for name, written in inputs.items():
        if name != written:
            ledger.note("changed", f"inputs.{name}", f"Azure ML has no such names: it is `{written}`")
    literals = _literals(job, ledger)
    line, command = _command(job, inputs, literals)
    lines = [f"$schema: {SCHEMA}", "type: command"]
    lines += entry("experiment_name", job.experiment or "default", 0)
    lines += entry("code", f"./{code}", 0) if code is not None else []
    lines += entry("command", command, 0)
    lines += _inputs(job, inputs, literals)
    lines += _outputs(job, line)
    lines += ["environment:", *(f"  {text}" if text else text for text in stated)]
    lines += table("environment_variables", _variables(job, literals, ledger), 0)
    lines += _resources(job)
    _note_spark(job, ledger)
    if job.timeout_s is not None:
        seconds = math.ceil(job.timeout_s)
        if seconds != job.timeout_s:
            ledger.note("changed", "limits.timeout", f"Azure ML counts whole seconds: {seconds}", value=f"{job.timeout_s:g}")
        lines += ["limits:", f"  timeout: {seconds}"]
    return Written(
        "".join(f"{text}\n" for text in lines) + constraint_block(constraints), (*job.losses, *ledger.losses), files, trees
    )


def shell_line(job: ReadJob) -> str:
    """Return what runs as one line for a shell."""
    if job.kind == "program" and job.words[:2] == SHELL and len(job.words) == len(SHELL) + 1:
        return job.words[2]
    head = {"script": ("python",), "module": ("python", "-m"), "program": ()}[job.kind]
    return shlex.join((*head, *job.words))


def _command(job: ReadJob, inputs: Mapping[str, str], literals: Mapping[str, str]) -> tuple[str, str]:
    """Return the line for a shell, and the same for Azure ML."""
    line = shell_line(job)
    variables = {f"WARDIAN_INPUT_{name.upper()}": name for name in inputs.values()}
    names = {**variables, **{f"{PARAMETER}{name}": name for name in literals}}
    used = variables_in(line)
    return line, with_exports(to_azure(line, names), {key: name for key, name in variables.items() if key not in used})


def _literals(job: ReadJob, ledger: Ledger) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable, value in job.variables.items():
        name = variable.removeprefix(PARAMETER)
        if name == variable or not _NAME.fullmatch(name) or name.upper() in {one.upper() for one in job.inputs}:
            continue
        if value is None:
            ledger.note("stripped", f"inputs.{name}", "its value is a secret, and is not kept", hint="write it where the job is submitted")  # fmt: skip
        found[name] = value or ""
    return found


def _inputs(job: ReadJob, inputs: Mapping[str, str], literals: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for name, path in job.inputs.items():
        kind = "uri_folder" if path.is_dir() else "uri_file"
        lines += [f"  {inputs[name]}:", f"    type: {kind}", *entry("path", str(path), 4)]
    for name, text in literals.items():
        lines += entry(name, text, 2)
    return ["inputs:", *lines] if lines else []


def _outputs(job: ReadJob, line: str) -> list[str]:
    kinds = {**dict.fromkeys(outputs_in(line), "uri_file"), **dict.fromkeys(job.outputs, "uri_folder")}
    lines = [text for name, kind in kinds.items() for text in (f"  {name}:", f"    type: {kind}")]
    return ["outputs:", *lines] if lines else []


def _variables(job: ReadJob, literals: Mapping[str, str], ledger: Ledger) -> dict[str, str]:
    """Return the variables of a job: those of the run whose values are known, and where Azure ML looks for outputs."""
    found = {}
    for name, value in job.variables.items():
        if name.startswith(PARAMETER) and name.removeprefix(PARAMETER) in literals:
            continue
        if value is None:
            what = "its value is not kept" if VARIABLE.fullmatch(name) else "a job takes nothing from whoever submits it"
            ledger.note("dropped", f"environment_variables.{name}", what, hint="write it where the job is submitted")
        else:
            found[name] = value
    ledger.note("added", "environment_variables.WARDIAN_OUTPUT_DIR", "Azure ML keeps what a job writes below `outputs/`, too")
    return {**found, "WARDIAN_OUTPUT_DIR": "outputs"}


def _note_spark(job: ReadJob, ledger: Ledger) -> None:
    """Tell what a command job does not say of a job for Spark."""
    if job.target == "spark":
        settings = ", ".join(f"{name}={value}" for name, value in job.options.items())
        ledger.note(
            "changed",
            "type",
            "it ran on Spark, and is written as a command job",
            value=settings,
            hint="`--to azureml-runconfig` keeps Spark's settings",
        )


def _resources(job: ReadJob) -> list[str]:
    found = {"shm_size": job.options.get("shm"), "docker_args": job.options.get("arguments")}
    lines = [f"  {key}: {scalar(value)}" for key, value in found.items() if value]
    return ["resources:", *lines] if lines else []
