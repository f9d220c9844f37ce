"""`wardian env edit|add|remove|upgrade|rebuild`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, command, examples
from wardian.cli.completion import complete_reference
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
    document = {
        "from": version_row(found.version),
        **found.as_document(),
        "lock": lock_document(found.locks[0], packages=False),
        "to": None,
    }
    if dry_run or not found:
        session.show(document, found.text_lines if found else lambda: f"{found.version} is up to date")
        return
    version = environments.apply(found)
    session.show(
        {**document, "to": version_row(version)},
        lambda: [*found.text_lines(), f"{version}  lock {found.locks[0].digest.short}"],
    )


@click.command(epilog=examples("wardian env rebuild sklearn:4", "wardian env rebuild sklearn:4 --yes"))
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.option("--yes", is_flag=True, help="Do it; without, the versions that share the hash are listed.")
@command
def rebuild(session: Session, reference: str, yes: bool) -> None:
    """Solve REF anew, add a version with that lock, and give it to everybody who comes with the same definition.

    Versions that are there, REF among them, keep their locks and images: nothing that worked changes.
    """
    done = session.workspace.environments.rebuild(reference, confirmed=yes)
    lock = done.upgrade.locks[0]
    document = {
        "from": version_row(done.upgrade.version),
        **done.upgrade.as_document(),
        "lock": lock_document(lock, packages=False),
        "to": version_row(done.version) if done.version else None,
        "versions": list(done.shared_with),
        "current": {platform: {"before": before, "after": after} for platform, (before, after) in done.current.items()},
    }

    def text() -> list[str]:
        added = f"{done.version}  lock {lock.digest.short}" if done.version else f"{done.upgrade.version} is up to date"
        hash_ = done.upgrade.version.definition_hash.short
        moves = [f"@{hash_} on {platform}: new versions get lock {after.short}{f', not {before.short}' if before and before != after else ''}"
                 for platform, (before, after) in done.current.items()]  # fmt: skip
        return [*done.upgrade.text_lines(), added, *moves, f"as they were: {', '.join(done.shared_with)}"]

    session.show(document, text)
