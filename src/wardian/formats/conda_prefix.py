"""An installed conda environment as a definition: what was asked for, or exactly what is there."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.match_spec import MatchSpec
from wardian.definition.well_known import channel_identity
from wardian.errors import InvalidDefinition, InvalidInput, NotFound, wrong_in
from wardian.formats.distributions import read_distributions, shown
from wardian.formats.faults import Faults
from wardian.formats.installed import as_read
from wardian.formats.origin import Origins
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from wardian.formats.distributions import Distribution
    from wardian.formats.read_definition import ReadDefinition

_KNOWN = ".conda/environments.txt"  # below the user's home: conda's own list of its environments


def read_prefix(prefix: str | PathLike[str], *, exact: bool = False, home: Path | None = None) -> Environment:
    """Return the definition of the conda environment at ``prefix``; see ``read_conda``.

    Raises:   as ``read_conda``; InvalidInput: code ``bad_conda_prefix``: its records are damaged.
    """
    read = read_conda(prefix, exact=exact, home=home)
    damaged = next((fault for fault in read.warnings if fault.code == "bad_conda_prefix"), None)
    if damaged is not None:
        raise InvalidInput(damaged.message, code="bad_conda_prefix")
    return read.environment


def read_conda(prefix: str | PathLike[str], *, exact: bool = False, home: Path | None = None) -> ReadDefinition:
    """Return the definition of the conda environment at ``prefix``; what cannot be had is left out, a loss, what cannot be read a warning.

    Not exact: the specs that were asked for (``conda-meta/history``, else the records); what pip installed is listed with its
    version. Exact: every conda package with version and build. Channels are those that the packages came from, the most used first.

    Args:     prefix: a directory, or the name of an environment that conda's own list knows.  home: where that list is.
    Raises:   NotFound: there is no such environment.
    """
    root = _find(prefix, home or Path.home())
    faults = Faults(shown(root))
    records = list(_records(root / "conda-meta", faults))
    if not records and not faults.warnings:
        raise NotFound(f"{shown(root)} is no conda environment: it has no conda-meta", code="no_conda_prefix")
    conda = [] if exact else _asked_for(root / "conda-meta" / "history", {r["name"]: r for r in records}, faults)
    if not conda:
        if not exact:
            faults.warn("nothing_marked", "conda's history says of no package that it was asked for: all are taken")
        conda = [_pinned(record, exact=exact) for record in records]
    channels, unserved = _channels(records, faults)
    conda = [spec for spec in conda if MatchSpec.parse(spec).name not in unserved]
    _note_left_out(conda, [record for record in records if record["name"] not in unserved], faults)
    origins = Origins(faults)
    pip = [text for one in _from_pip(root, records, faults) if (text := origins.requirement(one)) is not None]
    section = PythonSection(channels=channels, conda=tuple(conda), pip=tuple(pip), local=tuple(origins.local))
    return as_read(Environment(python=section), origins, faults)


def _pinned(record: dict[str, Any], *, exact: bool) -> str:
    return f"{record['name']}={record['version']}" + (f"={record['build']}" if exact else "")


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
            f"there is no environment `{shown(path)}`",
            hint=f"give its directory; conda's list has: {names}",
            code="no_conda_prefix",
        )
    return found


def _records(place: Path, faults: Faults) -> Iterator[dict[str, Any]]:
    for name in sorted(os.listdir(place)):  # noqa: PTH208 - names that are no text come as they are
        if not name.endswith(".json"):
            continue
        try:
            document = json.loads(read_small(place / name))
            record = {key: document.get(key, "") for key in ("name", "version", "build", "requested_spec")}
            record["channel"] = document.get("channel")
            files, needs = document.get("files", []), document.get("depends", [])
            record["name"] = record["name"].lower()
            MatchSpec.parse(_pinned(record, exact=True))
            record["files"] = [file for file in files if isinstance(file, str)]
            record["needs"] = {found.group().lower() for one in needs if (found := re.match(r"[\w.-]+", str(one)))}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidInput) as error:
            said = getattr(error, "strerror", None) or getattr(error, "message", None) or wrong_in(error)
            faults.warn("bad_conda_prefix", f"{shown(place / name)} is not a package's record: {said}")
        else:
            yield record


def _channels(records: list[dict[str, Any]], faults: Faults) -> tuple[tuple[str, ...], set[str]]:
    """Return the channels, the most used first, and the names of what came from none of them."""
    counts: dict[str, int] = {}
    unserved: set[str] = set()
    for record in records:
        if record["channel"] is None:  # in an image, of a channel without an alias: it has one, and only its name is not there
            faults.warn(
                "channel_unknown",
                f"{record['name']} {record['version']} is from a channel that its record does not name",
                hint="name the channel in the definition: `channels: [URL]`",
            )
            continue
        url = str(record["channel"]).removeprefix("channel:")  # so Wardian's own environments name theirs
        name = channel_identity(re.sub(r"/(noarch|linux-\w+|osx-\w+|win-\w+)/?$", "", url))
        if name.startswith("file:") or name in ("<unknown>", "local") or not _is_channel(name):
            faults.warn(
                "not_on_a_channel",
                f"{record['name']} {record['version']} is left out: no channel serves it, as it was built or installed on a machine",
                hint="publish it to a channel, or name one that has it",
            )
            unserved.add(record["name"])
        else:
            counts[name] = counts.get(name, 0) + 1
    return tuple(sorted(counts, key=lambda name: (-counts[name], name))), unserved


def _is_channel(name: str) -> bool:
    try:
        return bool(Environment(python=PythonSection(channels=(name,))))
    except InvalidDefinition:
        return False


def _asked_for(history: Path, installed: dict[str, dict[str, Any]], faults: Faults) -> list[str]:
    """Return the specs of conda's history that still hold: the last one per name, of what is installed."""
    found: dict[str, str] = {}
    try:
        lines = read_small(history).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        faults.warn("bad_conda_prefix", f"conda's history cannot be read: {error.strerror}")
        lines = []
    for line in lines:
        match = re.match(r"# (update|install|create|remove|uninstall) specs: (.*)", line)
        for _, spec in re.findall(r"""(['"])((?:\\.|(?!\1).)+)\1""", match.group(2)) if match else ():
            try:
                parsed = MatchSpec.parse(re.sub(r"\\(.)", r"\1", spec))
            except InvalidInput:
                faults.warn("unknown_spec", f"`{shown(spec)}` in conda's history is no match spec: it is left out")
                continue
            found.pop(parsed.name, None)
            if match and match.group(1) not in ("remove", "uninstall") and parsed.name in installed:
                found[parsed.name] = str(parsed)
    if found:
        return list(found.values())
    return [str(one["requested_spec"]) for one in installed.values() if _is_spec(one["requested_spec"])]


def _note_left_out(conda: list[str], records: list[dict[str, Any]], faults: Faults) -> None:
    """Warn of each package that nobody asked for and nothing of what was asked for needs: the definition does not bring it."""
    needs = {record["name"]: record["needs"] for record in records}
    todo = [MatchSpec.parse(spec).name for spec in conda]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen and name in needs:
            seen.add(name)
            todo += needs[name]
    for record in records:
        if record["name"] not in seen:
            faults.warn("left_out", f"{record['name']} {record['version']} is left out: nobody asked for it, and nothing needs it",
                        hint="`--exact` takes everything")  # fmt: skip


def _is_spec(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(MatchSpec.parse(text).name)
    except InvalidInput:
        return False


def _from_pip(root: Path, records: list[dict[str, Any]], faults: Faults) -> tuple[Distribution, ...]:
    owned = {str(root / file) for record in records for file in record["files"]}
    return read_distributions(sorted(root.glob("lib/python*/site-packages")), faults, owned=owned)
