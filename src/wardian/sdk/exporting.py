"""Exports of a version's locks: text, and what has to lie beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.lock import exports
from wardian.tools.http import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.lock.lock import Artifact, Lock


def export(parts: Parts, environment: Environment, locks: Mapping[str, Lock], to: str) -> str:
    """Return the locks in the format ``to``; see ``wardian.lock.exports``."""
    return exports.export(to, environment, locks, _url_in(parts, environment))


def archives_beside(parts: Parts, environment: Environment, locks: Mapping[str, Lock], to: str) -> dict[str, Path]:
    """Return relative path → archive on this machine, for what an export names by path."""
    beside = exports.packages_beside(to, environment, locks, _url_in(parts, environment)) if to in exports.FORMATS else {}
    first = next(iter(locks.values()), None)
    if not beside or first is None:
        return {}
    archives = parts.fetch(environment, first, list(beside.values()))
    return {path: archives[artifact.installed_sha256] for path, artifact in beside.items()}


def _url_in(parts: Parts, environment: Environment) -> Callable[[Lock, Artifact], str | None]:
    def url_of(lock: Lock, artifact: Artifact) -> str | None:
        urls = parts.locator.urls(environment, lock, artifact)
        return next((without_credentials(url) for url in urls if not url.startswith("file:")), None)

    return url_of
