"""`wardian run`: the main job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples
from wardian.cli.completion import complete_reference, complete_target
from wardian.cli.outlets import check_written, outlets

if TYPE_CHECKING:
    from wardian.run.configuration import RunConfiguration
    from wardian.sdk.runs import Run
    from wardian.workspace.version import EnvironmentVersion


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "wardian run -e sklearn train.py --epochs 3", "wardian run -f environment.yml train.py", "wardian run -r requirements.txt -- python -V",
        "wardian run train.py                      # a script with inline metadata (PEP 723)",
        "wardian run -e stats train.R", "wardian run -e sklearn -m mypackage.train", "wardian run -e sklearn --with rich --input data=/data/2024 -V SEED=1 -V WANDB_API_KEY train.py",
        "wardian run -f job.yml --input data=data.csv   # a job, or a run configuration, of Azure ML",
        "wardian run -e sklearn -d train.py         # in the background: `wardian runs logs -f ID`",
    ),
)  # fmt: skip
@click.option("-e", "--env", "reference", metavar="REF", help="A registered environment.", shell_complete=complete_reference)
@click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(path_type=Path),
    help="A definition of any known format; registered under its name. Or a job's file.",
)
@click.option("-r", "--requirements", type=click.Path(path_type=Path), help="A requirements.txt.")
@click.option("--with", "with_packages", multiple=True, metavar="PKG", help="A further package, for this run alone.")
@click.option(
    "-V", "--variable", "variables", multiple=True, metavar="K[=V]", help="A variable; without a value, your own is passed on."
)
@click.option(
    "-t",
    "--target",
    metavar="TARGET",
    shell_complete=complete_target,
    help="Where to run: local, podman, docker, spark, or a target of yours. Default: here; an image's own definition in a container, a Spark section as Spark.",
)
@click.option("-x", "--experiment", default="default", show_default=True, help="Runs that belong together.")
@click.option(
    "--input", "inputs", multiple=True, metavar="N=PATH", help="Data by reference: $WARDIAN_INPUT_N; PATH may be model:NAME."
)
@click.option(
    "--source",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    help="The directory that the run gets a copy of; default: here.",
)
@click.option("--cpus", type=float, help="Processors it needs.")
@click.option("--memory", metavar="SIZE", help="Memory it needs: 512M, 4G …")
@click.option("--gpus", type=int, help="GPUs it needs.")
@click.option("--nodes", type=int, help="Machines it needs, each with the above; needs a target that has several.")
@click.option(
    "--option",
    "target_options",
    multiple=True,
    metavar="K=V",
    help="An option of the target: shm=8G, master=spark://HOST:7077, spark.executor.memory=4g …",
)
@click.option("--time", "timeout", metavar="T", help="Stop it after this time: 90, 30s, 10m, 2h.")
@click.option("--dry-run", is_flag=True, help="Print what the target's engine would be given, and make no job.")
@click.option("-d", "--detach", is_flag=True, help="Return at once; the run goes on.")
@click.option("-m", "--module", is_flag=True, help="The first argument is a module.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT|MODULE|-- CMD [ARG]...")
@command
def run(session: Session, words: tuple[str, ...], **options: Any) -> int:
    """Run a script in an environment on this machine, and record exactly what it ran with.

    The environment's Python runs a script; `train.R` is run by its Rscript, `train.sh` by sh, and a file whose first line names
    another program (`#!/usr/bin/env bash`) by that.

    A job's file that is given alone (-f) says itself what runs; options beside it win.

    The exit code is the script's own; 125 if Wardian itself failed (a wrong option, no environment …), 124 timeout, 126, 127,
    128+n as in a shell.
    """
    started = time.monotonic()
    version, configuration = _asked_for(session, words, options)
    workspace = session.workspace
    if options["dry_run"]:
        lines = workspace.runs.preview(version, configuration)
        session.show({"handed_over": list(lines)}, lambda: lines)
        return 0
    if options["detach"]:
        found = workspace.runs.submit(version, configuration, detach=True)
        session.show(_document(session, found), lambda: found.id)
        session.say(f"hint:  `wardian runs logs -f {found.id}` follows it, `wardian runs cancel {found.id}` stops it")
        return 0
    out, err = outlets(as_json=session.as_json)
    found = workspace.runs.submit(version, configuration, detach=False, stdout=out, stderr=err,
                                  on_prepared=lambda summary: _summary(session, summary, started))  # fmt: skip
    say_ended(session, found)
    if session.as_json:
        session.show(_document(session, found), lambda: "")
    code = found.record.process_exit_code
    code = 125 if code is None else code
    check_written(found.id, code, out, err)
    return code


def _asked_for(
    session: Session, words: tuple[str, ...], options: dict[str, Any]
) -> tuple[EnvironmentVersion, RunConfiguration]:
    """Return what to run and with what: from the words and options, or from a job's file."""
    if options["file"] and not words:
        from wardian.cli.run_jobs import is_job, planned

        if is_job(words, options):
            return planned(session.workspace, options)
    from dataclasses import replace

    from wardian.cli.run_options import configuration_of, version_for

    configuration = configuration_of(words, options, lambda reference: session.workspace.models.get(reference).path())
    version = version_for(session.workspace.environments, configuration, options)
    if options["target"] is None:
        configuration = replace(configuration, target=session.workspace.runs.usual_target(version))
    return version, configuration


def _document(session: Session, found: Run) -> dict[str, Any]:
    return {**found.record.as_document(), "losses": session.progress.losses}


def _summary(session: Session, summary: str, started: float) -> None:
    session.say(" · ".join(filter(None, (summary, f"{time.monotonic() - started:.2f} s"))))


def say_ended(session: Session, found: Run) -> None:
    """Say on stderr how a run ended, where its outputs are, and what the reader should know."""
    record = found.record
    for note in record.results.notes:
        session.say(f"note:  {note}")
    if record.state != "completed" and record.code != "exited":
        session.say(f"run {record.id} {record.state}: {record.reason}")
    if record.results.outputs:
        count = record.results.output_files
        session.say(f"outputs: {found.output_directory} ({count} file{'s' if count != 1 else ''}) · run {record.id}")
