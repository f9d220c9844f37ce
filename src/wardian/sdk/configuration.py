"""The settings of this machine: shown with where each comes from, set and unset in ``$WARDIAN_HOME/config.toml``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.workspace.config_file import ConfigFile, SettingValue


class Configuration:
    """The settings, and the file that holds those that somebody set.

    Args:     home: instead of ``WARDIAN_HOME``.  environ: of the process.
    """

    def __init__(self, home: Path | None = None, environ: Mapping[str, str] | None = None):
        self._environ = dict(os.environ if environ is None else environ)
        self._home = Settings.home_of(self._environ) if home is None else home

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def _file(self) -> ConfigFile:
        from wardian.workspace.config_file import ConfigFile

        return ConfigFile(self._home)

    def show(self) -> tuple[SettingValue, ...]:
        """Return every setting that is in effect, and where it comes from.

        Raises:   InvalidSetting: the file or a variable holds a wrong value.
        """
        return self._file.show(self._environ)

    def set(self, key: str, value: str) -> tuple[SettingValue, str]:
        """Set one setting in the file; return it as the file has it, and the variable that goes before the file, or ``""``.

        Args:     key: its name; ``indexes.NAME``, ``channels.NAME``, ``mirrors.URL`` for an entry of a table.
        Raises:   InvalidSetting: no such setting, or not a value for it; the file is as it was.
        """
        found = self._file.set(_bare(key), value)
        return found, self._overriding(found)

    def unset(self, key: str) -> tuple[SettingValue, str]:
        """Remove one setting from the file; return what counts then, and the variable that goes before it, or ``""``.

        Raises:   NotFound: the file does not set it.
        """
        found = self._file.unset(_bare(key))
        return found, self._overriding(found)

    def _overriding(self, found: SettingValue) -> str:
        return found.variable if found.variable in self._environ else ""


def _bare(key: str) -> str:
    """Return ``mirrors."https://…"`` without the quotes, which TOML wants and people therefore write."""
    table, dot, entry = key.partition(".")
    if len(entry) > 1 and entry[0] == entry[-1] and entry[0] in "\"'":
        entry = entry[1:-1]
    return f"{table}{dot}{entry}"
