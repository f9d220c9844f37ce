"""`wardian secret`: logins for indexes, channels and registries; values are never shown."""

from __future__ import annotations

import os
import sys

import click

from wardian.cli.common import Session, command, examples, table
from wardian.cli.lazy import SHORT_NAMES, LazyGroup
from wardian.errors import InvalidInput

KINDS = ("index", "channel", "registry", "plain")
_HOW = "the value is read from a prompt, from stdin, or with `--from-variable NAME`: arguments end up in the shell's history"


@click.group(cls=LazyGroup, aliases=SHORT_NAMES, epilog=examples(
    "wardian secret set team --url https://team.example.org --user ci", "wardian secret set team --url https://team.example.org < token.txt",
    "wardian secret list", "wardian secret delete team",
))  # fmt: skip
def secret() -> None:
    """Secrets: logins that a definition must not hold, in a file that only you can read.

    A secret with a URL is sent to that host alone, for that path and what lies below it. With --user it is a password, without
    one a token.
    """


def _refuse(_ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value:
        raise InvalidInput("a secret is not given as an argument", hint=_HOW, code="secret_as_argument")


def _complete_secret(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from wardian.errors import WardianError

    try:
        known = Session(ctx.params.get("workspace_name"), as_json=True).machine.secrets.list()
    except WardianError:
        return []
    return [one.name for one in known if one.name.startswith(incomplete)]


@secret.command("set", epilog=examples(
    "wardian secret set team --url https://team.example.org --user ci        # asks for the password",
    "wardian secret set team --url https://team.example.org < token.txt",
    "wardian secret set team --url https://team.example.org --from-variable TEAM_TOKEN",
    "wardian secret set conda --url https://conda.example.org/private --kind channel",
))  # fmt: skip
@click.argument("name", shell_complete=_complete_secret)
@click.argument("values", nargs=-1, type=click.UNPROCESSED, callback=_refuse, expose_value=False, metavar="")
@click.option("--url", default="", metavar="URL", help="What it is for: this host, this path and below.")
@click.option("--user", default="", metavar="U", help="The user that the password belongs to; without: a token.")
@click.option("--kind", type=click.Choice(KINDS), help="What it logs in to; default: index with --url, plain without.")
@click.option("--from-variable", "variable", metavar="V", help="Take the value from this environment variable.")
@click.option("--value", "--password", "--token", hidden=True, expose_value=False, callback=_refuse)
@command
def set_(session: Session, name: str, url: str, user: str, kind: str | None, variable: str | None) -> None:
    """Keep a secret, in place of one of that name.

    The value is read from a hidden prompt, from stdin if that is no terminal, or from a variable; never from an argument.
    """
    kept = session.workspace.secrets.set(
        name, _value(name, variable, user), kind=kind or ("index" if url else "plain"), url=url, username=user
    )
    session.show(kept.as_document(), lambda: f"kept {name}" + (f" for {kept.url}" if kept.url else ""))


@secret.command("list", epilog=examples("wardian secret list", "wardian secret list --json"))
@command
def list_(session: Session) -> None:
    """List the secrets: names and what they are for, never values."""
    known = session.workspace.secrets.list()
    rows = [(one.name, one.kind, one.url, one.username, one.changed[:10]) for one in known]
    session.show({"secrets": [one.as_document() for one in known]},
                 lambda: table(("NAME", "KIND", "URL", "USER", "CHANGED"), rows) if rows else "there are no secrets")  # fmt: skip


@secret.command(epilog=examples("wardian secret delete team"))
@click.argument("name", shell_complete=_complete_secret)
@command
def delete(session: Session, name: str) -> None:
    """Forget a secret."""
    session.workspace.secrets.delete(name)
    session.show({"name": name, "deleted": True}, lambda: f"deleted {name}")


def _value(name: str, variable: str | None, user: str) -> str:
    if variable is not None:
        if variable not in os.environ:
            raise InvalidInput(f"the variable `{variable[:80]}` is not set", hint=f"`export {variable[:80]}=…`, or leave --from-variable out and type it",
                               code="variable_not_set")  # fmt: skip
        return os.environ[variable]
    if sys.stdin.isatty():
        prompted: str = click.prompt(f"{'password' if user else 'value'} of {name}", hide_input=True, err=True)
        return prompted
    # one line end is the editor's or echo's, not the secret's
    return sys.stdin.buffer.read((64 << 10) + 2).decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
