"""Logins that uv and rattler keep for themselves: whoever set those up needs no second setting for our own downloads."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wardian.small_file import read_small
from wardian.tools.http import Credentials, split_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
_LARGEST_BYTES = 1 << 20


class ToolLogins:
    """Looks up a URL in uv's variables and settings, then in rattler's credential file. Reads, never writes.

    A login counts for the origin (scheme, host, port) of its index, as uv has it; rattler's count for a host.

    Args:     environ: the caller's environment.
    """

    def __init__(self, environ: Mapping[str, str]):
        self._environ = environ

    def find(self, url: str) -> Credentials | None:
        """Return the login for ``url``, or None. Files that cannot be read count as empty: their own tools complain of them."""
        origin = _origin(url)
        for index, login in self._uv():
            if login is not None and _origin(index) == origin:
                return login
        host = urlsplit(url).netloc.rpartition("@")[2]
        entries = self._rattler()
        names = [host, host.partition(":")[0], *(f"*.{'.'.join(host.split('.')[n:])}" for n in range(1, host.count(".") + 1))]
        return next((login for name in names if (login := _rattler_login(entries.get(name))) is not None), None)

    def _uv(self) -> Iterator[tuple[str, Credentials | None]]:
        for name, text in self._uv_indexes():
            url, login = split_credentials(text)
            key = re.sub(r"[^A-Z0-9]", "_", name.upper())
            if name and (password := self._environ.get(f"UV_INDEX_{key}_PASSWORD")):
                login = Credentials(self._environ.get(f"UV_INDEX_{key}_USERNAME", ""), password)
            yield url, login

    def _uv_indexes(self) -> Iterator[tuple[str, str]]:
        for variable in _INDEX_VARIABLES:
            for part in self._environ.get(variable, "").split():
                name, equals, url = part.partition("=")
                yield (name, url) if equals and "://" not in name else ("", part)
        for path in self._uv_files():
            try:
                document = tomllib.loads(_text(path))
            except tomllib.TOMLDecodeError:
                continue
            pip = document.get("pip")
            for entry in _listed(document.get("index")):
                if isinstance(entry, dict) and isinstance(entry.get("url"), str):
                    yield str(entry.get("name", "")), entry["url"]
            for table in (document, pip if isinstance(pip, dict) else {}):
                for key in ("index-url", "extra-index-url"):
                    yield from (("", url) for url in _listed(table.get(key)) if isinstance(url, str))

    def _uv_files(self) -> Iterator[Path]:
        if own := self._environ.get("UV_CONFIG_FILE"):
            yield Path(own)
            return
        base = self._environ.get("XDG_CONFIG_HOME") or (f"{self._environ['HOME']}/.config" if self._environ.get("HOME") else "")
        if base:
            yield Path(base) / "uv" / "uv.toml"
        yield Path("/etc/uv/uv.toml")

    def _rattler(self) -> dict[str, Any]:
        home = self._environ.get("HOME", "")
        path = self._environ.get("RATTLER_AUTH_FILE") or (f"{home}/.rattler/credentials.json" if home else "")
        try:
            document = json.loads(_text(Path(path)) or "{}") if path else {}
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(path: Path) -> str:
    try:
        return read_small(path, _LARGEST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _rattler_login(entry: Any) -> Credentials | None:
    """Return what one entry of rattler's file says: BearerToken, BasicHTTP or CondaToken."""
    if not isinstance(entry, dict):
        return None
    if isinstance(token := entry.get("BearerToken"), str):
        return Credentials(token=token)
    if isinstance(token := entry.get("CondaToken"), str):
        return Credentials(conda_token=token)
    basic = entry.get("BasicHTTP")
    if isinstance(basic, dict) and isinstance(basic.get("username"), str) and isinstance(basic.get("password"), str):
        return Credentials(basic["username"], basic["password"])
    return None
