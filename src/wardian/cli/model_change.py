"""`wardian model create|download|label|update|delete`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wardian.cli.changes import ask_for_yes, change_label, tags_after
from wardian.cli.common import Session, command, examples
from wardian.cli.completion import complete_model, complete_run
from wardian.cli.model_show import model_argument, model_document
from wardian.cli.pairs import pairs


@click.command(epilog=examples(
    "wardian model create churn model --run latest", "wardian model create churn run:01k3p/model", "wardian model create churn ./model.joblib --tag team=risk",
))  # fmt: skip
@click.argument("name", shell_complete=complete_model)
@click.argument("path", type=click.Path())
@click.option(
    "--run",
    "run_id",
    metavar="ID",
    shell_complete=complete_run,
    help="The run that made it; PATH is looked for in its outputs first.",
)
@click.option("--version", metavar="V", help="This version instead of the next number.")
@click.option("--description", default="", help="What it is for.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="Set a tag.")
@command
def create(
    session: Session, name: str, path: str, run_id: str | None, version: str | None, description: str, tags: tuple[str, ...]
) -> None:
    """Register the file or directory PATH as a version of the model NAME: a copy is kept, which never changes.

    With --run it knows its run, and so its environment, lock and image. The same files again are the same version. Directories that
    MLflow wrote are recognised; nothing is loaded.
    """
    model, added = session.workspace.models.ensure(
        path, name, run=run_id, version=version, description=description, tags=pairs(tags, "--tag")
    )
    record = model.record
    if not added:
        session.say(f"{record} has these files already")
        if (description and description != record.description) or any(
            record.tags.get(key) != value for key, value in pairs(tags, "--tag").items()
        ):
            session.say(f"its description and tags stay as they are: `wardian model update {record}` changes them")
        if run_id is not None and record.lineage.run_id is not None:
            session.say(f"it was made by run {record.lineage.run_id}, with the same environment")
    with_what = (
        f"trained with {record.environment}"
        if record.environment
        else "registered without a run: `--run ID` says which one made it"
    )
    session.show({**model_document(model), "added": added}, lambda: f"{record}  {record.facts.format}, {with_what}")


@click.command(epilog=examples("wardian model download churn", "wardian model download churn:2 -o models --force"))
@model_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="The directory to copy it into; it is made.",
)
@click.option("--force", is_flag=True, help="Replace what is there.")
@command
def download(session: Session, reference: str, output: Path, force: bool) -> None:
    """Copy a model's file or directory here, under its own name; it is checked against its digest."""
    model = session.workspace.models.get(reference)
    place = model.download(output, force=force)
    session.show({"reference": model.reference, "digest": model.digest, "output": str(place)}, lambda: f"wrote {place}")


@click.command(epilog=examples(
    "wardian model label churn:4 production", "wardian model label churn production --history", "wardian model label churn staging --remove",
))  # fmt: skip
@model_argument
@click.argument("label")
@click.option("--remove", is_flag=True, help="Take the label away.")
@click.option("--history", is_flag=True, help="Show where it was.")
@command
def label(session: Session, reference: str, label: str, remove: bool, history: bool) -> None:
    """Move LABEL to a version; `latest` is computed and cannot be set."""
    models = session.workspace.models
    name = models.get(reference).name

    def give() -> tuple[dict[str, Any], object]:
        model = models.label(reference, label)
        return model_document(model), model

    change_label(session, models, name, label, history=history, remove=remove, give=give)


@click.command(epilog=examples(
    'wardian model update churn --description "Who leaves next quarter"', "wardian model update churn:2 --tag team=risk",
))  # fmt: skip
@model_argument
@click.option("--description", help="What it is for.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="Set a tag; `K=` removes it.")
@command
def update(session: Session, reference: str, description: str | None, tags: tuple[str, ...]) -> None:
    """Change description and tags; the version stays the same."""
    models = session.workspace.models
    wanted = tags_after(models.get(reference).record.tags, tags)
    model = models.update(reference, description=description, tags=wanted)
    session.show(model_document(model), lambda: f"updated {model}")


@click.command(epilog=examples("wardian model delete churn:2 --yes"))
@model_argument
@click.option("--yes", is_flag=True, help="Do it without asking.")
@command
def delete(session: Session, reference: str, yes: bool) -> None:
    """Delete a version, or a name with all of them, and their files; refused while labels or endpoints refer to it."""
    models = session.workspace.models
    model = models.get(reference)
    ask_for_yes(yes, f"deleting {reference} cannot be undone: its files are nowhere else",
                f"`wardian model delete {reference} --yes`; `wardian model download {model}` copies them first")  # fmt: skip
    models.delete(reference)
    session.show({"reference": reference, "deleted": True}, lambda: f"deleted {reference}")
