"""Which conda channels a definition speaks of: aliases, URLs, credentials, tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from wardian.definition.match_spec import MatchSpec
from wardian.definition.platform import PLATFORMS
from wardian.definition.well_known import DEFAULTS, NAMED
from wardian.errors import InvalidInput, NotFound
from wardian.lock.indexes import expand
from wardian.tools.http import Credentials, split_credentials, with_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wardian.definition.environment import PythonSection

SUBDIRS = frozenset({"noarch", *(platform.subdir for platform in PLATFORMS.values())})

_TOKEN = re.compile(r"^/t/([^/]+)(?=/|$)")


@dataclass(frozen=True, slots=True)
class CondaChannel:
    """A channel as a definition names it.

    Attributes:
        alias: what artifacts say after ``channel:``: a configured or well-known name, or ``#<n>`` for a URL: the n-th of
            ``python.channels``, counted on through the conda requirements that name a channel or a file's URL.
        url: without credentials and token, without ``/`` at its end.
        read_url: the same, or the mirror that serves it.
        credentials, token: what the definition's URL held, once each ``${VARIABLE}`` was put in.
    """

    alias: str
    url: str
    read_url: str
    credentials: Credentials | None = None
    token: str = field(default="", repr=False)

    @property
    def is_mirrored(self) -> bool:
        """Whether a mirror serves it: the definition's credentials are not for that one."""
        return self.url != self.read_url

    @property
    def download_url(self) -> str:
        """The URL with token or credentials in it, mirrors left to the one who downloads. Never to be shown or stored."""
        if self.is_mirrored:
            return self.url
        if self.token:
            parts = urlsplit(self.url)
            return urlunsplit(parts._replace(path=f"/t/{quote(self.token, safe='')}{parts.path}"))
        return with_credentials(self.url, self.credentials)


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """The channels of one definition.

    Attributes:
        searched: highest priority first, each URL once.
        of_requirement: the channel of each conda requirement that names one, by its place in ``python.conda``.
    """

    searched: tuple[CondaChannel, ...]
    of_requirement: Mapping[int, CondaChannel]

    def get(self, alias: str) -> CondaChannel:
        """Return the channel with this alias.

        Raises:   NotFound: the definition has none; code ``channel_not_found``.
        """
        for channel in (*self.searched, *self.of_requirement.values()):
            if channel.alias == alias:
                return channel
        raise NotFound(f"the definition has no channel `{alias}`", code="channel_not_found",
                       hint="the lock belongs to another definition, or a channel was taken out of the settings")  # fmt: skip

    def owner(self, url: str) -> CondaChannel:
        """Return the channel that a package's URL, as it was read, belongs to.

        Raises:   NotFound: none.
        """
        for channel in (*self.searched, *self.of_requirement.values()):
            if url.startswith(channel.read_url + "/"):
                return channel
        raise NotFound("a package comes from a channel that the definition does not name", code="channel_not_found")


def plan_channels(
    python: PythonSection, *, configured: Mapping[str, str], mirrors: Mapping[str, str], environ: Mapping[str, str]
) -> ChannelPlan:
    """Return the channels of a definition.

    No channel is ever added to those that are named, so ``nodefaults`` says nothing new; none named means ``defaults``:
    the configured channel of that name, else pkgs/main and pkgs/r.

    Args:     configured: URLs by alias (settings).  mirrors: URL prefix → prefix that serves the same files.
              environ: where ``${NAME}`` in URLs comes from.
    Raises:   InvalidInput: an unset variable; a path in place of a URL; a package's URL that no channel can have.
    """
    resolver = _Resolver(configured, mirrors, environ)
    found: list[CondaChannel] = []
    for i, text in enumerate(python.channels):
        found += [] if text == "nodefaults" else resolver.resolve(text, i, f"python.channels[{i}]")
    if not found:
        found += resolver.resolve("defaults", 0, "python.channels")
    number = len(python.channels)
    of_requirement = {}
    for i, spec in enumerate(map(MatchSpec.parse, python.conda)):
        place = f"python.conda[{i}]"
        if spec.url is not None:
            of_requirement[i] = resolver.by_url(_channel_of_file(spec.url, place), f"#{number}", place)
        elif name := channel_in(spec):
            of_requirement[i] = next(iter(resolver.resolve(name, number, place)))
            found.append(of_requirement[i])
        else:
            continue
        number += 1
    by_url = {channel.url: channel for channel in reversed(found)}
    searched = tuple(dict.fromkeys(by_url[channel.url] for channel in found))
    return ChannelPlan(searched, {i: by_url.get(channel.url, channel) for i, channel in of_requirement.items()})


