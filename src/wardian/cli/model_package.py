"""`wardian model package`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, command, examples, size
from wardian.cli.completion import complete_reference
from wardian.cli.model_show import model_argument
from wardian.cli.pairs import pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.sdk.model_packaging import Packaged


@click.command(epilog=examples(
    "wardian model package churn", "wardian model package churn:2 --entry score.py --to registry.example.org/team/churn:2",
    "wardian model package churn -o churn.tar", "wardian model package churn --context churn-image",
))  # fmt: skip
@model_argument
@click.option(
    "-e",
    "--environment",
    metavar="REF",
    shell_complete=complete_reference,
    help="Run it in this environment; default: what it was trained with.",
)
@click.option(
    "--entry",
    metavar="SCRIPT",
    help="Scores: a script with init() and run(data), or MODULE:FUNCTION. MLflow and scikit-learn need none.",
)
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="The directory of the script; default: this one.",
)
@click.option("-V", "--variable", "variables", multiple=True, metavar="K=V", help="Set a variable of the script in the image.")
@click.option("--platform", metavar="P", help="linux/amd64, linux/arm64 …; default: this machine's.")
@click.option("--to", metavar="HOST/REPOSITORY:TAG", help="Push the image there.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the image into a file that docker and podman load; also `oci-archive:FILE`, `oci:DIR`.",
)
@click.option("--context", metavar="DIR", type=click.Path(file_okay=False), help="Write a build context in place of an image.")
@command
def package(
    session: Session, reference: str, environment: str | None, entry: str | None, source: str | None, variables: tuple[str, ...],
    platform: str | None, to: str | None, output: str | None, context: str | None,
) -> None:  # fmt: skip
    """Make an image that serves a model by itself: the image that it was trained in, with a layer for the server, the model and the script.

    Nothing is solved or installed, and no layer of the environment is made anew. Without --to, -o and --context the image is kept in this
    machine's store. A build context has a Dockerfile, and needs no Wardian.
    """
    model = session.workspace.models.get(reference)
    done = model.package(entry=entry, source=source, environment=environment, variables=pairs(variables, "--variable"), platform=platform,
                         to=to, output=output, context=context)  # fmt: skip
    session.show(done.as_document(), lambda: list(_shown(done)))


def _shown(done: Packaged) -> Iterator[str]:
    yield f"{done.model} in {done.environment}: {done.place}"
    if done.image is not None:
        yield f"  image        sha256:{done.image.descriptor.digest}"
        yield f"  added        {size(done.image.added_bytes)}: {', '.join(name for name, _ in done.image.layers)}"
    yield f"  server       {', '.join(done.serving_packages)}"
