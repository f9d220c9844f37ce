"""A linked conda package as entries of a layer, and the facts of it that are needed when its files are not here."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from wardian.errors import InstallFailed
from wardian.image.elf import HEAD_BYTES, loader_of
from wardian.image.entry import ENVIRONMENT, Entry
from wardian.package.conda_worker import LINK_SCRIPT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from wardian.lock.lock import Artifact

_PEP_3147 = re.compile(r"(.*)__pycache__/([^/]+)\.(?:cpython|pypy|graalpy)\w*-?\d+(?:\.opt-\w+)?\.pyc")
_ACTIVATION = re.compile(r"etc/conda/(?:activate\.d/[^/]+\.sh|env_vars\.d/[^/]+\.json)")
_LONGEST_SCRIPT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What the environment layer must know of a package whose layer is made already. Kept as JSON beside that layer.

    Attributes:
        paths: its files as ``conda-meta`` lists them, with the paths that they have when nothing replaces them; sorted.
        executables: those of the paths that are executable.
        loaders: path of a program → the loader that it asks the kernel for.
        activation: path of each activation script, and of each file of variables, → its text.
    """

    paths: tuple[Mapping[str, Any], ...]
    executables: tuple[str, ...] = ()
    loaders: Mapping[str, str] | None = None
    activation: Mapping[str, str] | None = None

    @property
    def link_scripts(self) -> tuple[str, ...]:
        """The paths of its link scripts."""
        return tuple(entry["_path"] for entry in self.paths if LINK_SCRIPT.fullmatch(entry["_path"]))

    def as_document(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return {key: value for key, value in asdict(self).items() if value}

    @classmethod
    def from_document(cls, values: Mapping[str, Any]) -> PackageFacts:
        """Return the facts that ``as_document`` gave, before JSON or after."""
        executables = tuple(map(str, values.get("executables", ())))
        return cls(tuple(values.get("paths", ())), executables, values.get("loaders"), values.get("activation"))


@dataclass(frozen=True, slots=True)
class LinkedPackage:
    """A conda package as it is in an image: a pure function of the package, the image's prefix and the minor of Python.

    Attributes:
        entries: sorted by path; the content is read from the staging prefix, as long as that is there.
    """

    artifact: Artifact
    entries: tuple[Entry, ...]
    facts: PackageFacts


def read_linked(prefix: Path, artifact: Artifact) -> LinkedPackage:
    """Return ``artifact`` as it was linked into ``prefix``, whatever else was linked with it.

    A file that another package has replaced is taken from where the linker keeps it. Byte-code whose source is in the package
    is left out: it carries the source's time, which a layer does not keep.

    Raises:   InstallFailed: code ``install_failed``: the record names a file that is not there.
    """
    record = json.loads((prefix / "conda-meta" / f"{artifact.name}-{artifact.version}-{artifact.build}.json").read_bytes())
    places = {entry.get("original_path") or entry["_path"]: entry for entry in record["paths_data"]["paths"]}
    stale = _stale_byte_code(places)
    entries, listed, executables = [], [], []
    loaders: dict[str, str] = {}
    activation: dict[str, str] = {}
    for path, found in sorted(places.items(), key=lambda item: item[0].encode()):
        if path in stale:
            continue
        place = prefix / found["_path"]
        try:
            entry = _entry(path, place)
        except OSError as error:
            raise InstallFailed(f"{artifact.file} was linked without its `{path[:200]}`: {error.strerror}") from error
        entries.append(entry)
        listed.append({key: value for key, value in found.items() if key != "original_path"} | {"_path": path})
        if entry.executable:
            executables.append(path)
            if loader := _loader(place):
                loaders[path] = loader
        if entry.kind == "file" and _ACTIVATION.fullmatch(path) and entry.size_bytes <= _LONGEST_SCRIPT_BYTES:
            activation[path] = place.read_text("utf-8", "replace")
    return LinkedPackage(artifact, tuple(entries), PackageFacts(tuple(listed), tuple(executables), loaders, activation))


def _entry(path: str, place: Path) -> Entry:
    status = place.lstat()
    name = f"{ENVIRONMENT}/{path}"
    if place.is_symlink():
        return Entry(name, "link", target=os.readlink(place))  # noqa: PTH115 - as it is written, not normalised
    if place.is_dir():
        return Entry(name, "directory")
    return Entry.of_file(name, place, size_bytes=status.st_size, executable=bool(status.st_mode & 0o100))


def _stale_byte_code(paths: Iterable[str]) -> set[str]:
    """Return those of ``paths`` that are byte-code of another one of them."""
    known = set(paths)
    found = set()
    for path in known:
        if not path.endswith(".pyc"):
            continue
        modern = _PEP_3147.fullmatch(path)
        source = f"{modern.group(1)}{modern.group(2)}.py" if modern else path.removesuffix("c")
        if source in known:
            found.add(path)
    return found


def _loader(place: Path) -> str:
    with place.open("rb") as stream:
        return loader_of(stream.read(HEAD_BYTES))


def missing_loaders(packages: Iterable[tuple[Artifact, PackageFacts]]) -> dict[str, tuple[str, str]]:
    """Return every loader that programs of ``packages`` need and none of them brings, with a package and a program that needs it.

    An image made of nothing but these packages (``scratch``) can start none of those programs.
    """
    listed = list(packages)
    there = {f"/{ENVIRONMENT}/{entry['_path']}" for _, facts in listed for entry in facts.paths}
    found: dict[str, tuple[str, str]] = {}
    for artifact, facts in listed:
        for program, loader in sorted((facts.loaders or {}).items()):
            if str(PurePosixPath(loader)) not in there:
                found.setdefault(loader, (artifact.name, program))
    return found
