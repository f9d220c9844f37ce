"""The keys of an Azure ML job: those that a run has, and why it does not have the others."""

from __future__ import annotations

SHELL = ("bash", "-c")  # what Azure ML gives the command to
LONGEST_LINE = 100_000  # bytes; Linux takes 131,072 as one argument, and placeholders become longer
TYPES = {
    "pipeline": "run its steps one by one, each from a command job of its own",
    "sweep": "write its `trial` as a command job; `--input NAME=VALUE` sets one value of its search space",
    "spark": "write a command job: a Spark section belongs to the environment",
}
READ = (
    "$schema", "type", "code", "command", "inputs", "outputs", "environment", "environment_variables", "experiment_name", "compute", "resources",
    "limits",
)  # fmt: skip
_OF_AZURE = ("it tells what Azure's service did", None)
NOT_KEPT: dict[str, tuple[str, str | None]] = {
    "name": ("a run has an id of its own", None),
    "display_name": ("a run has no name", "`-x EXPERIMENT` puts runs together"),
    "description": ("a run has no description", None),
    "tags": ("a run has no tags", "`-x EXPERIMENT` puts runs together"),
    "properties": ("a run has no properties", None),
    "identity": ("a run is you, on this machine", None),
    "services": ("nothing is started beside a run", None),
    "distribution": ("one process is started", "`torchrun …` or `mpirun …` in the command starts more"),
    "queue_settings": ("nothing is queued here", None),
    "parent_job_name": ("a run has no parent", None),
    "id": _OF_AZURE,
    "status": _OF_AZURE,
    "creation_context": _OF_AZURE,
    "log_files": _OF_AZURE,
    "parameters": _OF_AZURE,
    "resourceGroup": _OF_AZURE,
}
UNREAD = {
    "environment_vars": "write `environment_variables`",
    "arguments": "arguments are part of `command`",
    "args": "arguments are part of `command`",
    "script": "write `command: python SCRIPT`",
    "component": "write a command job: `command`, `code` and `environment`",
    "jobs": "this is a pipeline: run its jobs one by one",
    "image": "it goes below `environment:`",
    "conda_file": "it goes below `environment:`",
}
RESOURCES: dict[str, tuple[str, str | None]] = {
    "instance_count": ("a run has one node", None),
    "max_instance_count": ("a run has one node", None),
    "instance_type": ("this machine is what it is", "`--cpus`, `--memory` and `--gpus` say what it must have"),
    "docker_args": ("arguments of a container engine widen what a run may do", "`-t podman --option 'arguments=…'` takes them"),
    "locations": ("they are Azure's", None),
    "properties": ("they are Azure's", None),
}
