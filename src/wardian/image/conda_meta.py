"""What only the whole conda environment decides: its records in ``conda-meta``, and who owns a path that several packages have."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wardian.digest import canonical_json
from wardian.errors import Bug
from wardian.image.entry import ENVIRONMENT, Entry
from wardian.lock.conda_record import to_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wardian.digest import Digest
    from wardian.image.conda_entries import LinkedPackage, PackageFacts
    from wardian.lock.lock import Artifact

META = f"{ENVIRONMENT}/conda-meta"
_MS = 1000


def owners(packages: Sequence[tuple[Artifact, PackageFacts]]) -> dict[str, Artifact]:
    """Return, for every path that more than one package has, the one whose file is seen: the later in topological order.

    Directories belong to nobody. As in a prefix: the order is the linker's own.
    """
    several = _several(packages)
    if not several:
        return {}
    from wardian.tools.rattler import topological_order

    rank = {name: n for n, name in enumerate(topological_order([to_record(artifact, "file:///") for artifact, _ in packages]))}
    return {path: max((packages[n][0] for n in found), key=lambda a: rank[a.name]) for path, found in several.items()}


def restored(packages: Sequence[tuple[Artifact, PackageFacts]]) -> dict[Digest, tuple[str, ...]]:
    """Return the packages, by digest, of whose files the environment layer has a copy, and those files' paths in the prefix.

    Layers lie in another order than the linker's, so a file of a package that should not be seen may cover one that should.
    Where all owners have the same content, there is nothing to restore.
    """
    several = _several(packages)
    found: dict[Digest, list[str]] = {}
    for path, owner in owners(packages).items():
        if len({_content(packages[n][1], path) for n in several[path]}) > 1:
            found.setdefault(owner.sha256, []).append(path)
    return {digest: tuple(sorted(paths)) for digest, paths in sorted(found.items())}


def environment_entries(
    packages: Sequence[tuple[Artifact, PackageFacts]], linked: Mapping[Digest, LinkedPackage]
) -> tuple[Entry, ...]:
    """Return what the environment layer holds for conda: ``conda-meta``, and the files that ``restored`` names. Sorted by path.

    Deterministic: records say nothing of where packages came from on the network, where they were linked, or what was asked
    for. A path with several owners is listed by the one whose file is seen.

    Args:     packages: all of the environment's, in any order; none: nothing is returned.
              linked: at least the packages that ``restored`` names.
    """
    if not packages:
        return ()
    seen = owners(packages)
    entries = [Entry.of_bytes(f"{META}/history", b"")]  # what tells conda that this is an environment
    for artifact, facts in packages:
        mine = [path for path in facts.paths if seen.get(path["_path"], artifact) == artifact]
        stem = f"{artifact.name}-{artifact.version}-{artifact.build}"
        entries.append(Entry.of_bytes(f"{META}/{stem}.json", canonical_json(_record(artifact, mine)) + b"\n"))
    for digest, paths in restored(packages).items():
        if digest not in linked:
            raise Bug(f"files of the package {digest.short} are to be restored, and it is not linked")
        found = {entry.path: entry for entry in linked[digest].entries}
        entries += [found[f"{ENVIRONMENT}/{path}"] for path in paths]
    return tuple(sorted(entries, key=lambda entry: entry.path.encode()))


def merged(packages: Sequence[tuple[Artifact, PackageFacts]], group: Iterable[LinkedPackage]) -> tuple[Entry, ...]:
    """Return the entries of a layer that the conda packages of ``group`` share, each path once: its owner's.

    Args:     packages: those of ``group``, or more.
    """
    seen = owners(packages)
    found: dict[str, Entry] = {}
    for package in group:
        for entry in package.entries:
            owner = seen.get(entry.path.removeprefix(f"{ENVIRONMENT}/"), package.artifact)
            if owner == package.artifact or entry.path not in found:
                found[entry.path] = entry
    return tuple(found[path] for path in sorted(found, key=str.encode))


def _several(packages: Sequence[tuple[Artifact, PackageFacts]]) -> dict[str, list[int]]:
    """Return the positions of the packages of every path that more than one has."""
    found: dict[str, list[int]] = {}
    for n, (_, facts) in enumerate(packages):
        for path in facts.paths:
            if path["path_type"] != "directory":
                found.setdefault(path["_path"], []).append(n)
    return {path: positions for path, positions in found.items() if len(positions) > 1}


def _content(facts: PackageFacts, path: str) -> tuple[Any, ...]:
    entry = next(entry for entry in facts.paths if entry["_path"] == path)
    digest = entry.get("sha256_in_prefix") or entry.get("sha256")
    return entry["path_type"] == "softlink", digest, path in facts.executables


def _record(artifact: Artifact, paths: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a package's record. Tools want a URL in it: this one names the channel as the lock does, and no host.

    Source:   conda's PrefixRecord; CEP 34
    """
    origin = artifact.source.removeprefix("channel:")
    document: dict[str, Any] = {
        "name": artifact.name, "version": artifact.version, "build": artifact.build, "build_number": artifact.build_number,
        "subdir": artifact.subdir, "fn": artifact.file, "sha256": artifact.sha256, "size": artifact.size_bytes,
        "depends": list(artifact.depends), "constrains": list(artifact.constrains), "noarch": artifact.noarch or None,
        "license": artifact.license or None, "python_site_packages_path": artifact.site_packages_path or None,
        "channel": None if origin.startswith("#") else origin,
        "url": quote(f"{artifact.source}/{artifact.subdir}/{artifact.file}", safe=":/"),
        "timestamp": _timestamp_ms(artifact.timestamp) if artifact.timestamp else None,
        "requested_specs": [], "files": [path["_path"] for path in paths],
        "paths_data": {"paths_version": 1, "paths": [dict(path) for path in paths]},
    }  # fmt: skip
    return {key: value for key, value in document.items() if value is not None}


def _timestamp_ms(text: str) -> int:
    when = datetime.fromisoformat(text)
    return int(when.replace(microsecond=0).timestamp()) * _MS + when.microsecond // _MS
