"""`wardian endpoint list|show|logs`."""

from __future__ import annotations

import sys
from typing import Any

import click

from wardian.cli.common import Session, command, examples, printable, table
from wardian.cli.completion import complete_endpoint

endpoint_argument = click.argument("name", shell_complete=complete_endpoint)


@click.command("list", epilog=examples("wardian endpoint list", "wardian endpoint list --json"))
@command
def list_(session: Session) -> None:
    """List the endpoints: what they serve, where, and how they are."""
    documents = [one.as_document() for one in session.workspace.endpoints.list()]
    rows = [
        (d["name"], d["state"], d["model"] or "", d["environment"] or "", d["target"] or "", _replicas(d), d["url"] or "")
        for d in documents
    ]
    session.show(
        {"endpoints": documents}, lambda: table(("NAME", "STATE", "MODEL", "ENVIRONMENT", "TARGET", "REPLICAS", "URL"), rows)
    )


@click.command(epilog=examples("wardian endpoint show churn", "wardian endpoint show churn --json"))
@endpoint_argument
@command
def show(session: Session, name: str) -> None:
    """Show all that is known of an endpoint: what it serves, made with what; its replicas, deployments and history."""
    document = session.workspace.endpoints.get(name).as_document()
    session.show(document, lambda: _lines(document))


@click.command(
    epilog=examples("wardian endpoint logs churn", "wardian endpoint logs -f churn", "wardian endpoint logs churn -n 50")
)
@endpoint_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as it is written, until the endpoint is deleted.")
@click.option("-n", "--tail", type=click.IntRange(min=1), metavar="N", help="Only the last N lines.")
@command
def logs(session: Session, name: str, follow: bool, tail: int | None) -> None:
    """Print what the replicas of an endpoint wrote, and what became of them."""
    found = session.workspace.endpoints.get(name)
    if follow and not session.as_json:
        out = sys.stdout.buffer
        for piece in found.follow():
            out.write(piece)
            out.flush()
        return
    text = found.log()
    if tail is not None:
        text = "".join(text.splitlines(keepends=True)[-tail:])
    session.show({"name": name, "log": text}, lambda: text, exact=True)


def _lines(document: dict[str, Any]) -> list[str]:
    facts = [
        ("url", document["scoring_url"]), _reason(document), ("model", document["model"]), ("run", document["run_id"]),
        ("environment", document["environment"]), ("lock", document["lock_digest"]), ("image", document["image_digest"]),
        ("serving layer", _layer(document)), ("scores by", document["entry"] or document["kind"]), ("target", document["target"]),
        ("variables", " ".join(f"{key}={value}" if value is not None else f"{key}=…" for key, value in document["variables"].items())),
        ("keys", str(len(document["keys"])) if document["authenticated"] else "none: everybody may ask"), ("log", document["log"]),
    ]  # fmt: skip
    lines = [
        f"{document['name']}  {document['state']}",
        *(f"  {key:<14}{printable(str(value))}" for key, value in facts if value),
    ]
    lines += ["", *(f"  {line}" for line in table(("REPLICA", "STATE", "DEPLOYMENT", "PID", "SERVED", "FAILED", "STARTED"), [
        (r["id"], r["state"], r["deployment"], r["pid"], r["served"], r["failed"], r["started"][:19] + "Z") for r in document["replicas"]]))]  # fmt: skip
    models = {one["number"]: one.get("model") for one in document["deployments"]}
    lines += ["", *(f"  {line}" for line in table(("ROLLOUT", "DEPLOYMENT", "MODEL", "WHY", "STATE", "ASKED", ""), [
        (r["number"], r["deployment"], models.get(r["deployment"]), r["kind"], r["state"], r["asked"][:19] + "Z", (r["reason"] or "")[:60]) for r in document["rollouts"]]))]  # fmt: skip
    return lines


def _reason(document: dict[str, Any]) -> tuple[str, str | None]:
    """Return why an endpoint failed, or, of one that serves all the same, why its last change did."""
    reason = document["reason"]
    if reason and document["state"] in ("serving", "updating", "degraded"):
        return "last change", f"failed: {reason}"
    return "reason", reason


def _layer(document: dict[str, Any]) -> str:
    packages = document["serving_packages"]
    return f"{document['serving_layer'][:12]}: {', '.join(packages)}" if document["serving_layer"] else ""


def _replicas(document: dict[str, Any]) -> str:
    ready = sum(1 for one in document["replicas"] if one["state"] == "ready")
    return f"{ready}/{document['replicas_wanted']}"
