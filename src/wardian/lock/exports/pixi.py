"""``pixi.lock`` version 6: all platforms in one file, for pixi and whatever else is built on rattler."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from wardian.definition.pip_option import PipOption
from wardian.definition.platform import get_platform
from wardian.errors import InvalidInput
from wardian.formats.pixi_lock_text import derived_build_number
from wardian.lock.exports.places import channel_rank, place_of, quoted
from wardian.tools.http import without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardian.definition.environment import Environment
    from wardian.lock.exports import Locate
    from wardian.lock.exports.places import Place
    from wardian.lock.lock import Artifact, Lock


def write(environment: Environment, locks: Sequence[Lock], url_of: Locate) -> str:
    """Return the lock file, with one environment called ``default``.

    Raises:   InvalidInput: code ``export_needs_url``: a conda package has no URL.
    Source:   rattler_lock, file format version 6
    """
    channels: dict[str, int] = {}
    packages: dict[str, list[str]] = {}
    platforms: list[str] = []
    for lock in sorted(locks, key=lambda each: get_platform(each.platform).subdir):
        platforms.append(f"      {get_platform(lock.platform).subdir}:")
        for artifact in lock.of_kind("conda", "wheel", "sdist"):
            place = place_of(environment, lock, artifact, url_of)
            kind = "conda" if artifact.kind == "conda" else "pypi"
            if kind == "conda":
                if place.url is None:
                    raise InvalidInput(f"{artifact.file} is on no channel now, and a pixi.lock names conda packages by URL alone",
                                       code="export_needs_url", hint="use `explicit`, which can name files")  # fmt: skip
                channels[_channel(place, artifact)] = channel_rank(environment, artifact)
            platforms.append(f"      - {kind}: {quoted(place.reference)}")
            packages[place.reference] = [f"- {kind}: {quoted(place.reference)}", *_lines(_fields(place, artifact))]
    head = [
        "version: 6",
        "environments:",
        "  default:",
        "    channels:",
        *(f"    - url: {quoted(url)}" for url in sorted(channels, key=lambda url: (channels[url], url))),
    ]
    if indexes := _indexes(environment):
        head += ["    indexes:", *(f"    - {quoted(url)}" for url in indexes)]
    body = [line for reference in sorted(packages) for line in packages[reference]]
    return "\n".join([*head, "    packages:", *platforms, "packages:", *body]) + "\n"


def _indexes(environment: Environment) -> list[str]:
    """Return the URLs of the indexes that the definition names."""
    options = [PipOption.parse(text) for text in environment.python.pip_options]
    named = [one.value or "" for one in options if one.name in ("--index-url", "--extra-index-url")]
    return [without_credentials(url) for url in named if "://" in url and "${" not in url]


def _channel(place: Place, artifact: Artifact) -> str:
    return place.reference.removesuffix(f"{artifact.subdir}/{place.file}")


def _fields(place: Place, artifact: Artifact) -> dict[str, Any]:
    if artifact.kind != "conda":
        return {
            "name": artifact.name, "version": artifact.version, "sha256": str(place.sha256),
            "requires_dist": list(artifact.depends), "requires_python": artifact.requires_python,
        }  # fmt: skip
    return {
        "build_number": artifact.build_number if artifact.build_number != derived_build_number(artifact.build) else None,
        "subdir": artifact.subdir, "noarch": artifact.noarch, "sha256": str(place.sha256),
        "depends": list(artifact.depends), "constrains": list(artifact.constrains),
        "python_site_packages_path": artifact.site_packages_path, "license": artifact.license, "size": place.size_bytes,
        "timestamp": _milliseconds(artifact.timestamp) if artifact.timestamp else None,
    }  # fmt: skip


def _lines(fields: dict[str, Any]) -> Iterator[str]:
    for key, value in fields.items():
        if isinstance(value, list) and value:
            yield f"  {key}:"
            yield from (f"  - {quoted(item)}" for item in value)
        elif isinstance(value, int):
            yield f"  {key}: {value}"
        elif value:
            yield f"  {key}: {quoted(value)}"


def _milliseconds(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)
