"""Runs written as files of other tools: what runs, its code and its environment, and what such a file cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.events import Event
from wardian.formats.job import ReadJob
from wardian.formats.ledger import Ledger
from wardian.run.argument_secrets import named
from wardian.tools.disk import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.formats.azureml import Written
    from wardian.run.record import RunRecord
    from wardian.sdk.runs import Run

FORMATS = ("azureml-job", "azureml-runconfig")


def export_job(parts: Parts, run: Run, to: str, output: Path, *, force: bool = False) -> list[str]:
    """Write a run as a job of Azure ML; return the paths written, relative to the directory of ``output``.

    ``azureml-job``: the file ``output``, and beside it the run's code and its Docker steps. ``azureml-runconfig``: the directory ``output``, which
    becomes the project's: the code, and `.azureml/run.runconfig`. What these cannot say is told (events ``loss``).

    Raises:   Conflict: ``file_exists``; the snapshot cannot be had any more.  NotFound: it never had an environment.
              InvalidInput: ``not_expressible``: nothing would be left of the environment.
    """
    from wardian.formats.azureml_job_writing import write_job
    from wardian.formats.azureml_runconfig_writing import write_runconfig

    if to not in FORMATS:
        raise InvalidInput(f"`{to}` is no format that a run is exported to", hint=f"known ones: {', '.join(FORMATS)}", code="unknown_format")  # fmt: skip
    record, version = run.record, run.environment
    if version is None:
        raise NotFound(f"run `{run.id}` never had an environment", code="environment_not_found")
    job = _job(record, to)
    has_code = record.configuration.source is not None
    if to == "azureml-job":
        code = f"{output.stem}-code" if has_code else None
        written = write_job(job, version.environment, code=code)
        paths = _write_beside(parts, run, written, output, output.parent / code if code else None, force=force)
    else:
        written = write_runconfig(job, version.environment, in_container=record.configuration.target not in ("local", "spark"))
        paths = _write_project(parts, run, written, output, has_code=has_code)
    for loss in written.losses:
        parts.listener(Event("loss", str(loss), data=loss.as_document()))
    return paths


def _job(record: RunRecord, to: str) -> ReadJob:
    configuration = record.configuration.without_secrets()
    command, ledger = configuration.command, Ledger()
    if command.hidden:
        ledger.note("stripped", "command", f"these arguments had secrets, which are not kept: {named(command.arguments, command.hidden)}",
                    hint="write them where the job is submitted")  # fmt: skip
    for name in ("cpus", "memory_bytes", "gpus"):
        if (value := getattr(configuration.resources, name)) is not None:
            ledger.note("dropped", f"resources.{name}", "a compute target is what it is there", value=f"{value:g}", hint="choose one that has it: `compute:`")  # fmt: skip
    variables = {name: value for name, value in {**configuration.variables, **record.results.variables}.items()
                 if "*" not in name and "?" not in name}  # fmt: skip
    return ReadJob(
        to, "", command.kind, (command.name, *command.arguments), inputs=configuration.inputs, outputs=configuration.outputs, variables=variables,
        experiment=configuration.experiment, timeout_s=configuration.timeout_s,
        target="spark" if configuration.target == "spark" else None, options=configuration.options, losses=ledger.losses,
    )  # fmt: skip


def _write_beside(parts: Parts, run: Run, written: Written, output: Path, code: Path | None, *, force: bool) -> list[str]:
    from wardian.run.reproduce import restore_source
    from wardian.sdk.exporting import write_definition

    if output.exists() and not force:
        raise Conflict(f"{output} is there already", hint="choose another name, or add --force", code="file_exists")
    if code is not None and code.exists():
        raise Conflict(f"{code} is there already", hint="choose another name, or remove it", code="file_exists")
    if code is not None:
        restore_source(run.record, parts.directory / "runs", code)
    paths = write_definition(parts, written, output, force=force)
    return [*paths, *([code.name] if code is not None else [])]


def _write_project(parts: Parts, run: Run, written: Written, output: Path, *, has_code: bool) -> list[str]:
    from wardian.run.reproduce import restore_source

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise Conflict(f"{output} is there already", hint="name a directory that is empty, or none", code="file_exists")
    if output.exists():
        output.rmdir()
    if has_code:
        restore_source(run.record, parts.directory / "runs", output)
    for path, text in (written.files or {}).items():
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output / path, text.encode())
    return list(written.files or ())
