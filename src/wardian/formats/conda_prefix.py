"""An installed conda environment as a definition: what was asked for, or exactly what is there."""

from __future__ import annotations

import json
import re
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.match_spec import MatchSpec
from wardian.definition.project_name import canonical_name
from wardian.errors import InvalidInput, NotFound
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

_KNOWN = ".conda/environments.txt"  # below the user's home: conda's own list of its environments


def read_prefix(prefix: str | PathLike[str], *, exact: bool = False, home: Path | None = None) -> Environment:
    """Return the definition of the conda environment at ``prefix``.

    Not exact: the specs that were asked for (``conda-meta/history``); what pip installed is listed with its version.
    Exact: every conda package with version and build. Channels are those that the packages came from, the most used first.

    Args:     prefix: a directory, or the name of an environment that conda's own list knows.  home: where that list is.
    Raises:   NotFound: there is no such environment.  InvalidInput: code ``bad_conda_prefix``: its records are damaged.
    """
    root = _find(prefix, home or Path.home())
    records = [_record(path) for path in sorted((root / "conda-meta").glob("*.json"))]
    if not records:
        raise NotFound(f"{root} is no conda environment: it has no conda-meta", code="no_conda_prefix")
    asked = [] if exact else _asked_for(root / "conda-meta" / "history", {r["name"] for r in records})
    if asked:
        conda = tuple(asked)
    else:
        conda = tuple(f"{r['name']}={r['version']}={r['build']}" if exact else f"{r['name']}={r['version']}" for r in records)
    return Environment(python=PythonSection(channels=_channels(records), conda=conda, pip=tuple(_from_pip(root, records))))


def _find(prefix: str | PathLike[str], home: Path) -> Path:
    path = Path(prefix).expanduser()
    if (path / "conda-meta").is_dir():
        return path.absolute()
    listed = home / _KNOWN
    known = (
        [Path(line) for line in read_small(listed).decode("utf-8", "replace").splitlines() if line.strip()]
        if listed.is_file()
        else []
    )
    found = next((one for one in known if one.name == str(prefix) and (one / "conda-meta").is_dir()), None)
    if found is None:
        names = ", ".join(sorted(one.name for one in known)) or "none"
        raise NotFound(
            f"there is no conda environment `{prefix}`",
            hint=f"give its directory; conda's list has: {names}",
            code="no_conda_prefix",
        )
    return found


def _record(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_small(path))
        return {"name": document["name"].lower(), "version": document["version"], "build": document["build"],
                "channel": document.get("channel", ""), "files": document.get("files", [])}  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path} is not a package's record: {error}", code="bad_conda_prefix") from error


def _channels(records: list[dict[str, Any]]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for record in records:
        name = re.sub(r"/(noarch|linux-\w+|osx-\w+|win-\w+)/?$", "", str(record["channel"]))
        if "://" in name and "/t/" not in name and "@" not in name and not name.startswith("file:"):
            host, _, last = name.rpartition("/")
            name = last if host.endswith("conda.anaconda.org") else name
        if name and not name.startswith("file:"):
            counts[name] = counts.get(name, 0) + 1
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


def _asked_for(history: Path, installed: set[str]) -> list[str]:
    """Return the specs of conda's history that still hold: the last one per name, of what is installed."""
    if not history.is_file():
        return []
    found: dict[str, str] = {}
    for line in read_small(history).decode("utf-8", "replace").splitlines():
        match = re.match(r"# (update|install|create|remove|uninstall) specs: (.*)", line)
        if match is None:
            continue
        for spec in re.findall(r"['\"]([^'\"]+)['\"]", match.group(2)):
            try:
                parsed = MatchSpec.parse(spec)
            except InvalidInput:
                continue
            found.pop(parsed.name, None)
            if match.group(1) not in ("remove", "uninstall") and parsed.name in installed:
                found[parsed.name] = str(parsed)
    return list(found.values())


def _from_pip(root: Path, records: list[dict[str, Any]]) -> Iterator[str]:
    owned = {file for record in records for file in record["files"]}
    for metadata in sorted(root.glob("lib/python*/site-packages/*.dist-info/METADATA")):
        if str(metadata.relative_to(root)) in owned:
            continue
        headers = HeaderParser().parsestr(metadata.read_text(errors="replace"), headersonly=True)
        if headers["Name"] and headers["Version"]:
            yield f"{canonical_name(headers['Name'])}=={headers['Version']}"
