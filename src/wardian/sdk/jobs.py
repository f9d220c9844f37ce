"""Runs from the files of other tools: a job that was read, and what is said beside it, become a version and a run configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wardian.errors import NotFound
from wardian.events import Event
from wardian.formats.job import Given
from wardian.formats.ledger import Loss

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.formats.job import ReadJob
    from wardian.run.configuration import Resources, RunConfiguration
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.runs import RunCollection
    from wardian.workspace.version import EnvironmentVersion

_SHM = {"azureml-job": "resources.shm_size", "azureml-runconfig": "docker.shmSize"}


@dataclass(frozen=True)
class Beside:
    """What is said beside a job's file, and goes before it.

    Attributes:
        environment: the version to run in.
        inputs: NAME → a path, or the value of a literal input.
        variables: NAME → value; None passes the caller's own on.
        source: the directory that the run gets a copy of, absolute.
        options: of the target.  with_packages: further requirements, for this run alone.
    """

    environment: EnvironmentVersion | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str | None] = field(default_factory=dict)
    experiment: str | None = None
    target: str | None = None
    timeout_s: float | None = None
    source: Path | None = None
    resources: Resources | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    with_packages: tuple[str, ...] = ()


def plan(
    parts: Parts, environments: EnvironmentCollection, runs: RunCollection, path: Path, beside: Beside
) -> tuple[EnvironmentVersion, RunConfiguration]:
    """Return the version and the configuration of the run that the file at ``path`` states; its environment is registered.

    What the file says and the run does not is told (events ``loss``).

    Raises:   InvalidDefinition: all faults of the file.  NotFound: it names an environment that is not here.
    """
    from wardian import formats
    from wardian.run.configuration import Command, Resources, RunConfiguration

    given = Given(beside.inputs, frozenset(beside.variables), environment=beside.environment is not None, target=beside.target is not None,
                  source=beside.source is not None)  # fmt: skip
    job = formats.read_job(path, given)
    for fault in job.warnings:
        parts.listener(Event("warning", str(fault), data={"code": fault.code}))
    for loss in job.losses:
        _tell(parts, loss)
    configuration = RunConfiguration(
        command=Command(job.kind, job.words[0], job.words[1:]),
        source=beside.source or job.source,
        inputs=job.inputs,
        variables={**job.variables, **beside.variables},
        experiment=beside.experiment or job.experiment or "default",
        timeout_s=beside.timeout_s if beside.timeout_s is not None else job.timeout_s,
        resources=beside.resources or Resources(),
        outputs=job.outputs,
        with_packages=beside.with_packages,
    )  # what is wrong in it is said before anything is registered
    version = beside.environment or _version(parts, environments, job)
    if beside.with_packages:
        version = environments.with_packages(version, beside.with_packages)
    target = beside.target or job.target or runs.usual_target(version)
    return version, replace(configuration, target=target, options={**_fitting(parts, job, target), **beside.options})


def _version(parts: Parts, environments: EnvironmentCollection, job: ReadJob) -> EnvironmentVersion:
    if job.reference is None:
        read = job.environment
        assert read is not None  # noqa: S101 - the reader sees to it
        return environments.register(read.environment, source=(read.format, read.text), sources=read.sources)[0]
    try:
        return environments.get(job.reference)
    except NotFound as error:
        place = f"{job.file}:{job.reference_line}" if job.reference_line else job.file
        raise NotFound(f"{place} names `{job.reference_text}`: {error.message}", code=error.stable_code,
                       hint=f"`-e REF` takes another one; {_hint(parts, error, job)}") from None  # fmt: skip


def _hint(parts: Parts, error: NotFound, job: ReadJob) -> str:
    """Return what to do about an environment of Azure ML that is not here: what comes near, and how that one comes here."""
    from wardian.definition.reference import azure_hint

    hints = [error.hint or ""]
    if "nearest" not in hints[0] and (near := parts.catalogue.nearest((job.reference or "").partition(":")[0])) is not None:
        hints.insert(0, f"the nearest curated one is `{near.name}`")
    if not any("az ml" in hint for hint in hints):
        hints.append(azure_hint(job.reference_text))
    return "; ".join(hint for hint in hints if hint)


def _fitting(parts: Parts, job: ReadJob, target: str) -> dict[str, str]:
    """Return the options of a job that ``target`` takes; those that it does not take are told."""
    if target != "local":
        return dict(job.options)
    for value in job.options.values():
        _tell(parts, Loss("dropped", _SHM[job.format], "shared memory is a container's", hint="`-t podman` or `-t docker` gives it", value=value, file=job.file))  # fmt: skip
    return {}


def _tell(parts: Parts, loss: Loss) -> None:
    parts.listener(Event("loss", str(loss), data=loss.as_document()))
