"""A pinned ``environment.yml``: every package by version and build, for conda, mamba and everything else that reads one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.definition.match_spec import MatchSpec
from wardian.definition.platform import get_platform
from wardian.lock.conda_channels import channel_in
from wardian.lock.exports.places import headline, pinned_distributions, quoted
from wardian.lock.exports.requirements import index_options, requirement_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.definition.environment import Environment
    from wardian.lock.exports import Locate
    from wardian.lock.lock import Artifact, Lock

_PLAIN = re.compile(r"[A-Za-z_.][\w.+/:=<>@-]*")
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")


def write(environment: Environment, locks: Sequence[Lock], url_of: Locate) -> str:
    """Return the environment file for one platform. A uv environment becomes conda's python with a ``pip:`` section.

    Source:   conda's documentation of environment.yml
    """
    (lock,) = locks
    conda = lock.of_kind("conda")
    channels = (
        list(environment.python.channels) or sorted({a.source.removeprefix("channel:") for a in conda}) or ["conda-forge"]
    )
    lines = [f"# {headline(environment, locks)} ({get_platform(lock.platform).subdir})"]
    if environment.name:
        lines.append(f"name: {_scalar(environment.name)}")
    lines += ["channels:", *(f"  - {_scalar(channel)}" for channel in channels)]
    lines += ["dependencies:", *(f"  - {_scalar(_spec(environment, artifact, channels))}" for artifact in conda)]
    pip = [line for pinned in pinned_distributions(locks) for line in requirement_lines(environment, pinned, url_of, 1)]
    if not conda and lock.python:
        lines.append(f"  - {_scalar(f'python={lock.python.version}')}")
    if pip:
        if not any(artifact.name == "pip" for artifact in conda):
            lines.append("  - pip")
        joined = [re.sub(r"\s*\\\n\s*", " ", line) for line in pip]
        lines += ["  - pip:", *(f"      - {_scalar(line)}" for line in [*index_options(environment), *joined])]
    if environment.variables:
        lines += ["variables:", *(f"  {_scalar(key)}: {_scalar(value)}" for key, value in environment.variables.items())]
    return "\n".join(lines) + "\n"


def _spec(environment: Environment, artifact: Artifact, channels: list[str]) -> str:
    pinned = f"{artifact.name}={artifact.version}={artifact.build}"
    alias = artifact.source.removeprefix("channel:")
    if alias.startswith("#"):
        alias = _by_number(environment, int(alias[1:]))
        if alias.endswith((".conda", ".tar.bz2")):
            return alias  # the definition names this very file
    return pinned if channels == [alias] else f"{alias}::{pinned}"


def _by_number(environment: Environment, number: int) -> str:
    """Return the n-th channel as written: of ``channels``, then of the requirements that name a channel or a file's URL."""
    specs = [MatchSpec.parse(text) for text in environment.python.conda]
    named = [spec.url.partition("#")[0] if spec.url else channel_in(spec) for spec in specs]
    return [*environment.python.channels, *(text for text in named if text)][number]


def _scalar(text: str) -> str:
    """Return ``text`` as YAML: plain where every YAML reader takes that for a string, else in double quotes (a JSON string)."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not text.endswith(":"):
        return text
    return quoted(text)
