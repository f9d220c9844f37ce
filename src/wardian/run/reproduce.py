"""From a run that was back to a run that is to be: its source directory as it was, and its configuration."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import Conflict, InvalidInput, NotFound, WardianError
from wardian.run.argument_secrets import named
from wardian.run.directory import RunDirectory
from wardian.run.snapshot import Snapshot
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.run.configuration import Command, RunConfiguration
    from wardian.run.record import RunRecord
    from wardian.run.snapshot import Entry

_SHOWN = 5


def original_source(record: RunRecord, runs_dir: Path) -> tuple[Snapshot, dict[str, Path]]:
    """Return the snapshot of a run as it was before the run, and where each of its files lies now, with that content.

    What the script itself changed is taken from the source directory, if it still is there as it was.

    Raises:   NotFound: ``snapshot_missing``: the run has none, or its files are gone.
              Conflict: ``snapshot_changed``: files whose content cannot be had any more; the message names them.
              WardianError: ``damaged_run``: the list of the snapshot is not what the record says.
    """
    directory = RunDirectory.of(runs_dir, record.id)
    snapshot = _listed(record, directory)
    places: dict[str, Path] = {}
    lost = []
    for entry in snapshot.entries:
        if entry.kind == "link":
            continue
        roots = [directory.snapshot, *([record.configuration.source] if record.configuration.source else [])]
        place = next((root / entry.path for root in roots if _is_as_it_was(root / entry.path, entry)), None)
        if place is None:
            lost.append(entry.path)
        else:
            places[entry.path] = place
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else "")
        raise Conflict(f"run `{record.id}` cannot be had as it was: these files of its snapshot were changed or removed: {shown}",
                       hint="a script that writes to `outputs/` alone leaves its snapshot as it was", code="snapshot_changed")  # fmt: skip
    return snapshot, places


def restore_source(record: RunRecord, runs_dir: Path, target: Path) -> Path:
    """Make the new directory ``target`` what the source directory of the run was, and return it.

    Raises:   as ``original_source``; DiskFull.
    """
    snapshot, places = original_source(record, runs_dir)
    with disk_errors(target):
        target.mkdir(parents=True)
        for name in snapshot.directories:
            (target / name).mkdir()
        for entry in snapshot.entries:
            place = target / entry.path
            if entry.kind == "link":
                place.symlink_to(entry.value)
            else:
                shutil.copyfile(places[entry.path], place)
                place.chmod(0o755 if entry.kind == "executable" else 0o644)
    return target


def reproduction(
    record: RunRecord,
    *,
    file: Path | None = None,
    inputs: Mapping[str, Path] | None = None,
    arguments: Sequence[str] | None = None,
) -> RunConfiguration:
    """Return the configuration that does again what ``record`` did. It names the source directory that the run had, or ``file``,
    the run file that holds it; what is copied is the restored one.

    Variables that were passed on have the values that they had then; secrets are passed on from the caller again. Inputs are
    at the same paths, or at those of ``inputs``.

    Args:     arguments: all of them, for a run whose record leaves out the secrets among them.
    Raises:   InvalidInput: ``arguments_not_kept``: some are left out, and not given; ``other_arguments``: they are not the run's.
    """
    was = record.configuration
    patterns = [name for name in was.variables if "*" in name or "?" in name]
    variables = {name: value for name, value in {**was.variables, **record.results.variables}.items() if name not in patterns}
    return replace(
        was,
        source=file if file is not None and was.source is not None else was.source,
        command=_command(record, arguments, file),
        reproduces=record.id,
        inputs={**was.inputs, **{name: path for name, path in (inputs or {}).items() if name in was.inputs}},
        variables=variables,
    )


def _command(record: RunRecord, arguments: Sequence[str] | None, file: Path | None) -> Command:
    was = record.configuration.command
    if arguments is None and not was.hidden:
        return was
    import shlex

    hint = f"give them all, with the secrets: `wardian runs reproduce {file or record.id} -- {shlex.join(was.arguments)}`"
    if arguments is None or any(
        given == kept for at, (given, kept) in enumerate(zip(arguments, was.arguments, strict=False)) if at in was.hidden
    ):
        raise InvalidInput(f"run `{record.id}` had arguments that look like secrets, which are not kept: {named(was.arguments, was.hidden)}",
                           hint=hint, code="arguments_not_kept")  # fmt: skip
    given = replace(was, arguments=tuple(arguments), hidden=())
    if given.without_secrets().arguments != was.arguments:
        raise InvalidInput(f"these are not the arguments of run `{record.id}`, which were: {shlex.join(was.arguments)}",
                           hint=hint if was.hidden else "leave them out; `wardian run` runs it with others", code="other_arguments")  # fmt: skip
    return given


def _listed(record: RunRecord, directory: RunDirectory) -> Snapshot:
    try:
        snapshot = Snapshot.from_document(json.loads(directory.snapshot_list.read_text()))
    except FileNotFoundError:
        raise NotFound(
            f"run `{record.id}` has no snapshot: its files are gone, or it never came so far", code="snapshot_missing"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(record, str(error)) from error
    if snapshot.digest != record.snapshot_digest:
        raise _damaged(record, f"its digest is {snapshot.digest}, the record says {record.snapshot_digest}")
    return snapshot


def _damaged(record: RunRecord, why: str) -> WardianError:
    return WardianError(f"the list of the snapshot of run `{record.id}` is damaged: {why}", code="damaged_run")


def _is_as_it_was(place: Path, entry: Entry) -> bool:
    try:
        return place.is_file() and Digest.of_file(place) == entry.value
    except OSError:
        return False
