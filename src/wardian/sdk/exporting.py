"""Exports of a version's locks and of its definition: text, and what has to lie beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import Conflict, NotFound
from wardian.events import Event
from wardian.lock import exports
from wardian.tools.disk import write_atomically
from wardian.tools.http import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.formats.azureml import Written
    from wardian.lock.lock import Artifact, Lock

_SHOWN_JARS = 4


def export(parts: Parts, environment: Environment, locks: Mapping[str, Lock], to: str) -> str:
    """Return the locks in the format ``to``; see ``wardian.lock.exports``. Jars, which none of these formats can hold, are told as a loss."""
    text = exports.export(to, environment, locks, _url_in(parts, environment))
    if jars := {jar.name for lock in locks.values() for jar in lock.spark}:
        from wardian.formats.ledger import Loss

        names = ", ".join(sorted(jars)[:_SHOWN_JARS]) + (", …" if len(jars) > _SHOWN_JARS else "")
        loss = Loss("dropped", "spark", f"`{to}` has no place for jars: {names}", hint="`spark-submit --packages` takes them")
        parts.listener(Event("loss", str(loss), data=loss.as_document()))
    return text


def export_definition(parts: Parts, environment: Environment, to: str) -> Written:
    """Return the definition in the format ``to``; see ``wardian.formats.export``. What it loses is told."""
    from wardian import formats

    written = formats.export(environment, to)
    for loss in written.losses:
        parts.listener(Event("loss", str(loss), data=loss.as_document()))
    return written


def write_definition(parts: Parts, written: Written, output: Path, *, force: bool) -> list[str]:
    """Write ``written`` to the file ``output`` and beside it, or into the directory ``output``; return the paths written.

    What is there already is a conflict, unless ``force``; a directory that holds something else than what would be written
    always is. With ``force`` nothing of an earlier export is left in the directory.

    Raises:   Conflict: code ``file_exists``.
    """
    from wardian.formats.azureml_writing import CONDA_FILE, DOCKERFILE, JSON_FILE
    from wardian.formats.tree import tree_digest
    from wardian.formats.tree_copy import copy_tree

    root = output if written.is_directory else output.parent
    files = {root / path: text for path, text in (written.files or {}).items()}
    if not written.is_directory:
        files[output] = written.text
    trees = {root / path: digest for path, digest in (written.trees or {}).items()}
    for path in files:
        if path.exists() and (path.is_dir() or not force):
            raise Conflict(f"{path} is there already", hint="choose another name, or add --force", code="file_exists")
    for path, digest in trees.items():
        if path.exists() and (not path.is_dir() or tree_digest(path) != digest):
            raise Conflict(
                f"{path} is there already, and holds something else", hint="write to another directory", code="file_exists"
            )
    stale = {root / name for name in (JSON_FILE, CONDA_FILE, DOCKERFILE)} - set(files) if written.is_directory else set()
    for path in stale:
        path.unlink(missing_ok=True)  # the SDK would read it
    for path, digest in trees.items():
        kept = parts.artifacts.find(digest, {})
        if kept is None:
            raise NotFound(f"the build context {digest.short} is not kept here", code="local_code_missing",
                           hint="create the environment from its file again")  # fmt: skip
        if not path.exists():
            copy_tree(kept, path)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    return [path.relative_to(root).as_posix() for path in (*files, *trees)]


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
