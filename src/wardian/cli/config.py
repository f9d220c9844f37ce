"""`wardian config`: settings, where they come from, and how to change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples, table
from wardian.cli.lazy import SHORT_NAMES, LazyGroup

if TYPE_CHECKING:
    from wardian.sdk.configuration import Configuration
    from wardian.workspace.config_file import SettingValue


@click.group(cls=LazyGroup, aliases=SHORT_NAMES, epilog=examples(
    "wardian config show", "wardian config set lock_platforms linux/amd64,linux/arm64",
    "wardian config set indexes.corp https://packages.example.org/simple", "wardian config unset lock_platforms",
))  # fmt: skip
def config() -> None:
    """Settings: a variable goes before $WARDIAN_HOME/config.toml, that before the default."""


def _configuration() -> Configuration:
    from wardian.sdk.configuration import Configuration

    return Configuration()


def _complete_key(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from dataclasses import fields

    from wardian.settings import Settings

    tables = ("indexes", "channels", "mirrors")
    keys = [f"{item.name}." if item.name in tables else item.name for item in fields(Settings) if item.name != "home"]
    return [key for key in keys if key.startswith(incomplete)]


@config.command(epilog=examples("wardian config show", "wardian config show cache_limit_bytes --json"))
@click.argument("key", required=False, shell_complete=_complete_key)
@command
def show(session: Session, key: str | None) -> None:
    """Show every setting, or KEY alone: its value and where it comes from."""
    found = [one for one in _configuration().show() if key in (None, one.name)]
    if not found:
        from wardian.errors import NotFound

        raise NotFound(
            f"there is no setting `{str(key)[:80]}`", hint="`wardian config show` lists all", code="setting_not_found"
        )
    session.show({"settings": [one.as_document() for one in found]}, lambda: table(("SETTING", "VALUE", "FROM"), _rows(found)))


@config.command("set", epilog=examples(
    "wardian config set cache_limit_bytes 50GB",
    "wardian config set lock_platforms linux/amd64,linux/arm64",
    "wardian config set indexes.corp https://packages.example.org/simple",
    "wardian config set channels.internal https://conda.example.org/internal",
    "wardian config set mirrors.https://files.example.org/ https://mirror.example.org/files/",
))  # fmt: skip
@click.argument("key", shell_complete=_complete_key)
@click.argument("value")
@command
def set_(session: Session, key: str, value: str) -> None:
    """Set KEY in $WARDIAN_HOME/config.toml; the value is checked first, comments in the file stay.

    A table takes one entry at a time: indexes.NAME URL, channels.NAME URL, mirrors.URL URL. Lists have commas between the items.
    """
    from wardian.cli.gc import size_bytes

    number = size_bytes(value) if key.endswith("_bytes") else None
    found, variable = _configuration().set(key, value if number is None else str(number))
    _changed(session, found, variable, f"{key} = {value}")


@config.command(epilog=examples("wardian config unset lock_platforms", "wardian config unset indexes.corp"))
@click.argument("key", shell_complete=_complete_key)
@command
def unset(session: Session, key: str) -> None:
    """Remove KEY from the file: its default counts again."""
    found, variable = _configuration().unset(key)
    _changed(session, found, variable, f"{key} is {_text(found.value)} again" if key == found.name else f"{key} is gone")


def _changed(session: Session, found: SettingValue, variable: str, text: str) -> None:
    if variable:
        session.say(f"warning: {variable} is set here, and goes before the file")
    session.show(found.as_document(), lambda: text)


def _rows(found: list[SettingValue]) -> list[tuple[str, str, str]]:
    rows = []
    for one in found:
        entries = one.value if isinstance(one.value, dict) else {}
        rows += [(f"{one.name}.{name}", str(item), one.origin) for name, item in entries.items()]
        if not entries:
            rows.append((one.name, _text(one.value), one.origin))
    return rows


def _text(value: Any) -> str:
    if value in (None, {}, []):
        return "none"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
