"""`wardian model`: what runs have made, kept with what it was made with."""

from __future__ import annotations

import click

from wardian.cli.common import examples
from wardian.cli.lazy import SHORT_NAMES, LazyGroup

COMMANDS = {
    "create": ("wardian.cli.model_change:create", "Register a file, a directory or a run's output as a version of a model."),
    "list": ("wardian.cli.model_show:list_", "List models, or the versions of one."),
    "show": ("wardian.cli.model_show:show", "Show a model: its files, its format, and what it was trained with."),
    "download": ("wardian.cli.model_change:download", "Copy a model's files here."),
    "package": ("wardian.cli.model_package:package", "Make an image, or a build context, that serves a model by itself."),
    "label": ("wardian.cli.model_change:label", "Move a label to a version, remove it, show its history."),
    "update": ("wardian.cli.model_change:update", "Change description and tags."),
    "delete": ("wardian.cli.model_change:delete", "Delete a version, or a name with all of them."),
}


@click.group(cls=LazyGroup, commands_at=COMMANDS, aliases={**SHORT_NAMES, "register": "create"}, epilog=examples(
    "wardian model create churn model --run latest", "wardian model list", "wardian model show churn", "wardian run -e model:churn evaluate.py",
))  # fmt: skip
def model() -> None:
    """Models: what runs have made, in versions that never change, each with its run, lock and image.

    As a reference, `model:NAME`, `model:NAME:VERSION` or `model:NAME@LABEL` is the environment that it was trained with.
    """
