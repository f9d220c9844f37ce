"""`wardian endpoint`: models that answer on a port."""

from __future__ import annotations

import click

from wardian.cli.common import examples
from wardian.cli.lazy import SHORT_NAMES, LazyGroup

COMMANDS = {
    "list": ("wardian.cli.endpoint_show:list_", "List the endpoints."),
    "show": ("wardian.cli.endpoint_show:show", "Show all that is known of an endpoint: model, run, lock, replicas, history."),
    "logs": ("wardian.cli.endpoint_show:logs", "Print what its replicas wrote; -f follows it."),
    "score": ("wardian.cli.endpoint_ask:score", "Ask it: send data, print the answer."),
    "bench": ("wardian.cli.endpoint_ask:bench", "Replay requests, and say how fast it answers."),
    "update": ("wardian.cli.endpoint_change:update", "Change what serves: model, code, variables; no request fails."),
    "scale": ("wardian.cli.endpoint_change:scale", "Have more replicas, or fewer."),
    "rollback": ("wardian.cli.endpoint_change:rollback", "Have the deployment before serve again."),
    "restart": ("wardian.cli.endpoint_change:restart", "Replace its replicas by new ones; no request fails."),
    "key": ("wardian.cli.endpoint_change:key", "API keys: make a new one, drop the old ones."),
    "delete": ("wardian.cli.endpoint_change:delete", "End it, and delete its records."),
}
ALIASES = {
    **SHORT_NAMES,
    "invoke": "score",
    "log": "logs",
    "stop": "delete",
    "get": "show",
    "predict": "score",
    "undo": "rollback",
}


@click.group(cls=LazyGroup, commands_at=COMMANDS, aliases=ALIASES, epilog=examples(
    "wardian deploy churn -m churn:2", "wardian endpoint score churn '[[5.1, 3.5]]'", "wardian endpoint show churn", "wardian endpoint logs -f churn",
))  # fmt: skip
def endpoint() -> None:
    """Endpoints: models that answer on a port of this machine; `wardian deploy` makes them."""
