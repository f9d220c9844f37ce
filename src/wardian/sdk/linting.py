"""Lints files and versions, with the locks that the workspace has of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.lint.files import Linted
    from wardian.lock.lock import Lock
    from wardian.sdk.environment_lookup import EnvironmentLookup


def lint_file(parts: Parts, path: str | Path, *, fix: bool = False) -> Linted:
    """Return what is worth a line in the file at ``path``; locks are those that its hash has in the workspace."""
    from wardian import lint

    def locks(environment: Environment) -> tuple[Lock, ...]:
        from wardian.definition.platform import PLATFORMS

        digest = environment.definition_hash
        chosen = [current for name in PLATFORMS if (current := parts.locks.current(digest, name))]
        kept = (parts.locks.find(one.lock_digest, definition_hash=digest) for one in chosen)
        return tuple(lock for lock in kept if lock is not None)

    return lint.lint_file(path, fix=fix, locks=locks)


def lint_version(parts: Parts, environments: EnvironmentLookup, reference: str) -> Linted:
    """Return what is worth a line in a registered version; locks are those that it is pinned to."""
    from wardian import lint

    version = environments.get(reference)
    kind, text = environments.source(version)
    digests = environments.lock_digests(version).values()
    locks = [parts.locks.get(digest, definition_hash=version.definition_hash) for digest in digests]
    return lint.lint_text(text, kind, file=str(version), local=version.environment.local_sources, locks=locks)
