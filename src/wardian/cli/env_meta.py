"""`wardian env label|update|archive|restore|delete`."""

from __future__ import annotations

from typing import Any

import click

from wardian.cli.changes import ask_for_yes, change_label, tags_after
from wardian.cli.common import Session, command, examples
from wardian.cli.completion import complete_reference
from wardian.cli.views import version_row


@click.command(
    epilog=examples(
        "wardian env label sklearn:4 production",
        "wardian env label sklearn production --history",
        "wardian env label sklearn staging --remove",
    )
)
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.argument("label")
@click.option("--remove", is_flag=True, help="Take the label away.")
@click.option("--history", is_flag=True, help="Show where it was.")
@command
def label(session: Session, reference: str, label: str, remove: bool, history: bool) -> None:
    """Move LABEL to a version; `latest` is computed and cannot be set."""
    environments = session.workspace.environments
    name = environments.name_of(reference)

    def give() -> tuple[dict[str, Any], object]:
        version = environments.label(reference, label)
        return version_row(version), version

    change_label(session, environments, name, label, history=history, remove=remove, give=give)


@click.command(
    epilog=examples(
        'wardian env update sklearn --description "Baseline models"', "wardian env update sklearn:2 --tag team=risk"
    )
)
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.option("--description", help="What it is for.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="Set a tag; `K=` removes it.")
@command
def update(session: Session, reference: str, description: str | None, tags: tuple[str, ...]) -> None:
    """Change description and tags; the version stays the same."""
    environments = session.workspace.environments
    wanted = tags_after(environments.get(reference).tags, tags)
    version = environments.update(reference, description=description, tags=wanted)
    session.show(version_row(version), lambda: f"updated {version}")


@click.command(epilog=examples("wardian env archive sklearn", "wardian env archive sklearn:1"))
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@command
def archive(session: Session, reference: str) -> None:
    """Hide a name or a version from lists; it can still be used."""
    environments = session.workspace.environments
    reference = environments.plain(reference)
    environments.archive(reference)
    session.show({"reference": reference, "archived": True}, lambda: f"archived {reference}")


@click.command(epilog=examples("wardian env restore sklearn"))
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@command
def restore(session: Session, reference: str) -> None:
    """Show an archived name or version again."""
    environments = session.workspace.environments
    reference = environments.plain(reference)
    environments.restore(reference)
    session.show({"reference": reference, "archived": False}, lambda: f"restored {reference}")


@click.command(epilog=examples("wardian env delete scratch:2 --yes"))
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.option("--yes", is_flag=True, help="Do it without asking.")
@command
def delete(session: Session, reference: str, yes: bool) -> None:
    """Delete a version, or a name with all of them; refused while runs or labels refer to it."""
    environments = session.workspace.environments
    reference = environments.plain(reference)
    ask_for_yes(yes, f"deleting {reference} cannot be undone",
                f"`wardian env delete {reference} --yes`; or `wardian env archive` hides it")  # fmt: skip
    environments.delete(reference)
    session.show({"reference": reference, "deleted": True}, lambda: f"deleted {reference}")
