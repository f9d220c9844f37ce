"""A lock as a file that other tools install from: one module per format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput

if TYPE_CHECKING:
    from wardian.definition.environment import Environment
    from wardian.lock.lock import Artifact, Lock

Locate = Callable[["Lock", "Artifact"], "str | None"]

FORMATS = ("requirements", "pylock", "pixi", "explicit", "conda")
ONE_PLATFORM = ("explicit", "conda")  # formats that hold one platform: the first lock given
CONDA_ONLY = ("pixi", "explicit")
PYPI_ONLY = ("requirements", "pylock")


def export(to: str, environment: Environment, locks: Mapping[str, Lock] | Iterable[Lock], url_of: Locate) -> str:
    """Return the text of ``locks`` in the format ``to``: the same artifacts, by digest. The same input gives the same text.

    What has no URL (``url_of`` gives None, or it was built here from source) is named by a path below ``packages/`` beside the
    file; ``packages_beside`` lists those. URLs carry no credentials; the URL of a definition's own requirement is as written there.

    Args:     to: one of ``FORMATS``.  environment: the definition that the locks answer.
              locks: one per platform. ``explicit`` and ``conda`` hold one platform: the first.
              url_of: where an artifact can be had, if anywhere.
    Raises:   InvalidInput: codes ``unknown_export``, ``nothing_to_export``, ``export_cannot_hold``: the format has no place for
                  what the lock holds; ``export_needs_url``: only of ``pixi``.
    """
    chosen = _chosen(to, locks)
    kinds = {artifact.kind for lock in chosen for artifact in lock.artifacts}
    if to in PYPI_ONLY and "conda" in kinds:
        raise InvalidInput(f"`{to}` cannot hold conda packages, and this lock has some", code="export_cannot_hold",
                           hint="use `conda`, `pixi` or `explicit`")  # fmt: skip
    if to in CONDA_ONLY and "conda" not in kinds:
        raise InvalidInput(f"`{to}` holds conda packages, and this lock has none", code="export_cannot_hold",
                           hint="use `requirements`, `pylock` or `conda`")  # fmt: skip
    module = import_module(f"wardian.lock.exports.{to}")
    text: str = module.write(environment, chosen, url_of)
    return text


def packages_beside(
    to: str, environment: Environment, locks: Mapping[str, Lock] | Iterable[Lock], url_of: Locate
) -> dict[str, Artifact]:
    """Return what has to lie beside the file that ``export`` gives: relative path → the artifact whose installed archive goes there."""
    from wardian.lock.exports.places import place_of, stands_in_index

    found: dict[str, Artifact] = {}
    for lock in _chosen(to, locks):
        for artifact in lock.of_kind("conda", "wheel", "sdist"):
            if to in ("requirements", "conda") and stands_in_index(artifact):
                continue  # named by version and digest
            if to == "conda" and artifact.kind == "conda":
                continue
            place = place_of(environment, lock, artifact, url_of, variables=to in ("requirements", "conda"))
            if place.path is not None:
                found[place.path] = artifact
    return found


def _chosen(to: str, locks: Mapping[str, Lock] | Iterable[Lock]) -> tuple[Lock, ...]:
    if to not in FORMATS:
        raise InvalidInput(f"unknown export format `{to}`", code="unknown_export", hint=f"known ones: {', '.join(FORMATS)}")
    given = tuple(locks.values() if isinstance(locks, Mapping) else locks)
    if not any(lock.of_kind("conda", "wheel", "sdist") for lock in given):
        raise InvalidInput("there is no lock, or an empty one: nothing can be exported", code="nothing_to_export",
                           hint="a user-managed environment has no lock")  # fmt: skip
    return given[:1] if to in ONE_PLATFORM else given
