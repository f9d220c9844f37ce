"""Versions, locks and comparisons as documents for machines and as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.cli.common import size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardian.lock.lock import Artifact, Lock
    from wardian.workspace.version import EnvironmentVersion


def version_row(version: EnvironmentVersion) -> dict[str, Any]:
    """Return what a list shows of a version."""
    return {
        "reference": str(version), "name": version.name, "version": version.version, "definition_hash": version.definition_hash,
        "kind": version.kind, "created": version.created, "labels": list(version.labels), "archived": version.archived,
        "description": version.description, "tags": dict(version.tags),
    }  # fmt: skip


def fault_rows(version: EnvironmentVersion) -> list[dict[str, Any]]:
    """Return what today's rules find wrong in a version; an older Wardian registered it."""
    return [{"code": f.code, "field": f.field, "message": f.message, "hint": f.hint} for f in version.faults]


def outdated(version: EnvironmentVersion) -> list[str]:
    """Return the same in lines for people: none for nearly every version."""
    return [
        f"{fault.field}: {fault.message}; its lock is used as before, but nothing new can be made of it"
        for fault in version.faults
    ]


def lock_document(lock: Lock, *, packages: bool) -> dict[str, Any]:
    """Return what is shown of a lock."""
    document: dict[str, Any] = {
        "platform": lock.platform, "lock_digest": lock.digest, "install_digest": lock.install_digest, "created": lock.provenance.created,
        "as_of": lock.provenance.as_of, "solvers": lock.provenance.solvers, "notes": list(lock.provenance.notes), "packages_count": len(lock.everything),
    }  # fmt: skip
    if packages:
        document["packages"] = [artifact.as_document() for artifact in lock.everything]
    return document


def package_rows(lock: Lock) -> Iterable[tuple[str, ...]]:
    """Return the packages of a lock for a table."""
    roots = set(lock.provenance.roots)
    for artifact in lock.everything:
        yield (artifact.name + (" *" if artifact.name in roots else ""), artifact.version, artifact.build, artifact.kind,
               artifact.source, size(artifact.size_bytes) if artifact.size_bytes else "", artifact.sha256[:12])  # fmt: skip


def count_of(lock: Lock) -> str:
    """Return in words how many packages a lock has, and jars."""
    jars = len(lock.spark)
    return f"{len(lock.artifacts)} packages" + (f", {jars} jar{'s' if jars != 1 else ''}" if jars else "")


def python_of(lock: Lock) -> str:
    """Return the interpreter in words."""
    python: Artifact | None = lock.python
    if python is None:
        return "none"
    where = {"host": " of this machine"}.get(python.source, "")
    return f"{python.version}{where}"
