"""`wardian runs`: what ran, with what, and how it ended."""

from __future__ import annotations

import click

from wardian.cli.common import examples
from wardian.cli.lazy import SHORT_NAMES, LazyGroup

COMMANDS = {
    "list": ("wardian.cli.runs_show:list_", "List runs, the newest first."),
    "show": ("wardian.cli.runs_show:show", "Show all that is known of a run."),
    "logs": ("wardian.cli.runs_show:logs", "Print what a run wrote; -f follows it."),
    "wait": ("wardian.cli.runs_change:wait", "Wait until a run has ended."),
    "cancel": ("wardian.cli.runs_change:cancel", "Stop a run and all its processes."),
    "delete": ("wardian.cli.runs_change:delete", "Delete a run's record and files."),
    "export": ("wardian.cli.runs_change:export", "Write a run to one file that can be run again elsewhere."),
    "reproduce": ("wardian.cli.runs_change:reproduce", "Run it again: same packages, code, inputs and variables."),
}


ALIASES = {**SHORT_NAMES, "stop": "cancel", "log": "logs", "stream": "logs"}


@click.group(cls=LazyGroup, commands_at=COMMANDS, aliases=ALIASES, epilog=examples(
    "wardian runs list", "wardian runs show latest", "wardian runs logs -f latest", "wardian runs export latest -o churn.wardian --packages",
))  # fmt: skip
def runs() -> None:
    """Runs: records of what ran with what, their logs and outputs.

    ID is a run's id, the beginning of it, or `latest`.
    """
