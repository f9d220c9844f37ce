"""`wardian image show|copy|load|diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, command, examples, size, table
from wardian.cli.completion import complete_reference
from wardian.cli.lazy import SHORT_NAMES, LazyGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.sdk.image_details import ImageDetails

platform_option = click.option("--platform", metavar="P", help="linux/amd64, linux/arm64 …; default: this machine's.")


@click.group(cls=LazyGroup, aliases={**SHORT_NAMES, "inspect": "show"}, epilog=examples(
    "wardian image show sklearn:4", "wardian image show registry.example.org/team/envs:latest", "wardian image copy sklearn:4 oci:here:sklearn",
    "wardian image diff sklearn:3 sklearn:4",
))  # fmt: skip
def image() -> None:
    """Images: of environments, and any others.

    REF is an environment (NAME, NAME:VERSION …), or an image: HOST/REPOSITORY:TAG, HOST/REPOSITORY@sha256:…, oci:DIRECTORY:TAG.
    """


@image.command(epilog=examples("wardian image show sklearn:4", "wardian image show registry.example.org/team/envs:i-… --json"))
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@platform_option
@command
def show(session: Session, reference: str, platform: str | None) -> None:
    """Show whether an image exists, where, and what is in it: layers by package, interpreter, base. "No" is an answer: exit 0."""
    details = session.workspace.images.show(reference, platform=platform)
    session.show(details.as_document(), lambda: list(_shown(details)))


def _shown(details: ImageDetails) -> Iterator[str]:
    from wardian.sdk.images import is_image_reference

    if not details.exists:
        yield f"{details.reference}: no image: {details.reason}"
        if not is_image_reference(details.reference):
            yield f"`wardian env build {details.reference} --image` makes it"
        return
    if details.platforms:
        yield f"{details.reference}: an index of {', '.join(details.platforms)}"
        yield f"  index        {details.store}@sha256:{details.digest}"
        yield from (f"  {name:<12} sha256:{details.images[name]}" for name in details.platforms)
        return
    yield f"{details.reference}  {details.platform}  {size(details.size_bytes)} in {len(details.layers)} layers"
    yield f"  image        {details.store}@sha256:{details.digest}"
    for name, value in (
        ("tags", ", ".join(details.tags)), ("origin", details.origin), ("lock", details.lock_digest), ("key", details.image_key),
        ("python", details.interpreter), ("environment", details.environment),
        ("base", f"{details.base}  sha256:{details.base_digest}" if details.base_digest else details.base), ("created", details.created),
    ):  # fmt: skip
        if value:
            yield f"  {name:<12} {value}"
    yield ""
    rows = [
        (layer.digest[:12], size(layer.size_bytes), layer.shared_with or "", _packages(layer.packages))
        for layer in details.layers
    ]
    yield from table(("LAYER", "SIZE", "SHARED", "PACKAGES"), rows)


def _packages(packages: tuple[str, ...]) -> str:
    if not packages:
        return "(base)"
    return ", ".join(packages[:4]) + (f" and {len(packages) - 4} more" if len(packages) > 4 else "")  # noqa: PLR2004


@image.command(
    epilog=examples(
        "wardian image copy sklearn:4 registry.example.org/team/sklearn:4", "wardian image copy sklearn oci:images:sklearn"
    )
)
@click.argument("source", metavar="SRC", shell_complete=complete_reference)
@click.argument("target", metavar="DST")
@platform_option
@command
def copy(session: Session, source: str, target: str, platform: str | None) -> None:
    """Copy an image to a registry or a directory; only what is missing there is sent. An environment without an image gets one."""
    digest = session.workspace.images.copy(source, target, platform=platform)
    session.show({"source": source, "target": target, "digest": digest}, lambda: f"{target}  sha256:{digest}")


@image.command(
    epilog=examples("wardian image load sklearn:4 --into podman", "wardian image load oci-archive:image.tar --into docker")
)
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.option(
    "--into", "engine", type=click.Choice(["podman", "docker"]), required=True, help="The container engine of this machine."
)
@command
def load(session: Session, reference: str, engine: str) -> None:
    """Bring an image into podman or docker. An environment without an image gets one."""
    found = session.workspace.images.load(reference, engine)
    document = {
        "reference": reference,
        "engine": engine,
        "id": found.id,
        "digests": list(found.digests),
        "platform": found.platform,
    }
    session.show(document, lambda: f"{reference} is in {engine}: {found.id}\n`{engine} run --rm -it {found.id[7:19]}`")


@image.command(epilog=examples("wardian image diff sklearn:3 sklearn:4"))
@click.argument("left", metavar="A", shell_complete=complete_reference)
@click.argument("right", metavar="B", shell_complete=complete_reference)
@command
def diff(session: Session, left: str, right: str) -> None:
    """Compare two images, package by package."""
    found = session.workspace.images.compare(left, right)
    document = {"left": left, "right": right, "packages": [{"name": n, "left": a, "right": b} for n, (a, b) in found.items()]}
    session.show(document, lambda: [f"{n}  {a or '-'} → {b or '-'}" for n, (a, b) in found.items()] or "the same packages")
