"""Installed Python distributions, read from their metadata: nothing of them is run, and nothing damaged stops the reading."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.project_name import PROJECT_NAME, canonical_name
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from wardian.formats.faults import Faults

_LIMIT_BYTES = 8 << 20  # of a METADATA file: a long description is 200 kB
_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]{0,120}")


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed distribution.

    Attributes:
        requested: it has the mark of what somebody asked for (``REQUESTED``).
        requires: what it needs, as it says.  extras: the extras that it offers.
        origin: the content of ``direct_url.json``; None: it came from an index.
        place: where its metadata is.
    """

    name: str
    version: str
    requested: bool
    requires: tuple[str, ...]
    extras: tuple[str, ...]
    origin: dict[str, Any] | None
    place: Path


def shown(path: Path | str) -> str:
    """Return a path as people can read it, whatever bytes it is made of."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def read_distributions(places: Iterable[Path], faults: Faults, *, owned: Collection[str] = ()) -> tuple[Distribution, ...]:
    """Return what is installed in the directories ``places``, by name. What comes first on the path is what is imported.

    Args:     faults: gets a warning for each thing that cannot be read.
              owned: metadata files, absolute, that belong to somebody else (conda) and are not looked at.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[int, int]] = set()
    for place in places:
        try:
            at = place.stat()
            names = sorted(os.listdir(place))  # noqa: PTH208 - names that are no text come as they are
        except OSError:
            continue
        if (at.st_dev, at.st_ino) in seen:  # lib64 is lib
            continue
        seen.add((at.st_dev, at.st_ino))
        for one in _in_directory(place, names, faults, owned):
            if one.name not in found:
                found[one.name] = one
            elif found[one.name].version != one.version:
                first = found[one.name]
                faults.warn(
                    "installed_twice",
                    f"{one.name} is there twice, as {first.version} and {one.version}: {first.version} is taken",
                )
    return tuple(found[name] for name in sorted(found))


def _in_directory(place: Path, names: list[str], faults: Faults, owned: Collection[str]) -> Iterator[Distribution]:
    for name in names:
        if name.startswith("~"):
            faults.warn("broken_metadata", f"{shown(name)} is what an interrupted pip has left: it is left out")
        elif name.endswith(".dist-info") and str(place / name / "METADATA") not in owned:
            yield from _read(place / name, "METADATA", faults)
        elif name.endswith(".egg-info") and str(place / name / "PKG-INFO") not in owned and str(place / name) not in owned:
            yield from _read(place / name, "PKG-INFO" if _is(Path.is_dir, place / name) else "", faults)
        elif name.endswith(".egg-link"):
            yield from _link(place / name, faults)
        elif name.endswith(".egg"):
            faults.warn("broken_metadata", f"{shown(name)} is an egg, a format of long ago: it is left out")


def _read(place: Path, file: str, faults: Faults) -> Iterator[Distribution]:
    try:
        text = read_small(place / file if file else place, _LIMIT_BYTES).decode("utf-8", "replace")
        headers = HeaderParser().parsestr(text, headersonly=True)
        name, version = str(headers["Name"] or "").strip(), str(headers["Version"] or "").strip()
        if not re.fullmatch(PROJECT_NAME, name) or not _VERSION.fullmatch(version):
            faults.warn("broken_metadata", f"{shown(place.name)} says neither name nor version: it is left out")
            return
        requires = tuple(str(value) for value in headers.get_all("Requires-Dist") or ())
        extras = tuple(str(value).strip() for value in headers.get_all("Provides-Extra") or ())
    except OSError as error:
        faults.warn("broken_metadata", f"{shown(place.name)} cannot be read ({error.strerror}): it is left out")
        return
    origin = _origin(place, faults)
    yield Distribution(canonical_name(name), version, _is(Path.is_file, place / "REQUESTED"), requires, extras, origin, place)


def _is(kind: Callable[[Path], bool], place: Path) -> bool:
    try:
        return kind(place)
    except OSError:  # in a directory that may not be searched
        return False


def _origin(place: Path, faults: Faults) -> dict[str, Any] | None:
    file = place / "direct_url.json"
    try:
        document = json.loads(read_small(file, 1 << 20))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        if not isinstance(error, NotADirectoryError):
            faults.warn(
                "broken_metadata", f"{shown(place.name)}: its direct_url.json cannot be read; an index may have the package"
            )
        return None
    return document if isinstance(document, dict) and isinstance(document.get("url"), str) else None


def _link(file: Path, faults: Faults) -> Iterator[Distribution]:
    """Yield what ``setup.py develop`` has linked: the tree is where the link says."""
    try:
        target = Path(os.fsdecode(read_small(file, 1 << 16).splitlines()[0].strip()))
        infos = [target / name for name in sorted(os.listdir(target)) if name.endswith(".egg-info")]  # noqa: PTH208
    except (OSError, ValueError, IndexError):
        faults.warn("broken_metadata", f"{shown(file.name)} leads nowhere: it is left out")
        return
    for info in infos[:1]:
        for one in _read(info, "PKG-INFO", faults):
            origin = {"url": target.as_uri(), "dir_info": {"editable": True}}
            yield Distribution(one.name, one.version, True, one.requires, one.extras, origin, info)
