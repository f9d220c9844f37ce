"""`wardian workspace`: the places where names, runs and logins are kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, complete_workspace, examples, size, table
from wardian.cli.lazy import SHORT_NAMES, LazyGroup

if TYPE_CHECKING:
    from wardian.workspace.workspaces import Workspaces, WorkspaceSummary


@click.group(cls=LazyGroup, aliases=SHORT_NAMES, epilog=examples(
    "wardian workspace create paper", "wardian workspace use paper", "wardian workspace list", "wardian workspace delete scratch --yes",
))  # fmt: skip
def workspace() -> None:
    """Workspaces: each has its own environments, runs and secrets.

    All workspaces of a machine share its caches and locks. The one in use is `default`, or what `workspace use` said; -w names
    another one for a single command, WARDIAN_WORKSPACE for a shell.
    """


def _workspaces(session: Session) -> Workspaces:
    from wardian.sdk.workspaces import workspaces

    return workspaces(session.settings, listener=session.progress)


@workspace.command(epilog=examples("wardian workspace create paper", "wardian workspace create paper --use"))
@click.argument("name")
@click.option("--use", "use_it", is_flag=True, help="Use it from now on.")
@command
def create(session: Session, name: str, use_it: bool) -> None:
    """Make an empty workspace."""
    known = _workspaces(session)
    place = known.create(name)
    if use_it:
        place = known.use(name)
        _warn_of_variable(session, name)
    session.show(
        place.as_document(),
        lambda: f"created {name}" + (", in use now" if use_it else f"; `wardian workspace use {name}` uses it"),
    )


@workspace.command("list", epilog=examples("wardian workspace list", "wardian workspace list --json"))
@command
def list_(session: Session) -> None:
    """List the workspaces; the one in use is marked."""
    places = _workspaces(session).list()
    rows = [("*" if place.in_use else "", place.name, place.path) for place in places]
    session.show({"workspaces": [place.as_document() for place in places]},
                 lambda: table(("", "NAME", "PATH"), rows) if rows else ["there is no workspace yet: `default` is made when it is first used"])  # fmt: skip


@workspace.command(epilog=examples("wardian workspace use paper"))
@click.argument("name", shell_complete=complete_workspace)
@command
def use(session: Session, name: str) -> None:
    """Use NAME from now on, in every shell of this user."""
    place = _workspaces(session).use(name)
    _warn_of_variable(session, name)
    session.show(place.as_document(), lambda: f"in use: {name}")


@workspace.command(epilog=examples("wardian workspace show", "wardian workspace show paper --json"))
@click.argument("name", required=False, shell_complete=complete_workspace)
@command
def show(session: Session, name: str | None) -> None:
    """Show what a workspace holds: counts, size, place; default: the one in use."""
    known = _workspaces(session)
    found = known.show(known.ensure(name or session.settings.workspace).name)
    session.show(found.as_document(), lambda: _shown(found))


@workspace.command(epilog=examples("wardian workspace delete scratch --yes"))
@click.argument("name", shell_complete=complete_workspace)
@click.option("--yes", is_flag=True, help="Delete it with all that it holds.")
@command
def delete(session: Session, name: str, yes: bool) -> None:
    """Delete a workspace with its environments, runs and secrets, for ever.

    Refused for the one in use, and while runs of it are in progress. Without --yes only an empty one is deleted.
    """
    _workspaces(session).delete(name, confirmed=yes)
    session.show({"name": name, "deleted": True}, lambda: f"deleted {name}")


def _warn_of_variable(session: Session, name: str) -> None:
    current = os.environ.get("WARDIAN_WORKSPACE")
    if current is not None and current != name:
        session.say(f"warning: WARDIAN_WORKSPACE is `{current}` here, and goes before it: `unset WARDIAN_WORKSPACE`")


def _shown(found: WorkspaceSummary) -> list[str]:
    place = found.directory
    journals: dict[str, Any] = {"wal": "write-ahead log", "delete": "rollback journal (network file system)"}
    return [
        f"{place.name}{'  (in use)' if place.in_use else ''}",
        f"  path          {place.path}",
        *(f"  {what:<12}  {count:,}" for what, count in found.counts.items()),
        f"  size          {size(found.size_bytes)}",
        f"  journal       {journals.get(found.journal, found.journal)}",
    ]
