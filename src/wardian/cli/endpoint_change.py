"""`wardian endpoint update|scale|rollback|restart|key|delete`."""

from __future__ import annotations

from typing import Any

import click

from wardian.cli.changes import ask_for_yes
from wardian.cli.common import Session, command, examples
from wardian.cli.completion import complete_model
from wardian.cli.deploy import show_deployed
from wardian.cli.deploy_options import configuration_of, deploy_options, inference_of
from wardian.cli.endpoint_show import endpoint_argument
from wardian.cli.lazy import LazyGroup


@click.command(epilog=examples("wardian endpoint update churn -m churn:3", "wardian endpoint update churn -V THRESHOLD=0.8", "wardian endpoint update churn --entry score.py --workers 4"))  # fmt: skip
@endpoint_argument
@click.option("-m", "--model", metavar="MODEL:V", shell_complete=complete_model, help="Another model, or another version.")
@deploy_options
@click.option("--no-wait", is_flag=True, help="Return when the deployment is recorded.")
@command
def update(session: Session, name: str, model: str | None, no_wait: bool, **options: Any) -> None:
    """Change what serves; what is not named stays as it is, the code too. No request fails; if the new replicas do, the old ones stay.

    With another model, the environment is the one that trained that model, unless -e names one.
    """
    workspace = session.workspace
    current_model, inference, configuration = workspace.endpoints.current(name)
    if model is not None and options["reference"] is None:
        from dataclasses import replace

        inference = replace(inference, environment=None)
    changed = inference_of(options, inference, workspace)
    made = workspace.endpoints.update(
        name, model or current_model, changed, configuration_of(options, configuration), wait=not no_wait
    )
    show_deployed(session, made)


@click.command(epilog=examples("wardian endpoint scale churn 3"))
@endpoint_argument
@click.argument("replicas", type=int)
@command
def scale(session: Session, name: str, replicas: int) -> None:
    """Have so many replicas, all on the one port; those that are too many answer what they were asked, and end."""
    show_deployed(session, session.workspace.endpoints.scale(name, replicas))


@click.command(epilog=examples("wardian endpoint rollback churn", "wardian endpoint rollback churn --to 2"))
@endpoint_argument
@click.option("--to", type=int, metavar="N", help="The deployment with this number; else the one that served before.")
@command
def rollback(session: Session, name: str, to: int | None) -> None:
    """Have the deployment serve again that did before this one. No request fails."""
    show_deployed(session, session.workspace.endpoints.rollback(name, to))


@click.command(epilog=examples("wardian endpoint restart churn"))
@endpoint_argument
@command
def restart(session: Session, name: str) -> None:
    """Replace the replicas by new ones of the same deployment. No request fails."""
    show_deployed(session, session.workspace.endpoints.restart(name))


@click.group(cls=LazyGroup, epilog=examples("wardian endpoint key rotate churn", "wardian endpoint key drop churn"))
def key() -> None:
    """API keys of an endpoint: kept as digests alone; a new one is shown once."""


@key.command(epilog=examples("wardian endpoint key rotate churn"))
@endpoint_argument
@command
def rotate(session: Session, name: str) -> None:
    """Make a new API key, and show it. Those of before stay valid until `wardian endpoint key drop`."""
    found = session.workspace.endpoints.get(name)
    had_one = bool(found.record.keys)
    made = found.rotate_key()
    session.show(
        {"name": name, "key": made},
        lambda: [
            f"key {made}  (shown once)",
            f"the old one is valid until `wardian endpoint key drop {name}`"
            if had_one
            else f"{name} asks for a key from now on",
        ],
    )


@key.command(epilog=examples("wardian endpoint key drop churn"))
@endpoint_argument
@command
def drop(session: Session, name: str) -> None:
    """Accept the newest API key alone from now on."""
    found = session.workspace.endpoints.drop_old_keys(name)
    session.show({"name": name, "keys": len(found.record.keys)}, lambda: f"{name} accepts its newest key alone")


@click.command(epilog=examples("wardian endpoint delete churn --yes"))
@endpoint_argument
@click.option("--yes", is_flag=True, help="Do it without asking.")
@command
def delete(session: Session, name: str, yes: bool) -> None:
    """End an endpoint: it answers what it was asked, then its replicas, records, code and log are gone. Models stay."""
    found = session.workspace.endpoints.get(name)
    ask_for_yes(yes, f"deleting endpoint `{name}` ends its replicas, and its history cannot be brought back",
                f"`wardian endpoint delete {name} --yes`")  # fmt: skip
    found.delete()
    session.show({"name": name, "deleted": True}, lambda: f"deleted {name}")
