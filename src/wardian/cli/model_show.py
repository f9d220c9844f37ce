"""`wardian model list|show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples, printable, size, table
from wardian.cli.completion import complete_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.sdk.models import Model

_SHOWN = 20
model_argument = click.argument("reference", metavar="NAME[:VERSION|@LABEL]", shell_complete=complete_model)


def model_document(model: Model) -> dict[str, Any]:
    """Return what is shown of a model: its record, and where its files lie."""
    record = model.record
    path = model.collection.root / record.facts.digest / record.facts.file_name
    return {**record.as_document(), "path": str(path)}


@click.command("list", epilog=examples("wardian model list", "wardian model list churn", "wardian model list --json"))
@click.argument("name", required=False, shell_complete=complete_model)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most this many.")
@click.option("--after", metavar="NEXT", help="The page after this one: `next` of the page before.")
@command
def list_(session: Session, name: str | None, limit: int, after: str | None) -> None:
    """List models, the newest version of each; or of one NAME all versions, the newest first."""
    models = session.workspace.models
    page = models.list(limit=limit, after=after) if name is None else models.versions(name, limit=limit, after=after)
    if not page.items:
        session.say("no models yet: `wardian model create NAME PATH --run ID` registers what a run has made")
    if page.next:
        session.say(f"more: --after {page.next}")
    rows = [_row(model) for model in page]
    session.show({"models": [model_document(model) for model in page], "next": page.next},
                 lambda: table(("NAME", "VERSION", "FORMAT", "SIZE", "ENVIRONMENT", "RUN", "CREATED", "LABELS", "DESCRIPTION"), rows) if rows else [])  # fmt: skip


def _row(model: Model) -> tuple[str, ...]:
    record = model.record
    return (record.name, record.version, record.facts.format, size(record.facts.size_bytes), record.environment or "", record.lineage.run_id or "",
            record.created[:16].replace("T", " "), ",".join(record.labels), record.description[:50])  # fmt: skip


@click.command(epilog=examples("wardian model show churn", "wardian model show churn@production --json"))
@model_argument
@command
def show(session: Session, reference: str) -> None:
    """Show a model: its files, what its format says, and the run, environment, lock and image that it was made with."""
    model = session.workspace.models.get(reference)
    document = model_document(model)
    session.show(document, lambda: [printable(line) for line in _shown(model, document["path"])])


def _shown(model: Model, path: str) -> Iterator[str]:
    record, facts, lineage = model.record, model.record.facts, model.record.lineage
    yield f"{record}"
    yield from _field("digest", f"{facts.digest}")
    yield from _field("created", record.created)
    yield from _field("labels", ", ".join(record.labels))
    yield from _field("about", record.description)
    yield from _field("tags", ", ".join(f"{key}={value}" for key, value in record.tags.items()))
    count = f", {facts.files} file{'' if facts.files == 1 else 's'}" if facts.is_directory else ""
    yield from _field("files", f"{facts.file_name}{'/' if facts.is_directory else ''}  {size(facts.size_bytes)}{count}")
    yield from _format(model)
    yield from _field("source", lineage.source)
    gone = "  (deleted since)" if lineage.run_id and model.run() is None else ""
    yield from _field("run", f"{lineage.run_id}{gone}" if lineage.run_id else "none: what it was trained with is not known")
    yield from _field("environment", record.environment or "")
    yield from _field("lock", lineage.lock_digest or "")
    yield from _field("image", lineage.image_digest or "")
    yield from _field("kept in", path)


def _format(model: Model) -> Iterator[str]:
    found = model.mlflow
    if found is None:
        yield from _field("format", model.format + (", by the name of its file" if model.format == "sklearn" else ""))
        return
    yield from _field("format", f"mlflow {found.mlflow_version}".rstrip() + f": {', '.join(found.flavors[:_SHOWN])}")
    yield from _field("python", found.python_version)
    for part in ("inputs", "outputs", "params"):
        yield from _field(part, _columns((found.signature or {}).get(part, [])))
    yield from _field("example", found.input_example["path"] if found.input_example else "")
    yield from _field("saved with", ", ".join(found.environment_files))


def _columns(columns: list[dict[str, Any]]) -> str:
    """Return the columns or tensors of a signature in words: ``age: long, income: double``."""
    words = []
    for column in columns[:_SHOWN]:
        tensor = column.get("tensor-spec")
        of_tensor = f"{tensor.get('dtype')}{tensor.get('shape')}" if isinstance(tensor, dict) else None
        words.append(": ".join(str(word) for word in (column.get("name"), of_tensor or column.get("type")) if word is not None))
    return ", ".join(words) + (f", … {len(columns)} in all" if len(columns) > _SHOWN else "")


def _field(name: str, value: str) -> Iterator[str]:
    if value:
        yield f"  {name:<12} {value}"
