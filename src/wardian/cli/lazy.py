"""Groups whose commands are imported when they are called: `--help` and completion stay quick."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem

SHORT_NAMES = {"ls": "list", "rm": "delete"}


class LazyGroup(click.Group):
    """A group that knows its commands by name, place (``module:attribute``) and one line of help.

    Args:     commands_at: name → (place, help).  hidden_at: the same for those that are not listed: programs call them.
              aliases: other names that people are used to, not listed.
    """

    def __init__(
        self,
        *args: Any,
        commands_at: Mapping[str, tuple[str, str]] | None = None,
        hidden_at: Mapping[str, tuple[str, str]] | None = None,
        aliases: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self._places = dict(commands_at or {})
        self._hidden = dict(hidden_at or {})
        self._aliases = dict(aliases or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order in which people need them."""
        return [*self._places, *(name for name in self.commands if name not in self._places)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing its module."""
        name = self._aliases.get(cmd_name, cmd_name)
        if (found := self._places.get(name) or self._hidden.get(name)) is not None:
            module, _, attribute = found[0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        return super().get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(self._lines(ctx))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names of commands without importing any of them, and options."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, text in self._lines(ctx) if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the named command; an unknown one is answered with what was probably meant."""
        name = args[0] if args else ""
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            near = difflib.get_close_matches(name, [*known, *(a for a, meant in self._aliases.items() if meant in known)], n=1)
            meant = f"; did you mean `{ctx.command_path} {near[0]}`?" if near else ""
            raise click.UsageError(f"there is no command `{ctx.command_path} {name}`{meant}", ctx)
        return super().resolve_command(ctx, args)

    def _lines(self, ctx: click.Context) -> list[tuple[str, str]]:
        lines = []
        for name in self.list_commands(ctx):
            if name in self._places:
                lines.append((name, self._places[name][1]))
            elif (command := super().get_command(ctx, name)) is not None and not command.hidden:
                lines.append((name, command.get_short_help_str(limit=200)))
        return lines
