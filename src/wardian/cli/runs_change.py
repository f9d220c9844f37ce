"""`wardian runs wait|cancel|delete|export|reproduce`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, command, examples
from wardian.cli.runs_show import get_run, run_argument, run_document

if TYPE_CHECKING:
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
    if not yes:
        from wardian.errors import Conflict

        raise Conflict(
            f"deleting run `{run.id}` and its outputs cannot be undone",
            hint=f"`wardian runs delete {run.id} --yes`",
            code="needs_yes",
        )
    session.workspace.runs.delete(run.id)
    session.show({"id": run.id, "deleted": True}, lambda: f"deleted {run.id}")


def _ended(session: Session, run: Run) -> int:
    record = run.record
    session.show(run_document(run), lambda: f"{record.id} {record.state}" + (f": {record.reason}" if record.reason else ""))
    return 0 if record.state == "completed" else 1
