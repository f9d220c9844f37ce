"""`wardian env`: what people do with environments."""

from __future__ import annotations

import click

from wardian.cli.common import examples
from wardian.cli.lazy import LazyGroup

COMMANDS = {
    "create": ("wardian.cli.env_create:create", "Register an environment from a file, an image or another environment."),
    "list": ("wardian.cli.env_show:list_", "List environments."),
    "show": ("wardian.cli.env_show:show", "Show a version: definition, identity, lock, packages."),
    "history": ("wardian.cli.env_show:history", "What changed from version to version."),
    "tree": ("wardian.cli.env_tree:tree", "Draw who needs whom, and how large it is; who brought a package in."),
    "diff": ("wardian.cli.env_show:diff", "Compare two environments: settings, packages, why hashes differ."),
    "edit": ("wardian.cli.env_change:edit", "Edit the definition in your editor; a new version."),
    "add": ("wardian.cli.env_change:add", "Add packages; a new version, comments kept."),
    "remove": ("wardian.cli.env_change:remove", "Remove packages; a new version, comments kept."),
    "lock": ("wardian.cli.env_build:lock", "Find the exact artifacts; show them."),
    "upgrade": ("wardian.cli.env_change:upgrade", "Solve anew; a new version, the difference first."),
    "rebuild": ("wardian.cli.env_change:rebuild", "Solve anew, also for those who come later."),
    "build": ("wardian.cli.env_build:build", "Install the environment on this machine."),
    "verify": ("wardian.cli.env_build:verify", "Find every changed, missing or extra file."),
    "hash": ("wardian.cli.env_show:hash_", "Print the definition's hash."),
    "lint": ("wardian.cli.env_lint:lint", "Tell what is wrong or risky in a definition; mend it."),
    "label": ("wardian.cli.env_meta:label", "Move a label to a version."),
    "update": ("wardian.cli.env_meta:update", "Change description and tags; no new version."),
    "archive": ("wardian.cli.env_meta:archive", "Hide a name or a version; it stays usable."),
    "restore": ("wardian.cli.env_meta:restore", "Show an archived name or version again."),
    "delete": ("wardian.cli.env_meta:delete", "Delete what nothing refers to."),
    "push": ("wardian.cli.env_share:push", "Share a version through a registry."),
    "pull": ("wardian.cli.env_share:pull", "Bring a shared version into this workspace."),
    "export": ("wardian.cli.env_build:export", "Write the lock or the definition in another format."),
}
ALIASES = {"register": "create", "clone": "create", "refresh": "upgrade", "ls": "list", "rm": "remove"}


@click.group(cls=LazyGroup, commands_at=COMMANDS, aliases=ALIASES, epilog=examples(
    "wardian env create sklearn -r requirements.txt", "wardian env show sklearn --packages", "wardian env upgrade sklearn joblib",
    "wardian env diff sklearn:1 sklearn:2",
))  # fmt: skip
def env() -> None:
    """Environments: definitions with versions, labels, history and locks.

    REF is NAME, NAME:VERSION, NAME@LABEL, @HASH or run:ID. FILE is any known format, told by its content.
    """
