"""From the options of `wardian run -f JOB` to what is said beside the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wardian.cli.pairs import pairs
from wardian.cli.run_options import duration_s, memory, variables_of, version_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.run.configuration import RunConfiguration
    from wardian.sdk.workspace import Workspace
    from wardian.workspace.version import EnvironmentVersion


def is_job(words: tuple[str, ...], options: Mapping[str, Any]) -> bool:
    """Whether nothing but the file says what runs, and it does."""
    from wardian import formats

    file = options["file"]
    return not words and file is not None and not options["module"] and formats.find_job(file) is not None


def planned(workspace: Workspace, options: Mapping[str, Any]) -> tuple[EnvironmentVersion, RunConfiguration]:
    """Return the version and the configuration that the job's file and the options beside it state; the options win."""
    from wardian.run.configuration import Resources
    from wardian.sdk.jobs import Beside

    environment = None
    if options["reference"] or options["requirements"]:
        environment = version_for(workspace.environments, None, {**options, "file": None, "with_packages": ()})
    said = click.get_current_context().get_parameter_source("experiment") is not click.core.ParameterSource.DEFAULT
    beside = Beside(
        environment=environment,
        inputs=pairs(options["inputs"], "--input"),
        variables=variables_of(options["variables"]),
        experiment=options["experiment"] if said else None,
        target=options["target"],
        timeout_s=duration_s(options["timeout"]),
        source=options["source"].absolute() if options["source"] else None,
        resources=Resources(
            cpus=options["cpus"], memory_bytes=memory(options["memory"]), gpus=options["gpus"], nodes=options["nodes"]
        ),
        options=pairs(options["target_options"], "--option"),
        with_packages=tuple(options["with_packages"]),
    )
    return workspace.runs.from_file(options["file"], beside)
