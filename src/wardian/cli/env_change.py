"""`wardian env edit|add|remove|upgrade`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, command, complete_reference, examples
from wardian.cli.env_build import as_of_option
from wardian.cli.views import lock_document, version_row

if TYPE_CHECKING:
    from datetime import datetime

    from wardian.workspace.version import EnvironmentVersion


def _changed(session: Session, version: EnvironmentVersion, created: bool) -> None:
    session.show(
        {**version_row(version), "created_now": created},
        lambda: f"{version}  @{version.definition_hash.short}{'' if created else '  (unchanged)'}",
    )


@click.command(epilog=examples("wardian env edit sklearn", "EDITOR=nano wardian env edit sklearn"))
@click.argument("name", shell_complete=complete_reference)
@command
def edit(session: Session, name: str) -> None:
    """Open the definition of the latest version in your editor ($VISUAL, $EDITOR); saving registers a new version."""
    environments = session.workspace.environments
    version = environments.get(name)
    kind, text = environments.source(version)
    suffix = {"requirements": ".txt", "pyproject": ".toml", "script": ".py"}.get(kind, ".yml")
    from wardian.errors import InvalidDefinition

    while True:
        changed = click.edit(text, extension=suffix)
        if changed is None or changed == text:
            session.say("nothing changed")
            return
        try:
            found, created = environments.edit(name, changed)
        except InvalidDefinition as error:
            session.say(f"error: {error.message}")
            if not click.confirm("edit again?", default=True, err=True):
                raise
            text = changed
            continue
        _changed(session, found, created)
        return


@click.command(epilog=examples("wardian env add sklearn 'pandas>=2' pyarrow", "wardian env add geo conda-forge::gdal"))
@click.argument("name", shell_complete=complete_reference)
@click.argument("packages", nargs=-1, required=True)
@command
def add(session: Session, name: str, packages: tuple[str, ...]) -> None:
    """Add PACKAGES to the latest version; one that is there gets the new requirement. Comments stay."""
    _changed(session, *session.workspace.environments.add(name, packages))


@click.command(epilog=examples("wardian env remove sklearn pandas"))
@click.argument("name", shell_complete=complete_reference)
@click.argument("packages", nargs=-1, required=True)
@command
def remove(session: Session, name: str, packages: tuple[str, ...]) -> None:
    """Remove PACKAGES from the latest version. Comments stay."""
    _changed(session, *session.workspace.environments.remove(name, packages))


@click.command(
    epilog=examples(
        "wardian env upgrade sklearn",
        "wardian env upgrade sklearn numpy",
        "wardian env upgrade sklearn --as-of 2024-06-30 --dry-run",
    )
)
@click.argument("name", shell_complete=complete_reference)
@click.argument("packages", nargs=-1)
@as_of_option
@click.option("--dry-run", is_flag=True, help="Show the difference; register nothing.")
@command
def upgrade(session: Session, name: str, packages: tuple[str, ...], as_of: datetime | None, dry_run: bool) -> None:
    """Solve the latest version anew and add a version with that lock; with PACKAGES the rest is held.

    The old version keeps its lock: nothing that worked changes.
    """
    environments = session.workspace.environments
    found = environments.upgrade(name, packages, as_of=as_of)
    changes = found.difference
    document = {
        "from": version_row(found.version),
        "difference": changes.as_document(),
        "lock": lock_document(found.locks[0], packages=False),
        "to": None,
    }
    if dry_run or not changes:
        session.show(document, lambda: changes.text().rstrip() if changes else f"{found.version} is up to date")
        return
    version = environments.apply(found)
    session.show(
        {**document, "to": version_row(version)},
        lambda: [changes.text().rstrip(), f"{version}  lock {found.locks[0].digest.short}"],
    )
