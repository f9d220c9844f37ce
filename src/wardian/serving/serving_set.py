"""The packages that the scoring server stands on: pinned for each Python, as data, named without hosts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.well_known import DEFAULT_INDEX
from wardian.digest import Digest
from wardian.errors import Bug, Conflict
from wardian.lock.lock import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 1
PACKAGED = Path(__file__).with_name("serving_set.json")
OLDEST_PYTHON = (3, 9)


@dataclass(frozen=True, slots=True)
class ServingPackage:
    """One pinned package: a pure wheel of the default index.

    Attributes:
        requires: what it needs, as its own metadata say.
    """

    artifact: Artifact
    requires: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServingSet:
    """The pinned packages of each minor version of Python, in several choices.

    Attributes:
        roots: what the server itself needs.
        pythons: minor version (``3.11``) → choices, the newest first, then those that ask less of what is there already; each
            holds packages by PEP 503 name.
        digest: of the whole, for what is remembered of it.
    """

    roots: tuple[str, ...]
    pythons: Mapping[str, Sequence[Mapping[str, ServingPackage]]]
    digest: Digest = field(repr=False)

    def choices(self, python: str) -> Sequence[Mapping[str, ServingPackage]]:
        """Return the choices for the Python ``python`` (``3.11.7``): of its minor version, else of the newest one before it.

        Raises:   Conflict: code ``serving_python_too_old``.
        """
        wanted = _minor(python)
        known = {_minor(text): choices for text, choices in self.pythons.items()}
        usable = [minor for minor in known if minor <= wanted]
        if wanted < OLDEST_PYTHON or not usable:
            least = ".".join(map(str, OLDEST_PYTHON))
            raise Conflict(f"the scoring server needs Python {least} or newer, the environment has {python}", code="serving_python_too_old",
                           hint=f"train and deploy with an environment of Python {least} or newer")  # fmt: skip
        return known[max(usable)]


@cache
def serving_set(path: Path = PACKAGED) -> ServingSet:
    """Return the set that comes with Wardian, or the one in the file at ``path``.

    Raises:   Bug: the file is none.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            raise Bug(f"{path.name} has schema {document['schema']}, not {SCHEMA}")
        packages = {key: _package(key, one) for key, one in document["packages"].items()}
        pythons = {
            python: tuple({packages[key].artifact.name: packages[key] for key in keys} for keys in choices)
            for python, choices in document["pythons"].items()
        }
        return ServingSet(tuple(document["roots"]), pythons, Digest.of_document(document))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Bug(f"{path.name} is not the list of the server's packages: {error}") from error


def _package(key: str, document: dict[str, Any]) -> ServingPackage:
    name, _, version = key.partition(" ")
    artifact = Artifact(kind="wheel", source=f"index:{DEFAULT_INDEX}", name=name, version=version, file=document["file"],
                        sha256=Digest(document["sha256"]), size_bytes=int(document["size"]), license=document.get("license", ""),
                        requires_python=document.get("requires_python", ""))  # fmt: skip
    return ServingPackage(artifact, tuple(document["requires"]))


def _minor(python: str) -> tuple[int, int]:
    major, minor, *_ = python.split(".")
    return int(major), int(minor.rstrip("t"))
