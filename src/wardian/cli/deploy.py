"""`wardian deploy`: a model that answers on a port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples
from wardian.cli.completion import complete_endpoint, complete_model
from wardian.cli.deploy_options import configuration_of, deploy_options, inference_of

if TYPE_CHECKING:
    from wardian.sdk.endpoint import Endpoint


@click.command(epilog=examples(
    "wardian deploy churn -m churn:2", "wardian deploy churn -m churn --entry score.py -V THRESHOLD=0.7",
    "wardian deploy churn -m churn -t podman -p 8080 --replicas 2", "wardian endpoint score churn '{\"data\": [[5.1, 3.5]]}'",
))  # fmt: skip
@click.argument("name", shell_complete=complete_endpoint)
@click.option(
    "-m", "--model", metavar="MODEL:V", shell_complete=complete_model, help="What is served; its environment comes with it."
)
@deploy_options
@click.option(
    "-p", "--port", type=int, metavar="PORT", help="On the loopback address; else a free one, which stays the endpoint's."
)
@click.option("--no-auth", is_flag=True, help="Whoever reaches the port may ask: no API key is made.")
@click.option("--no-wait", is_flag=True, help="Return when the deployment is recorded.")
@command
def deploy(session: Session, name: str, model: str | None, no_auth: bool, no_wait: bool, **options: Any) -> None:
    """Deploy a model to an endpoint, in the very environment that trained it.

    The first time the endpoint is made, and its API key is shown: it is kept nowhere. After that, what serves is replaced: new
    replicas start beside the old ones, which end when the new ones are ready. No request fails; if the new ones do, the old ones stay.
    """
    from wardian.serving.deployment import DeploymentConfiguration, InferenceConfiguration

    workspace = session.workspace
    inference = inference_of(options, InferenceConfiguration(), workspace)
    known = workspace.endpoints.store.find(name)
    configuration = configuration_of(options, DeploymentConfiguration(replicas=known.replicas if known else 1))
    made = workspace.endpoints.deploy(
        name, model, inference=inference, configuration=configuration, authenticated=not no_auth, wait=not no_wait
    )
    show_deployed(session, made)


def show_deployed(session: Session, made: Endpoint) -> None:
    """Write what was deployed, and the key if it is new."""
    document = made.as_document() | ({"key": made.key} if made.key else {})
    session.show(document, lambda: deployed_lines(document))


def deployed_lines(document: dict[str, Any]) -> list[str]:
    """Return what was deployed, for people."""
    with_what = " · ".join(
        text for text in (
            document["model"], document["environment"], f"lock {document['lock_digest'][:6]}" if document["lock_digest"] else None,
            f"image {document['image_digest'][:12]}" if document["image_digest"] else None, document["target"],
        ) if text
    )  # fmt: skip
    lines = [f"{document['name']} {document['state']}: {with_what}"]
    if document["scoring_url"]:
        lines.append(f"  {document['scoring_url']}")
    if document.get("key"):
        lines.append(f"  key {document['key']}  (shown once)")
    return lines
