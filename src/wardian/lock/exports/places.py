"""What every export needs to know of an artifact: where it is, what it is called, and on which platforms it is wanted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.definition.platform import get_platform
from wardian.definition.requirement import PipRequirement
from wardian.tools.http import without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.lock.exports import Locate
    from wardian.lock.lock import Artifact, Lock

BESIDE = "packages"  # directory beside an export, for what has no URL
_AWKWARD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")  # plain in JSON; escaped in TOML, line breaks or refused in YAML
_SYSTEMS = {"linux": "linux", "darwin": "darwin", "windows": "win32"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the archive that is installed can be had: exactly one of ``url`` and ``path`` (relative, POSIX)."""

    file: str
    sha256: Digest
    size_bytes: int | None
    url: str | None
    path: str | None

    @property
    def reference(self) -> str:
        """The URL, or the path as ``./…``."""
        return self.url if self.url is not None else f"./{self.path}"


def place_of(environment: Environment, lock: Lock, artifact: Artifact, url_of: Locate, *, variables: bool = False) -> Place:
    """Return where ``artifact`` is. What was built from source is the wheel that was built: exactly that is installed.

    A definition's own URL is taken as written, with its ``${VARIABLES}``, whose values may be secrets.

    Args:     variables: whether the format knows ``${VARIABLES}``; if not, such a URL counts as none.
    """
    file, sha256 = artifact.installed_file, artifact.installed_sha256
    size = artifact.built.size if artifact.built else artifact.size_bytes
    url: str | None = None
    if not artifact.is_in_no_index:
        url = _own_url(environment, artifact) or url_of(lock, artifact)
    if url is not None and (variables or "${" not in url):
        plain = without_credentials(url).replace("/t/<token>/", "/", 1)  # each tool puts its own token in
        return Place(file, sha256, size, plain, None)
    inside = f"{artifact.subdir}/{file}" if artifact.kind == "conda" else file
    return Place(file, sha256, size, None, f"{BESIDE}/{inside}")


def channel_rank(environment: Environment, artifact: Artifact) -> int:
    """Return the place of a conda package's channel among the definition's; their number for one that is not among them."""
    alias, channels = artifact.source.removeprefix("channel:"), environment.python.channels
    if alias.startswith("#"):
        return int(alias[1:])
    return channels.index(alias) if alias in channels else len(channels)


def stands_in_index(artifact: Artifact) -> bool:
    """Whether name and version are enough to find the artifact: it comes from an index, as a wheel or as an sdist."""
    return artifact.source.startswith("index:")


def _own_url(environment: Environment, artifact: Artifact) -> str | None:
    scheme, _, position = artifact.source.partition(":")
    if scheme != "definition":
        return None
    requirement = PipRequirement.parse(environment.python.pip[int(position)])
    return requirement.url.partition("#")[0] if requirement.url else None


@dataclass(frozen=True, slots=True)
class Pinned:
    """One version of one distribution, for the platforms that ``marker`` says (empty: all of them)."""

    name: str
    version: str
    marker: str
    found: tuple[tuple[Lock, Artifact], ...]

    @property
    def depends(self) -> tuple[str, ...]:
        """Names of the distributions that it needs on any of its platforms."""
        return tuple(sorted({name for _, artifact in self.found for name in artifact.depends}))


def pinned_distributions(locks: Sequence[Lock]) -> list[Pinned]:
    """Return the Python distributions of all locks, one entry per name and version, by name."""
    grouped: dict[tuple[str, str], list[tuple[Lock, Artifact]]] = {}
    for lock in locks:
        for artifact in lock.of_kind("wheel", "sdist"):
            grouped.setdefault((artifact.name, artifact.version), []).append((lock, artifact))
    return [
        Pinned(name, version, combined_marker(found, everywhere=len(found) == len(locks)), tuple(found))
        for (name, version), found in sorted(grouped.items())
    ]


def combined_marker(found: Iterable[tuple[Lock, Artifact]], *, everywhere: bool) -> str:
    """Return the marker under which the artifacts are wanted: their own, and their platforms' where they are not ``everywhere``."""
    pairs = tuple(found)
    own = {artifact.markers for _, artifact in pairs}
    if everywhere and len(own) == 1:
        return own.pop()
    parts = []
    for lock, artifact in pairs:
        parts.append(platform_marker(lock.platform) + (f" and ({artifact.markers})" if artifact.markers else ""))
    return parts[0] if len(parts) == 1 else " or ".join(f"({part})" for part in parts)


def platform_marker(name: str) -> str:
    """Return the PEP 508 marker of the platform ``name``."""
    platform = get_platform(name)
    system = _SYSTEMS[platform.name.partition("/")[0]]
    return f"sys_platform == '{system}' and platform_machine == '{platform.machine}'"


def quoted(text: str) -> str:
    """Return ``text`` in double quotes, as JSON, TOML and YAML all read it."""
    return _AWKWARD.sub(lambda m: f"\\u{ord(m.group()):04x}", json.dumps(text, ensure_ascii=False))


def python_minor(lock: Lock) -> str:
    """Return the interpreter's minor version (``3.12``), or ``""`` for a lock without one."""
    return ".".join(lock.python.version.split(".")[:2]) if lock.python else ""


def headline(environment: Environment, locks: Sequence[Lock]) -> str:
    """Return the line that says what a file was made from."""
    named = f"{environment.name}: " if environment.name else ""
    return f"{named}" + ", ".join(f"lock {lock.digest.short} for {lock.platform}" for lock in locks)