def channel_in(spec: MatchSpec) -> str:
    """Return the channel that a match spec names, without a subdirectory; empty if it names none."""
    text = (spec.channel or spec.bracket("channel") or "").rstrip("/")
    head, _, last = text.rpartition("/")
    return head if head and last in SUBDIRS else text


def searchable(text: str, channel: CondaChannel | None) -> str:
    """Return the conda requirement ``text`` as the solver has to see it: its channel or file by the URL where that is read."""
    spec = MatchSpec.parse(text)
    if channel is None:
        return text
    if spec.url is not None:
        subdir, file = spec.url.partition("#")[0].rsplit("/", 2)[1:]
        return f"{spec.name}[url='{channel.read_url}/{subdir}/{file}']"
    written = (spec.channel or spec.bracket("channel") or "").rstrip("/")
    subdir = written.rpartition("/")[2] if written != channel_in(spec) else ""
    pairs = [(key, value) for key, value in spec.brackets if key != "channel"]
    pairs.append(("channel", f"'{channel.read_url}'"))
    if subdir and spec.bracket("subdir") is None:
        pairs.append(("subdir", f"'{subdir}'"))
    return str(replace(spec, channel=None, brackets=tuple(pairs)))


def _channel_of_file(url: str, place: str) -> str:
    channel, subdir, _file = url.partition("#")[0].rsplit("/", 2)
    if subdir not in SUBDIRS:
        raise InvalidInput(f"{place}: the URL of a package ends in `/<platform>/<file>`, as in a channel; here `{subdir}` is no platform",
                           hint="put the file in a channel's `noarch` or platform directory", code="bad_channel")  # fmt: skip
    return channel


@dataclass(frozen=True, slots=True)
class _Resolver:
    configured: Mapping[str, str]
    mirrors: Mapping[str, str]
    environ: Mapping[str, str]

    def resolve(self, text: str, number: int, place: str) -> Iterator[CondaChannel]:
        """Yield what a channel's name or URL stands for."""
        if "://" in text:
            yield self.by_url(text, f"#{number}", place)
        elif text.startswith("/"):
            yield self.by_url(f"file://{quote(text)}", f"#{number}", place)
        elif text.startswith(("./", "../", "~")):
            raise InvalidInput(f"{place}: `{text}` is a path: nobody else has it", code="bad_channel",
                               hint="write a channel's name or URL (`file:///…` for a directory of this machine)")  # fmt: skip
        elif text in self.configured:
            yield self._by_name(text, self.configured[text])
        elif text == "defaults":
            for name in DEFAULTS:
                yield from self.resolve(name, number, place)
        else:
            head, slash, rest = text.partition("/")
            base = self.configured[head] + slash + rest if head in self.configured else DEFAULTS.get(text, NAMED + text)
            yield self._by_name(text, base)

    def by_url(self, text: str, alias: str, place: str) -> CondaChannel:
        """Return the channel at a URL; a configured or well-known one goes by its name."""
        url, token, credentials = _split(expand(text, self.environ, place))
        known = {_split(base)[0]: name for name, base in (*DEFAULTS.items(), *self.configured.items())}
        if url in known:
            alias = known[url]
        elif url.startswith(NAMED):
            alias = url.removeprefix(NAMED)
        return CondaChannel(alias, url, self._mirrored(url), credentials, token)

    def _by_name(self, alias: str, text: str) -> CondaChannel:
        url, token, credentials = _split(expand(text, self.environ, f"the setting channels.{alias}"))
        return CondaChannel(alias, url, self._mirrored(url), credentials, token)

    def _mirrored(self, url: str) -> str:
        for prefix in sorted(self.mirrors, key=len, reverse=True):
            bare = prefix.rstrip("/")
            if url == bare or url.startswith(bare + "/"):
                return self.mirrors[prefix].rstrip("/") + url[len(bare) :]
        return url


def _split(url: str) -> tuple[str, str, Credentials | None]:
    """Return a URL without its secrets; its conda token; its user and password."""
    bare, credentials = split_credentials(url.rstrip("/"))
    parts = urlsplit(bare)
    match = _TOKEN.match(parts.path)
    if match is None:
        return bare, "", credentials
    return urlunsplit(parts._replace(path=parts.path[match.end() :])), match.group(1), credentials
