"""Brings home what a run left on its nodes: its log as it grows, and at its end the files that it made and changed."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import InvalidInput, NotFound, WardianError
from wardian.run.directory import OUTPUTS
from wardian.run.file_names import from_text
from wardian.run.job import LISTED
from wardian.run.node.sheet import LOG, SNAPSHOT, of_rank
from wardian.run.record import OutputFile
from wardian.run.snapshot import Snapshot, new_and_changed
from wardian.run.targets.remote import is_tampered
from wardian.tools.disk import disk_errors, remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.run.directory import RunDirectory
    from wardian.run.place import Place
    from wardian.run.record import Results
    from wardian.run.targets.remote import Carrier

PIECE_BYTES = 4 << 20
_LAST_BYTES = 4096


def bring_log(carrier: Carrier, place: Place, directory: RunDirectory, rank: int = 0, *, time_s: float | None = None) -> bool:
    """Add to the log here what the node's has more; return whether all of it is here now. Whoever calls holds the run's hands.

    Args:     rank: which of the run's nodes; each has a log of its own.
              time_s: about how long it may take: a log may grow faster than it comes; None: until all of it is here.
    """
    name, until = of_rank(LOG, rank), math.inf if time_s is None else time.monotonic() + time_s
    with disk_errors(directory.path):
        path = directory.path / name
        if rank and (not path.exists()) and not carrier.read(f"{place.path}/{name}", 0, 1):
            return True
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            while piece := carrier.read(f"{place.path}/{name}", os.fstat(descriptor).st_size, PIECE_BYTES):
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
                if time.monotonic() >= until:
                    return False
        finally:
            os.close(descriptor)
    return True


def settle_log(carrier: Carrier, place: Place, directory: RunDirectory, rank: int = 0) -> None:
    """Make the log here the one that an ended run has left, where what came of it before was only a view of it."""
    name = of_rank(LOG, rank)
    path, whole = directory.path / name, directory.path / f".{name}.whole"
    with disk_errors(directory.path):
        with whole.open("wb") as stream:
            while piece := carrier.read(f"{place.path}/{name}", stream.tell(), PIECE_BYTES):
                stream.write(piece)
            size = stream.tell()
        if size and not (path.exists() and _is_same(path, whole)):
            whole.replace(path)
        else:  # it is the same, or never came so far: what is here is all there is
            whole.unlink()


def _is_same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and Digest.of_file(one) == Digest.of_file(other)


def last_words(carrier: Carrier, path: str) -> str:
    """Return the last line that a small file of the nodes ends with; empty: there is none."""
    try:
        text = carrier.read(path, 0, 1 << 20) or b""
    except WardianError as error:
        if not is_tampered(error):
            raise
        return ""
    lines = text[-_LAST_BYTES:].decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


def bring_files(carrier: Carrier, place: Place, directory: RunDirectory, results: Results, *, ran: bool) -> Results:
    """Bring home the run's working directory, in place of the copy that it began with; return the results with what is in it.

    May be done again after a crash at any point.

    Args:     ran: it came so far; else there may be nothing.
    """
    home = directory.path / "home"
    with disk_errors(directory.path):
        if home.exists():  # of a process that was killed
            shutil.rmtree(home)
        try:
            behind = carrier.fetch(f"{place.path}/{SNAPSHOT}", str(home))
        except (NotFound, InvalidInput) as error:  # the latter: it is a link, or something above it
            missed = (f"nothing of what it left is here: {error.message}",) if ran else ()
            return with_files(replace(results, notes=(*results.notes, *missed)), directory)
        (home / OUTPUTS).mkdir(exist_ok=True)
        remove_tree(directory.snapshot, directory.path / ".trash")
        home.rename(directory.snapshot)
        with contextlib.suppress(OSError):
            (directory.path / ".trash").rmdir()
    notes = [f"left behind: {one}" for one in behind[:20]]
    if len(behind) > len(notes):
        notes.append(f"left behind: {len(behind) - len(notes)} more")
    return with_files(replace(results, notes=(*results.notes, *notes)), directory)


def with_files(results: Results, directory: RunDirectory) -> Results:
    """Return ``results`` with what the run made and changed: compared with the list of its snapshot, by content."""
    before = _before(directory)
    new, _ = new_and_changed(directory.snapshot, frozenset(before), 0)
    inside = [(path, size) for path, size in new if path.startswith(f"{OUTPUTS}/")]
    outside = [path for path, _ in new if not path.startswith(f"{OUTPUTS}/")]
    changed = [path for path, (kind, value) in before.items() if _changed(directory.snapshot / path, kind, value)]
    return replace(
        results, outputs=tuple(OutputFile(path, size) for path, size in inside[:LISTED]), output_files=len(inside),
        output_bytes=sum(size for _, size in inside), new_files=tuple(outside[:LISTED]), changed_files=tuple(sorted(changed)[:LISTED]),
    )  # fmt: skip


def _before(directory: RunDirectory) -> dict[str, tuple[str, str]]:
    try:
        found = Snapshot.from_document(json.loads(directory.snapshot_list.read_text()))
    except (OSError, ValueError, KeyError, TypeError):  # it never came so far, or is damaged: `runs reproduce` says so
        return {}
    return {from_text(entry.path): (entry.kind, entry.value) for entry in found.entries}


def _changed(path: Path, kind: str, value: str) -> bool:
    try:
        if kind == "link":
            return str(path.readlink()) != value
        return not path.is_symlink() and Digest.of_file(path) != value
    except OSError:  # removed: as of runs here, nothing is said of it
        return False
