"""`wardian catalog build|diff|smoke`: what who looks after a registry does with the curated environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, command, examples, table
from wardian.cli.completion import complete_curated
from wardian.cli.lazy import LazyGroup
from wardian.errors import RunFailed

if TYPE_CHECKING:
    from wardian.sdk.catalogue import CuratedImage

names_argument = click.argument("names", metavar="[NAME[:VERSION]]...", nargs=-1, shell_complete=complete_curated)
platform_option = click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    help="For this platform instead of this machine's. May be repeated.",
)


@click.group(cls=LazyGroup, aliases={"test": "smoke"}, epilog=examples(
    "wardian env list --kind curated", "wardian catalog build --to registry.example.org/team/curated", "wardian catalog diff",
))  # fmt: skip
def catalog() -> None:
    """Curated environments in a registry, so that nobody builds them. `wardian env list --kind curated` lists them."""


@catalog.command(epilog=examples(
    "wardian catalog build --to registry.example.org/team/curated",
    "wardian catalog build Wardian-sklearn-1.9-py312-cpu --to oci:/srv/curated --platform linux/amd64",
))  # fmt: skip
@names_argument
@click.option(
    "--to", metavar="REGISTRY", help="HOST/REPOSITORY or oci:DIRECTORY; without it, images stay where this workspace's go."
)
@platform_option
@command
def build(session: Session, names: tuple[str, ...], to: str | None, platforms: tuple[str, ...]) -> None:
    """Build images of curated environments, and put them into a registry with their definitions and locks.

    Who names that registry as WARDIAN_GLOBAL_REGISTRY pulls them, and builds nothing.
    """
    _show(session, session.workspace.catalogue.build(names, to=to, platforms=platforms))


@catalog.command(epilog=examples("wardian catalog diff", "wardian catalog diff --to registry.example.org/team/curated --json"))
@names_argument
@click.option("--to", metavar="REGISTRY", help="The registry; without it, the global one, else the workspace's.")
@platform_option
@command
def diff(session: Session, names: tuple[str, ...], to: str | None, platforms: tuple[str, ...]) -> None:
    """Show what a registry has of the curated environments, and what it lacks."""
    _show(session, session.workspace.catalogue.difference(names, to=to, platforms=platforms))


@catalog.command(epilog=examples("wardian catalog smoke Wardian-sklearn-1.9-py312-cpu", "wardian catalog smoke -t podman"))
@names_argument
@click.option("-t", "--target", metavar="TARGET", help="Where: local (as without it), podman or docker.")
@command
def smoke(session: Session, names: tuple[str, ...], target: str | None) -> None:
    """Run the script that comes with each curated environment: it trains or infers something small."""
    catalogue = session.workspace.catalogue
    done = []
    for entry in catalogue.selected(names):
        run = catalogue.smoke(entry.reference, target=target)
        said = run.log().strip().replace("\r", "\n").rpartition("\n")[2]
        done.append({"reference": entry.reference, "run": run.id, "state": run.record.state, "said": said})
    session.show({"smoke": done}, lambda: table(("ENVIRONMENT", "RUN", "STATE", "SAID"), [tuple(one.values()) for one in done]))
    failed = [one for one in done if one["state"] != "completed"]
    if failed:
        raise RunFailed(f"{len(failed)} of {len(done)} smoke scripts did not complete: {', '.join(one['reference'] for one in failed)}",
                        code="smoke_failed", hint=f"`wardian runs logs {failed[0]['run']}` shows what it wrote")  # fmt: skip


def _show(session: Session, images: tuple[CuratedImage, ...]) -> None:
    rows = [(i.entry.reference, i.platform, i.state, f"sha256:{i.digest[:12]}" if i.digest else "") for i in images]
    session.show(
        {"images": [i.as_document() for i in images]}, lambda: table(("ENVIRONMENT", "PLATFORM", "IMAGE", "DIGEST"), rows)
    )
