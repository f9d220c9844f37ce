"""Writes run files."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import IO, TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import Conflict
from wardian.run.inputs import changed_inputs
from wardian.run.reproduce import original_source
from wardian.run.run_file import INPUTS, MANIFEST, PACKAGES, SMALL_INPUT_BYTES, SNAPSHOT, Manifest
from wardian.tools.disk import atomic_writer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.lock.lock import Lock
    from wardian.run.record import RunRecord


def export_run(
    record: RunRecord,
    target: Path,
    *,
    runs_dir: Path,
    environment: Environment | None = None,
    lock: Lock | None = None,
    packages: Mapping[Digest, Path] | None = None,
    small_input_bytes: int = SMALL_INPUT_BYTES,
) -> tuple[str, ...]:
    """Write ``record`` with all that it takes to run it again to the file ``target``; return what is left out, in words.

    Atomic. The same run gives the same bytes. In it: the record without the machine it ran on, the definition, the lock, the
    snapshot as it was before the run, inputs of at most ``small_input_bytes`` each that have not changed since, and
    ``packages``: archives of the lock, by digest.

    Raises:   Conflict: ``snapshot_changed``, or a file changes while it is written.  NotFound: ``snapshot_missing``.  DiskFull.
    """
    snapshot, places = original_source(record, runs_dir)
    members = {f"{SNAPSHOT}/{entry.path}": places[entry.path] for entry in snapshot.entries if entry.kind != "link"}
    digests = {f"{SNAPSHOT}/{entry.path}": Digest(entry.value) for entry in snapshot.entries if entry.kind != "link"}
    left_out: list[str] = []
    inputs: dict[str, str] = {}
    changed = changed_inputs(record.results.inputs, record.configuration.inputs)
    for name, path in record.configuration.inputs.items():
        found = None if name in changed else _small_input(path, small_input_bytes)
        if found is None:
            why = "changed since the run" if name in changed else f"more than {small_input_bytes:,} bytes, or more than files"
            left_out.append(f"the input `{name}` is left out ({why}): {path}")
            continue
        inputs[name] = f"{INPUTS}/{name}"
        members |= {f"{INPUTS}/{name}{inner}": place for inner, place in found.items()}
    for digest, place in (packages or {}).items():
        members[f"{PACKAGES}/{digest}/{place.name}"] = place
        digests[f"{PACKAGES}/{digest}/{place.name}"] = digest
    files = {
        member: (place.stat().st_size, digests.get(member) or Digest.of_file(place))
        for member, place in sorted(members.items())
    }
    manifest = Manifest(
        record, environment, lock, snapshot, files, inputs, {d: p.name for d, p in sorted((packages or {}).items())}
    )
    executable = {f"{SNAPSHOT}/{entry.path}" for entry in snapshot.entries if entry.kind == "executable"}
    with (
        atomic_writer(target) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as tar,
    ):
        text = manifest.to_json()
        tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for name in sorted(snapshot.directories):
            tar.addfile(_member(f"{SNAPSHOT}/{name}", kind=tarfile.DIRTYPE, mode=0o755))
        for entry in snapshot.entries:
            if entry.kind == "link":
                link = _member(f"{SNAPSHOT}/{entry.path}", kind=tarfile.SYMTYPE)
                link.linkname = entry.value
                tar.addfile(link)
        for member, (size_bytes, digest) in files.items():
            _add_file(tar, _member(member, size_bytes, mode=0o755 if member in executable else 0o644), members[member], digest)
    return tuple(left_out)


def _small_input(path: Path, limit_bytes: int) -> dict[str, Path] | None:
    """Return the files of an input by their path below it (``""``: it is a file); None: too large, or links and the like."""
    if path.is_file():
        return {"": path} if path.stat().st_size <= limit_bytes else None
    found: dict[str, Path] = {}
    total = 0
    for place in sorted(path.rglob("*")):
        if place.is_symlink() or not (place.is_dir() or place.is_file()):
            return None
        if place.is_file():
            total += place.stat().st_size
            found[f"/{place.relative_to(path).as_posix()}"] = place
        if total > limit_bytes:
            return None
    return found or None


def _member(name: str, size_bytes: int = 0, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode = size_bytes, kind, mode
    return info


def _add_file(tar: tarfile.TarFile, info: tarfile.TarInfo, place: Path, digest: Digest) -> None:
    with place.open("rb") as stream:
        reader = _Hashing(stream)
        try:
            tar.addfile(info, reader)
        except OSError as error:
            if error.errno is not None:
                raise
            raise _changed(place) from error  # it ended early
        if reader.digest != digest:
            raise _changed(place)


def _changed(place: Path) -> Conflict:
    return Conflict(f"{place} changed while it was exported", hint="try again", code="snapshot_changed")


class _Hashing:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self._hasher.update(piece)
        return piece

    @property
    def digest(self) -> str:
        return self._hasher.hexdigest()
