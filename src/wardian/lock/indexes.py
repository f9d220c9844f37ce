"""Which package indexes a definition speaks of: aliases, URLs, credentials, and how uv is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wardian.definition.pip_option import PipOption
from wardian.definition.well_known import DEFAULT_INDEX as DEFAULT_ALIAS
from wardian.definition.well_known import is_default_index
from wardian.errors import InvalidInput
from wardian.tools.http import Credentials, with_credentials, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What Wardian makes of pip's options: docs/reference/pip-options.md
IGNORED = {
    "--prefer-binary": "uv prefers wheels already",
    "--use-feature": "it concerns pip alone",
}


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """The indexes of one solve: what uv is told, and under which alias each is recorded."""

    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    aliases: Mapping[str, str]  # URL without credentials → alias
    find_links: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    require_hashes: bool = False
    default_alias: str = field(default=DEFAULT_ALIAS)
    logins: Mapping[str, Credentials] = field(default_factory=dict)  # origin of an index (scheme, host, port) → its own login
    trusted: frozenset[str] = frozenset()  # hosts (``HOST[:PORT]``) whose certificates are not checked
    named: Mapping[str, str] = field(default_factory=dict, repr=False)  # alias → URL with its login, of indexes that are named

    def with_login(self, url: str) -> str:
        """Return ``url`` with the login of the index whose origin it shares, if that index was given with one."""
        login = self.logins.get(_origin(url))
        return with_credentials(url, login) if login is not None else url

    def only(self, alias: str) -> Mapping[str, str]:
        """Return ``environ`` for a look into the index called ``alias`` alone; the default one: as uv itself is configured."""
        if alias not in self.named:
            return {key: value for key, value in self.environ.items() if key != "UV_INDEX"}
        return {"UV_DEFAULT_INDEX": self.named[alias], "UV_INDEX": ""}

    def alias_of(self, url: str | None) -> str:
        """Return the alias under which packages from the index at ``url`` are recorded."""
        if url is None:
            return self.default_alias
        return self.aliases.get(without_credentials(url).rstrip("/"), self.default_alias)


def expand(text: str, environ: Mapping[str, str], place: str) -> str:
    """Return ``text`` with each ``${NAME}`` replaced from ``environ``, as pip does.

    Raises:   InvalidInput: a variable is not set; code ``unset_variable``.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            raise InvalidInput(
                f"{place} uses ${{{name}}}, which is not set", hint=f"set it: `export {name}=…`", code="unset_variable"
            )
        return environ[name]

    return re.sub(r"\$\{([A-Z0-9_]+)\}", value, text)


def plan_indexes(
    options: Sequence[str],
    *,
    configured: Mapping[str, str],
    credentials: Callable[[str], Credentials | None],
    environ: Mapping[str, str],
    strategy: str,
    base: Path | None = None,
) -> IndexPlan:
    """Return the plan for a definition's pip options.

    Args:     options: the definition's ``pip_options``, in order.
              configured: index URLs by alias (settings); ``pypi`` replaces the default index.
              credentials: known logins by URL.
              environ: where ``${NAME}`` in URLs comes from.
              base: directory for relative ``--find-links``.
    Raises:   InvalidInput: an unset variable.
    """
    arguments = ["--resolution", "highest", "--index-strategy", strategy]
    default: str | None = configured.get(DEFAULT_ALIAS)
    default_alias = DEFAULT_ALIAS
    extras: list[str] = []
    aliases: dict[str, str] = {}
    links: list[str] = []
    notes: list[str] = []
    trusted: list[str] = []
    prerelease = "if-necessary-or-explicit"
    require_hashes = False
    by_url = {url.rstrip("/"): alias for alias, url in configured.items()}
    if default is not None:
        aliases[without_credentials(default).rstrip("/")] = DEFAULT_ALIAS
    for position, text in enumerate(options):
        option = PipOption.parse(text)
        value = expand(option.value or "", environ, f"python.pip_options[{position}]")
        if option.name in ("--index-url", "--extra-index-url"):
            if is_default_index(value) and DEFAULT_ALIAS in configured:
                value = DEFAULT_ALIAS
            url = configured.get(value, value)
            alias = value if value in configured else by_url.get(without_credentials(url).rstrip("/"), f"#{position}")
            aliases[without_credentials(url).rstrip("/")] = alias
            if option.name == "--index-url":
                default, default_alias = url, alias
            else:
                extras.append(url)
        elif option.name == "--find-links":
            place = value if "://" in value else str(((base or Path()) / value).absolute())
            aliases[without_credentials(place).rstrip("/")] = f"#{position}"
            links.append(place)
        elif option.name == "--no-index":
            arguments.append(option.name)
        elif option.name in ("--no-binary", "--only-binary"):
            for name in re.split(r"[,\s]+", value):
                arguments += [option.name, name]
        elif option.name == "--pre":
            prerelease = "allow"
        elif option.name == "--require-hashes":
            require_hashes = True
        elif option.name == "--trusted-host":
            arguments += ["--allow-insecure-host", value]
            trusted.append(value)
            notes.append(f"--trusted-host {value}: its certificate is not checked")
        elif option.name in IGNORED:
            notes.append(f"{option.name} is ignored: {IGNORED[option.name]}")
    variables: dict[str, str] = {}
    if default is not None:
        variables["UV_DEFAULT_INDEX"] = with_credentials(default, credentials(without_credentials(default)) or _own(default))
        if default_alias != DEFAULT_ALIAS or DEFAULT_ALIAS in configured:
            variables["UV_INDEX"] = ""  # the definition or a setting named its index: uv's own configuration adds none
    if extras:
        variables["UV_INDEX"] = " ".join(
            with_credentials(url, credentials(without_credentials(url)) or _own(url)) for url in extras
        )
    by_alias: dict[str, str] = {}
    for url in (*extras, *([default] if default is not None else [])):
        alias = aliases[without_credentials(url).rstrip("/")]
        by_alias[alias] = with_credentials(url, credentials(without_credentials(url)) or _own(url))
    for place in links:
        arguments += ["--find-links", place]
    arguments += ["--prerelease", prerelease]
    logins = {_origin(url): login for url in (default, *extras) if url is not None and (login := _own(url)) is not None}
    return IndexPlan(tuple(arguments), variables, aliases, tuple(links), tuple(notes), require_hashes, default_alias, logins,
                     frozenset(trusted), by_alias)  # fmt: skip


def check_aliases(options: Sequence[str], configured: Mapping[str, str]) -> None:
    """Check that each alias among pip's options is one of the indexes that the settings know.

    Raises:   InvalidInput: code ``unknown_index``.
    """
    for position, text in enumerate(options):
        option = PipOption.parse(text)
        alias = option.value if option.name in ("--index-url", "--extra-index-url") else None
        if alias and not re.search(r"://|\$\{", alias) and alias not in configured:
            known = f"known ones: {', '.join(sorted(configured))}; " if configured else ""
            raise InvalidInput(f"python.pip_options[{position}]: no index is called `{alias[:80]}`", code="unknown_index",
                               hint=f"{known}`wardian config set indexes.{alias[:80]} URL` adds one")  # fmt: skip


def trusted_hosts(options: Sequence[str]) -> frozenset[str]:
    """Return the hosts (``HOST[:PORT]``) whose certificates a definition's pip options say not to check."""
    parsed = [PipOption.parse(text) for text in options if text.startswith("--trusted-host")]
    return frozenset(option.value for option in parsed if option.value)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _own(url: str) -> Credentials | None:
    from wardian.tools.http import split_credentials

    return split_credentials(url)[1]
