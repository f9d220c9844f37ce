"""Reads run files: whoever made them, nothing is written outside of their place, and every byte is what it claims to be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from wardian.errors import NotFound
from wardian.package.archive_paths import Limits, Tree, refuse
from wardian.package.archive_streams import damage, open_tar
from wardian.run.run_file import MANIFEST, PACKAGES, SNAPSHOT, Manifest, UnreadableRunFile
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.lock.lock import Lock
    from wardian.run.record import RunRecord

_CHUNK = 1 << 20
# A run file may hold names that no package may: bytes that are not UTF-8, and the backslash. The rules for paths and links see
# characters of private use in their place; two names that thereby became one are refused.
_STAND_INS = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)} | {ord("\\"): 0xF700 + ord("\\")}
_MANIFEST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """A run file, unpacked and verified.

    Attributes:
        source: the source directory as it was.
        inputs: those that came along, by name.
        packages: archives of the lock that came along, by digest.
    """

    record: RunRecord
    environment: Environment | None
    lock: Lock | None
    source: Path
    inputs: Mapping[str, Path]
    packages: Mapping[Digest, Path]


def load_run(path: Path, directory: Path) -> LoadedRun:
    """Unpack the run file ``path`` into the new directory ``directory`` and return what is in it.

    ``directory`` is the caller's to remove, also after an error.

    Raises:   NotFound: no such file.  UnreadableRunFile: no run file, or its parts don't belong together.
              BadArchive: anything hostile or damaged; the message names the member.  DiskFull.
    """
    if not path.is_file():
        raise NotFound(f"there is no run file {path}", code="no_such_path")
    manifest = _checked(path)
    with disk_errors(directory, sum(size for size, _ in manifest.files.values())):
        _unpack(path, directory, manifest)
    return LoadedRun(
        record=manifest.record,
        environment=manifest.environment,
        lock=manifest.lock,
        source=directory / SNAPSHOT,
        inputs={name: directory / place for name, place in manifest.inputs.items()},
        packages={digest: directory / PACKAGES / digest / name for digest, name in manifest.packages.items()},
    )


def _checked(path: Path) -> Manifest:
    """Read all members' headers and nothing else; return the manifest if every member may be written, and none is missing."""
    manifest: Manifest | None = None
    # members are not compressed: what they expand to is in the file
    tree = Tree(path.name, path.stat().st_size, Limits(expanded_bytes=1 << 62), case_sensitive=True)
    with path.open("rb") as stream, damage(path.name), open_tar(stream) as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # a stream never goes back: forget them
            if manifest is None:
                manifest = _manifest(tar, member)
            elif member.isdir():
                tree.add_directory(_ruled(member.name))
            elif member.issym():
                tree.add_symlink(_ruled(member.name), _ruled(member.linkname))
            elif member.isreg() and not member.issparse():
                tree.add_file(_ruled(member.name), member.size)
            else:
                refuse(path.name, member.name, "is no file, directory or link", code="unsafe_member")
    if manifest is None:
        raise UnreadableRunFile(f"{path} is not a run file: it is empty")
    for name in manifest.snapshot.directories:
        tree.add_directory(_ruled(f"{SNAPSHOT}/{name}"))
    tree.finish(SNAPSHOT)
    expected = {_ruled(member): size for member, (size, _) in manifest.files.items()}
    if tree.files != expected:
        first = min(set(tree.files.items()) ^ set(expected.items()))[0]
        refuse(path.name, first, "is not what the manifest says", code="wrong_digest")
    links = {
        _ruled(f"{SNAPSHOT}/{entry.path}"): _ruled(entry.value) for entry in manifest.snapshot.entries if entry.kind == "link"
    }
    if tree.links != links:
        first = min(set(tree.links.items()) ^ set(links.items()))[0]
        refuse(path.name, first, "is not what the manifest says", code="wrong_digest")
    for name, place in manifest.inputs.items():
        if not any(member == _ruled(place) or member.startswith(f"{_ruled(place)}/") for member in tree.files):
            refuse(path.name, place, f"is missing, the input `{name}`", code="wrong_digest")
    return manifest


def _ruled(name: str) -> str:
    return name.translate(_STAND_INS)


def _manifest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Manifest:
    stream = tar.extractfile(member) if member.isreg() and member.name == MANIFEST and member.size <= _MANIFEST_BYTES else None
    if stream is None:
        raise UnreadableRunFile(f"this is not a run file: it does not begin with {MANIFEST}")
    return Manifest.from_json(stream.read())


def _unpack(path: Path, directory: Path, manifest: Manifest) -> None:
    """Write the members, whose paths are known to be good: files first, links last, so that none is written through a link."""
    directory.mkdir(parents=True)
    (directory / SNAPSHOT).mkdir()
    for name in manifest.snapshot.directories:
        (directory / SNAPSHOT / name).mkdir(parents=True, exist_ok=True)
    executable = {f"{SNAPSHOT}/{entry.path}" for entry in manifest.snapshot.entries if entry.kind == "executable"}
    missing = set(manifest.files)
    with path.open("rb") as stream, damage(path.name), open_tar(stream) as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]
            content = tar.extractfile(member) if member.name in manifest.files else None
            if content is not None:
                place = directory / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                if _write(content, place) != manifest.files[member.name][1]:
                    refuse(path.name, member.name, "has another digest than the manifest says", code="wrong_digest")
                place.chmod(0o755 if member.name in executable else 0o644)
                missing.remove(member.name)
    if missing:  # there under another spelling of its path
        refuse(path.name, min(missing), "is missing", code="wrong_digest")
    for entry in manifest.snapshot.entries:
        if entry.kind == "link":
            (directory / SNAPSHOT / entry.path).symlink_to(entry.value)


def _write(content: IO[bytes], place: Path) -> str:
    hasher = hashlib.sha256()
    with place.open("xb") as target:
        while piece := content.read(_CHUNK):
            hasher.update(piece)
            target.write(piece)
    return hasher.hexdigest()
