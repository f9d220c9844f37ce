"""Channels, indexes and repositories that everybody calls by the same name, and how channels and indexes are spelled where only their identity counts."""

from __future__ import annotations

import re

NAMED = "https://conda.anaconda.org/"  # where channels are that are given by name alone, as conda and rattler have it
DEFAULTS = {"pkgs/main": "https://repo.anaconda.com/pkgs/main", "pkgs/r": "https://repo.anaconda.com/pkgs/r"}

DEFAULT_INDEX = "pypi"  # uv's default index, or what the setting `indexes.pypi` puts in its place
_DEFAULT_INDEX_URL = f"https://{DEFAULT_INDEX}.org/simple"  # where uv looks for it if nothing is configured

DEFAULT_REPOSITORY = "central"
MAVEN_REPOSITORIES = {
    DEFAULT_REPOSITORY: "https://repo1.maven.org/maven2",  # asked after those that a definition names
    "spark-packages": "https://repos.spark-packages.org",
}

_LOGIN = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@")
_TOKEN = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)/t/[^/?#]+(?=/|$)")
_DEFAULTS = "https://repo.anaconda.com/"


def channel_identity(text: str) -> str:
    """Return what a channel is called in an identity: its well-known name, else its URL without credentials and token.

    Settings are not asked: the same definition has the same hash on every machine.
    """
    bare = _TOKEN.sub(r"\1", without_login(text)).rstrip("/")
    if bare.startswith(NAMED) and bare != NAMED:
        return bare.removeprefix(NAMED)
    name = bare.removeprefix(_DEFAULTS)
    known = any(name == one or name.startswith(f"{one}/") for one in DEFAULTS)
    return name if known else bare


def without_login(url: str) -> str:
    """Return a URL without user and password; a name as it is."""
    return _LOGIN.sub(r"\1", url)


def is_default_index(url: str) -> bool:
    """Whether ``url`` is the one that uv's default index has if nothing is configured: lock files name it so."""
    return url.rstrip("/") == _DEFAULT_INDEX_URL
