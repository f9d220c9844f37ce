"""`wardian runs`: what ran, with what, and how it ended."""

from __future__ import annotations

import click

from wardian.cli.lazy import LazyGroup

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


@click.group(
    cls=LazyGroup,
    commands_at=COMMANDS,
    aliases={"ls": "list", "rm": "delete", "stop": "cancel", "log": "logs", "stream": "logs"},
)
def runs() -> None:
    """Runs: records of what ran with what, their logs and outputs.

    ID is a run's id, the beginning of it, or `latest`.
    """
