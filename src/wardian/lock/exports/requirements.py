"""``requirements.txt`` with the digests of every platform, for pip and uv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.requirement import PipOption
from wardian.lock.exports.places import (
    BESIDE,
    combined_marker,
    headline,
    pinned_distributions,
    place_of,
    python_minor,
    stands_in_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.lock.exports import Locate
    from wardian.lock.exports.places import Pinned
    from wardian.lock.lock import Artifact, Lock

_WHERE = ("--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host")


def write(environment: Environment, locks: Sequence[Lock], url_of: Locate) -> str:
    """Return the requirements file. Index options are those of the definition; everything has a hash.

    Source:   pip's requirements file format; PEP 508
    """
    pythons = sorted({python_minor(lock) for lock in locks if lock.python})
    head = [f"# {headline(environment, locks)}"]
    if pythons:
        head.append(f"# Python {', '.join(pythons)}")
    head += index_options(environment)
    lines = [
        line for pinned in pinned_distributions(locks) for line in requirement_lines(environment, pinned, url_of, len(locks))
    ]
    if any(line.startswith("./") for line in lines):
        head.insert(1, f"# start pip or uv in this file's directory: some packages lie below ./{BESIDE}/")
    return "\n".join([*head, *lines]) + "\n"


def index_options(environment: Environment) -> list[str]:
    """Return the definition's options that say where packages are."""
    return [text for text in environment.python.pip_options if PipOption.parse(text).name in _WHERE]


def requirement_lines(environment: Environment, pinned: Pinned, url_of: Locate, platforms: int) -> list[str]:
    """Return the lines for one distribution: by version from an index, by URL, or by path beside the file."""
    by_version = [(lock, artifact) for lock, artifact in pinned.found if stands_in_index(artifact)]
    lines = []
    if by_version:
        marker = combined_marker(by_version, everywhere=len(by_version) == platforms)
        lines.append(_line(f"{pinned.name}=={pinned.version}", marker, (artifact.sha256 for _, artifact in by_version)))
    direct: dict[tuple[str, Digest], list[tuple[Lock, Artifact]]] = {}
    for lock, artifact in pinned.found:
        if not stands_in_index(artifact):
            place = place_of(environment, lock, artifact, url_of, variables=True)
            what = f"{pinned.name} @ {place.url}" if place.url else place.reference
            direct.setdefault((what, place.sha256), []).append((lock, artifact))
    for (what, sha256), found in direct.items():
        lines.append(_line(what, combined_marker(found, everywhere=len(found) == platforms), [sha256]))
    return lines


def _line(what: str, marker: str, digests: Iterable[Digest]) -> str:
    condition = f" ; {marker}" if marker else ""
    return " \\\n    ".join([what + condition, *(f"--hash=sha256:{digest}" for digest in sorted(set(digests)))])
