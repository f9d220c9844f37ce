"""What `wardian deploy` and `wardian endpoint update` have in common: from their words to configurations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wardian.cli.completion import complete_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardian.run.configuration import Resources
    from wardian.sdk.workspace import Workspace
    from wardian.serving.deployment import DeploymentConfiguration, InferenceConfiguration

F = TypeVar("F", bound="Callable[..., Any]")

_OPTIONS = (
    click.option("--entry", metavar="F", help="What scores: a script with init() and run(data), or MODULE:FUNCTION; models of MLflow and scikit-learn need none."),
    click.option("--source", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="The directory of the code, which is copied; the current one."),
    click.option("-e", "--environment", "reference", metavar="REF", shell_complete=complete_reference, help="Another environment than the one that trained the model."),
    click.option("-V", "--variable", "variables", multiple=True, metavar="K[=V]", help="A variable of the scoring script; without =V your own."),
    click.option("-t", "--target", type=click.Choice(["local", "podman", "docker"]), help="Where: this machine, or containers of an engine on it."),
    click.option("--replicas", type=int, metavar="N", help="Servers beside each other, on the one port."),
    click.option("--workers", type=int, metavar="N", help="Processes of each replica that hold the model."),
    click.option("--threads", type=int, metavar="N", help="Requests that each of them takes at a time."),
    click.option("--worker-memory", metavar="SIZE", help="A worker that holds more is replaced, once the next one is ready."),
    click.option("--worker-requests", type=int, metavar="N", help="A worker is replaced after so many."),
    click.option("--cpus", type=float, metavar="N", help="For each replica: a limit in containers."),
    click.option("--memory", metavar="SIZE", help="For each replica: 512M, 4G; a limit in containers."),
    click.option("--gpus", type=int, metavar="N", help="For each replica."),
    click.option("--timeout", metavar="T", help="For one request: 90, 30s, 10m; else 60 s."),
    click.option("--startup-timeout", metavar="T", help="For init(); else 5 minutes."),
    click.option("--drain", metavar="T", help="For requests under way, when a replica is to end; else 30 s."),
    click.option("--max-body", metavar="SIZE", help="Of a request; else 100M."),
    click.option("--max-queue", type=int, metavar="N", help="Requests that may wait, else 1000; more are refused."),
    click.option("--cors", multiple=True, metavar="ORIGIN", help="Where browsers may ask from; * for everywhere."),
    click.option("--log", type=click.Choice(["text", "json"]), help="How the server's log is written."),
)  # fmt: skip


def deploy_options(function: F) -> F:
    """Give a command the options of a deployment."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def configuration_of(options: Mapping[str, Any], base: DeploymentConfiguration) -> DeploymentConfiguration:
    """Return ``base`` with what the options say.

    Raises:   UsageError: a value that cannot be read.  InvalidInput: one that cannot be.
    """
    from wardian.cli.run_options import duration_s, memory

    given: dict[str, Any] = {
        name: options[name]
        for name in ("target", "replicas", "workers", "threads", "max_queue", "worker_requests", "log", "port")
        if options.get(name) is not None
    }
    given |= {
        f"{name}_s": duration_s(options[name]) for name in ("timeout", "startup_timeout", "drain") if options[name] is not None
    }
    if options["max_body"] is not None:
        given["max_body_bytes"] = memory(options["max_body"])
    if options["worker_memory"] is not None:
        given["worker_memory_bytes"] = memory(options["worker_memory"])
    if options["cors"]:
        given["cors"] = options["cors"]
    if options["variables"]:
        given["variables"] = {**base.variables, **_variables(options["variables"])}
    given["resources"] = _resources(options, base)
    return replace(base, **given)


def inference_of(options: Mapping[str, Any], base: InferenceConfiguration, workspace: Workspace) -> InferenceConfiguration:
    """Return ``base`` with what the options say."""
    entry, source, environment = base.entry, base.source, base.environment
    if options["entry"] is not None:
        entry, source = options["entry"], (options["source"] or Path()).absolute()
    elif options["source"] is not None:
        source = options["source"].absolute()
    if options["reference"] is not None:
        environment = workspace.environments.get(options["reference"])
    return replace(base, entry=entry, source=source, environment=environment)


def _variables(texts: tuple[str, ...]) -> dict[str, str]:
    import os

    from wardian.cli.run_options import variables_of

    found = {}
    for name, value in variables_of(texts).items():
        if value is None and name not in os.environ:
            raise click.UsageError(
                f"the variable `{name}` is to be passed on, but is not set here: `-V {name}=VALUE` gives a value"
            )
        found[name] = os.environ[name] if value is None else value
    return found


def _resources(options: Mapping[str, Any], base: DeploymentConfiguration) -> Resources:
    from wardian.cli.run_options import memory

    given = {name: options[name] for name in ("cpus", "gpus") if options[name] is not None}
    if options["memory"] is not None:
        given["memory_bytes"] = memory(options["memory"])
    return replace(base.resources, **given)
