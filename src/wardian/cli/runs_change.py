"""`wardian runs wait|cancel|delete|export|reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wardian.cli.changes import ask_for_yes
from wardian.cli.common import Session, check_output, command, examples, size
from wardian.cli.completion import complete_run
from wardian.cli.outlets import check_written, outlets
from wardian.cli.runs_show import get_run, run_argument, run_document

if TYPE_CHECKING:
    from wardian.sdk.run_comparison import RunComparison
    from wardian.sdk.runs import Run


@click.command(epilog=examples("wardian runs wait latest", "wardian runs wait 01k3p --timeout 2h && wardian runs logs 01k3p"))
@run_argument
@click.option("--timeout", metavar="T", help="Give up after this time: 90, 30s, 10m, 2h; exit code 7.")
@command
def wait(session: Session, run_id: str, timeout: str | None) -> int:
    """Wait until a run has ended. Exit code 0 if it completed, 1 if it failed or was canceled."""
    from wardian.cli.run_options import duration_s

    run = get_run(session, run_id).wait(duration_s(timeout))
    return _ended(session, run)


@click.command(epilog=examples("wardian runs cancel latest"))
@run_argument
@command
def cancel(session: Session, run_id: str) -> None:
    """Stop a run and all its processes: first politely, then for good; return when it has ended."""
    run = get_run(session, run_id).cancel()
    session.show(run_document(run), lambda: f"{run.id} {run.record.state}")


@click.command(epilog=examples("wardian runs delete 01k3p --yes"))
@run_argument
@click.option("--yes", is_flag=True, help="Do it without asking.")
@command
def delete(session: Session, run_id: str, yes: bool) -> None:
    """Delete the record, log, snapshot and outputs of a run that has ended, for ever."""
    run = get_run(session, run_id)
    ask_for_yes(yes, f"deleting run `{run.id}` and its outputs cannot be undone", f"`wardian runs delete {run.id} --yes`")
    models = [model.reference for model in run.models]
    session.workspace.runs.delete(run.id)
    if models:
        session.say(
            f"{', '.join(models)} {'stay' if len(models) > 1 else 'stays'}, with what {'they were' if len(models) > 1 else 'it was'} trained with"
        )
    session.show({"id": run.id, "deleted": True}, lambda: f"deleted {run.id}")


def _ended(session: Session, run: Run) -> int:
    record = run.record
    session.show(run_document(run), lambda: f"{record.id} {record.state}" + (f": {record.reason}" if record.reason else ""))
    return 0 if record.state == "completed" else 1


@click.command(
    epilog=examples("wardian runs export latest -o churn.wardian --packages", "wardian runs reproduce churn.wardian",
                    "wardian runs export latest --to azureml-job -o job.yml", "wardian runs export latest --to azureml-runconfig -o project")
)  # fmt: skip
@run_argument
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write, or azureml-runconfig's directory.",
)
@click.option(
    "--to",
    "to",
    type=click.Choice(["wardian", "azureml-job", "azureml-runconfig"]),
    default="wardian",
    show_default=True,
    help="wardian: all in one archive; else a job of Azure ML.",
)
@click.option("--packages", is_flag=True, help="With every archive of its lock: it needs no index then.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@command
def export(session: Session, run_id: str, output: Path, to: str, packages: bool, force: bool) -> None:
    """Write a run to one file: record, definition, lock, snapshot, small inputs; `runs reproduce FILE` runs it anywhere.

    As a job of Azure ML it is what runs, its code and its environment; `wardian run -f` runs that, too.
    """
    if to != "azureml-runconfig" and output.is_dir():
        raise click.UsageError(f"`{output}` is a directory: name a file")
    if to != "wardian" and packages:
        raise click.UsageError("--packages goes with --to wardian")
    run = get_run(session, run_id)
    if to != "wardian":
        _export_job(session, run, to, output, force=force)
        return
    check_output(output, force=force)
    left_out = session.workspace.runs.export(run.id, output.absolute(), packages=packages)
    for what in left_out:
        session.say(f"note:  {what}")
    size_bytes = output.stat().st_size
    session.show({"id": run.id, "output": str(output), "size_bytes": size_bytes, "packages": packages, "left_out": list(left_out)},
                 lambda: f"wrote {output} ({size(size_bytes)})")  # fmt: skip


def _export_job(session: Session, run: Run, to: str, output: Path, *, force: bool) -> None:
    paths = session.workspace.runs.export_job(run.id, to, output.absolute(), force=force)
    root = output if to == "azureml-runconfig" else output.parent
    document = {"id": run.id, "output": str(output), "format": to, "paths": paths, "losses": session.progress.losses}
    session.show(document, lambda: [f"wrote {root / path}" for path in paths])


@click.command(epilog=examples("wardian runs reproduce latest", "wardian runs reproduce churn.wardian",
                                "wardian runs reproduce 01k3p -- --epochs 3 --api-key=SECRET"))  # fmt: skip
@click.argument("target", metavar="ID|FILE", shell_complete=complete_run)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARG...]")
@command
def reproduce(session: Session, target: str, arguments: tuple[str, ...]) -> int:
    """Run it again, with the same packages, code, inputs and variables. Exits as the script does.

    Its arguments are only needed where some were secrets, which no record keeps: then all of them.

    What a run of this workspace left, and what it leaves now, are compared: log, exit code, every output.
    """
    from wardian.cli.run import say_ended

    original = None if "/" in target or target.endswith(".wardian") else get_run(session, target)
    out, err = outlets(as_json=session.as_json)
    found = session.workspace.runs.reproduce(original.id if original else Path(target), arguments=arguments or None, stdout=out, stderr=err,
                                             on_prepared=session.say)  # fmt: skip
    say_ended(session, found)
    comparison = _compared(original, found)
    if comparison is not None:
        session.say(comparison.text())
    if session.as_json:
        session.show({**run_document(found), "comparison": comparison.as_document() if comparison else None}, lambda: "")
    code = found.record.process_exit_code or 0
    check_written(found.id, code, out, err)
    return code


def _compared(original: Run | None, found: Run) -> RunComparison | None:
    if original is None:
        return None
    from wardian.sdk.run_comparison import compare_runs

    return compare_runs(original, found)
