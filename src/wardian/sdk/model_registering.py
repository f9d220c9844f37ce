"""Registers models: from a file, a directory or what a run left, to files that are kept and a record; and copies them out again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.events import Event
from wardian.run.file_names import readable
from wardian.serving.model import look_at
from wardian.serving.model_tree import check_unchanged, copy_model, digest_model, scan_model
from wardian.tools.disk import disk_errors, make_writable
from wardian.workspace.model_version import Lineage, ModelFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.bootstrap import Parts
    from wardian.digest import Digest
    from wardian.run.record import RunRecord
    from wardian.serving.model_tree import ModelTree
    from wardian.workspace.model_version import ModelVersion
    from wardian.workspace.models import NewModel

_SHOWN = 5
_LARGE_BYTES = 64 << 20  # copied in more than a moment
_TOLD_EACH_BYTES = 16 << 20
_RUN_PATH = re.compile(r"run:([^/]+)/(.+)", re.DOTALL)


class _GoneError(Exception):
    """The files that were here were deleted by another process since."""


class ModelRegistering:
    """Registers models in the workspace of ``parts``.

    Args:     run: gives the record of a run by its id, the beginning of it, or ``latest``.
    """

    def __init__(self, parts: Parts, run: Callable[[str], RunRecord]) -> None:
        self._parts = parts
        self._run = run

    def register(
        self, path: str | os.PathLike[str], run_id: str | None, asked: Callable[[ModelFacts, Lineage], NewModel]
    ) -> tuple[ModelVersion, bool]:
        """Do what ``ModelCollection.register`` promises; return the version, and whether it was added."""
        tree, lineage = self._looked_at(path, run_id)
        look_at(tree.root)  # what is wrong with it is said before it is copied
        if tree.left_out:
            more = " …" if len(tree.left_out) > _SHOWN else ""
            self._parts.listener(Event("notice", f"left out of the model: {', '.join(tree.left_out[:_SHOWN])}{more}"))
        note = self._progress(tree)
        models, files = self._parts.models, self._parts.models.files
        if models.may_have(tree.size_bytes, tree.files):
            digest = digest_model(tree, note=note)
            check_unchanged(tree)
            kept = files.find(digest)
            if kept is not None:
                with contextlib.suppress(_GoneError):
                    return models.add(asked(_facts(tree, digest, kept), lineage), lambda: _check_there(kept))
        with files.stage() as staged:
            digest = copy_model(tree, staged, note=note)
            check_unchanged(tree)
            return models.add(asked(_facts(tree, digest, staged), lineage), lambda: files.place(staged, digest))

    def _progress(self, tree: ModelTree) -> Callable[[int], None] | None:
        """Return what tells the listener how far a large model has been read; None: it is small."""
        if tree.size_bytes < _LARGE_BYTES:
            return None
        text, done, told = f"keeping {tree.name}, {tree.size_bytes:,} bytes", 0, 0
        self._parts.listener(Event("phase", text, total=tree.size_bytes))

        def note(size_bytes: int) -> None:
            nonlocal done, told
            done += size_bytes
            if done - told >= _TOLD_EACH_BYTES:
                told = done
                self._parts.listener(Event("progress", text, done=min(done, tree.size_bytes), total=tree.size_bytes))

        return note

    def _looked_at(self, path: str | os.PathLike[str], run_id: str | None) -> tuple[ModelTree, Lineage]:
        """Return what is to be registered, and where it comes from."""
        given = Path(path)
        if run_id is None and (found := _RUN_PATH.fullmatch(os.fspath(path))) and not os.path.lexists(given):
            run_id, given = found[1], Path(found[2].lstrip("/"))
        if run_id is None:
            tree = scan_model(given)
            _refuse_own(self._parts, tree)
            return tree, Lineage(readable(str(tree.root)))
        record = self._ended(run_id)
        snapshot = self._parts.directory / "runs" / record.id / "snapshot"
        place = _below(snapshot / "outputs", given) or _below(snapshot, given)
        if place is not None:
            tree = scan_model(place, within=snapshot)
        elif os.path.lexists(given):
            tree = scan_model(given)
            _refuse_own(self._parts, tree)
        else:
            raise NotFound(f"run `{record.id}` left no `{given}`, and there is none here", code="no_such_path",
                           hint=f"`wardian runs show {record.id}` lists its outputs; they are in {snapshot / 'outputs'}")  # fmt: skip
        made_with = record.environment
        source = str(tree.root).removeprefix(os.path.realpath(snapshot) + "/")
        return tree, Lineage(readable(source), record.id, made_with.version_id, made_with.definition_hash, made_with.lock_digest,
                             made_with.image_digest, made_with.as_document())  # fmt: skip

    def _ended(self, run_id: str) -> RunRecord:
        record = self._run(run_id.removeprefix("run:"))
        if record.is_active:
            raise Conflict(f"run `{record.id}` is {record.state}: what it leaves may still change", code="run_active",
                           hint=f"`wardian runs wait {record.id}` first")  # fmt: skip
        if record.state != "completed":
            self._parts.listener(Event("notice", f"run {record.id} {record.state}; what it left is registered as it is"))
        return record


def _check_there(kept: Path) -> None:
    if not kept.is_dir():
        raise _GoneError


def _facts(tree: ModelTree, digest: Digest, place: Path) -> ModelFacts:
    kind, details = look_at(place / tree.name)
    return ModelFacts(digest, kind, tree.name, tree.is_directory, tree.files, tree.size_bytes, details)


def _below(directory: Path, path: Path) -> Path | None:
    """Return ``path`` below ``directory`` if there is something of that name; a path that leads out is none of these."""
    if path.is_absolute() or ".." in path.parts or not os.path.lexists(directory / path):
        return None
    return directory / path


def _refuse_own(parts: Parts, tree: ModelTree) -> None:
    """Check that the model does not hold Wardian's own records."""
    if os.path.realpath(parts.directory).startswith(str(tree.root).rstrip("/") + "/"):
        raise InvalidInput(
            f"`{tree.root}` holds Wardian's own workspace", code="bad_path", hint="name the model's own directory"
        )


def download_model(record: ModelVersion, source: Path, target: Path, *, force: bool) -> Path:
    """Copy the model at ``source`` into the directory ``target``: all of it, or nothing is there. Return the copy."""
    place = target / source.name
    if os.path.lexists(place) and not force:
        raise Conflict(f"{place} is there already", hint="choose another directory, or add --force", code="path_exists")
    staged = target / f".{source.name[:80]}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    with disk_errors(target):
        staged.mkdir(parents=True)
        try:
            if copy_model(scan_model(source), staged, read_only=False) != record.facts.digest:
                raise Conflict(f"what is kept of model {record} is no longer what was registered: {source}", code="model_damaged",
                               hint="restore the file from a backup; nobody may write below `artifacts/`")  # fmt: skip
            if os.path.lexists(place):
                place.rename(staged / ".replaced")
            (staged / source.name).rename(place)
        finally:
            make_writable(staged)
            shutil.rmtree(staged, ignore_errors=True)
    return place
