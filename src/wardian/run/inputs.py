"""Inputs: data by reference, recorded as it was, and looked at again after the run."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import InvalidInput, NotFound, Unavailable
from wardian.run.directory import RunDirectory
from wardian.run.record import InputRecord
from wardian.tools.disk import disk_errors
from wardian.workspace.clock import moment_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wardian.run.configuration import RunConfiguration
    from wardian.run.record import Results, RunRecord

LOOKED_AT_FILES = 10_000  # of a directory: a data set may have millions


def record_inputs(inputs: Mapping[str, Path], *, digest: bool = False) -> dict[str, InputRecord]:
    """Return what there is to say about each input.

    Args:     digest: read the content too, for a digest; of a directory by the rule of ``wardian.formats.tree``.
    Raises:   NotFound: ``input_not_found``.  InvalidInput: neither a file nor a directory.  Unavailable: unreadable.
    """
    return {name: _record(name, path, digest=digest) for name, path in inputs.items()}


def changed_inputs(before: Mapping[str, InputRecord], inputs: Mapping[str, Path]) -> list[str]:
    """Return the names of the inputs that are no longer as ``before`` says."""
    changed = []
    for name, was in before.items():
        try:
            now = _record(name, inputs[name], digest=False)
        except (NotFound, InvalidInput, Unavailable):
            changed.append(name)
            continue
        if (now.size_bytes, now.modified, now.files) != (was.size_bytes, was.modified, was.files):
            changed.append(name)
    return changed


def _record(name: str, path: Path, *, digest: bool) -> InputRecord:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise NotFound(
            f"the input `{name}` is not there: {path}", hint="check the path: `--input NAME=PATH`", code="input_not_found"
        ) from None
    except OSError as error:
        raise Unavailable(f"the input `{name}` cannot be read: {path}: {error.strerror}", code="unreadable_file") from error
    if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"the input `{name}` is neither a file nor a directory: {path}", code="bad_input")
    try:
        size_bytes, newest_ns, files, is_partial = (
            _directory(path) if stat.S_ISDIR(found.st_mode) else (found.st_size, found.st_mtime_ns, 1, False)
        )
        content = _digest(path) if digest else None
    except OSError as error:
        what = f"{error.filename or path}: {error.strerror}"
        raise Unavailable(f"the input `{name}` cannot be read: {what}", code="unreadable_file") from error
    return InputRecord(
        str(path), size_bytes, moment_text(datetime.fromtimestamp(newest_ns / 1e9, UTC)), files, is_partial, content
    )


def _directory(path: Path) -> tuple[int, int, int, bool]:
    size_bytes, files = 0, 0
    newest_ns = path.stat().st_mtime_ns
    stack = [os.fspath(path)]
    while stack:
        try:
            entries = sorted(os.scandir(stack.pop()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                stack.append(entry.path)
                continue
            if files == LOOKED_AT_FILES:
                return size_bytes, newest_ns, files, True
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # removed since the directory was read
                continue
            files += 1
            size_bytes += found.st_size
            newest_ns = max(newest_ns, found.st_mtime_ns)
    return size_bytes, newest_ns, files, False


def _digest(path: Path) -> str:
    from wardian.formats.tree import tree_digest

    if path.is_file():
        return Digest.of_file(path)
    return tree_digest(path, limit_files=1 << 40, limit_bytes=1 << 60)


def in_run_directory(
    runs_dir: Path, carried: Mapping[str, Path]
) -> Callable[[str, RunConfiguration, Results], tuple[RunConfiguration, Results]]:
    """Return what names the ``carried`` inputs by their places in the directory of a run."""

    def placed(run_id: str, configuration: RunConfiguration, results: Results) -> tuple[RunConfiguration, Results]:
        places = {name: RunDirectory.of(runs_dir, run_id).inputs / name for name in carried}
        inputs = {name: replace(found, path=str(places.get(name, found.path))) for name, found in results.inputs.items()}
        return replace(configuration, inputs={**configuration.inputs, **places}), replace(results, inputs=inputs)

    return placed


def move_in(record: RunRecord, carried: Mapping[str, Path]) -> None:
    """Move the ``carried`` inputs into the directory of a run, where its record says that they are."""
    for name, path in carried.items():
        place = record.configuration.inputs[name]
        with disk_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
