"""The files of a run as artifacts of a registry: what it takes along, what it says while it is on, what it leaves.

Tags: ``r-<key>`` | ``c-<key>[-<rank>]``: which start has it, and how it stands | ``o-<key>[-<rank>]``. Each layer is a file, or a directory as a tar.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from wardian.digest import Digest
from wardian.errors import DiskFull
from wardian.image.blob import CHUNK, VerifyingReader, put_empty
from wardian.image.oci import Descriptor, InvalidImage, Manifest, read_manifest
from wardian.package.archive_streams import decompressed
from wardian.run.targets.bring_home import unpack_home
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wardian.image.registry import RegistryImageStore

ARTIFACT = "application/vnd.wardian.run.v1"
FILE, TREE = "application/vnd.wardian.run.file.v1", "application/vnd.wardian.run.tree.v1.tar+zstd"
PATH, SIZE, RUN, NODES, CLAIM = (
    "dev.wardian.path",
    "dev.wardian.size",
    "dev.wardian.run",
    "dev.wardian.nodes",
    "dev.wardian.claim",
)  # annotations
BEHIND = "dev.wardian.behind"  # what could not be read, as JSON
_LEVEL = 3
_MOST_LAYERS = 20_000
_PACKAGE = re.compile(r"packages/([0-9a-f]{64})/[^/]+")


def sent_tag(key: str) -> str:
    """Return the tag of what a run takes along."""
    return f"r-{key}"


def said_tag(key: str, rank: int = 0) -> str:
    """Return the tag of what a node of a run says while it is on."""
    return f"c-{key}-{rank}" if rank else f"c-{key}"


def left_tag(key: str, rank: int = 0) -> str:
    """Return the tag of what a node of a run leaves."""
    return f"o-{key}-{rank}" if rank else f"o-{key}"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Files of a run in a registry.

    Attributes:
        layers: path below the run's directory → its layer.  notes: annotations.  digest: of the manifest; None: not there yet.
    """

    layers: Mapping[str, Descriptor] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    digest: Digest | None = None

    @classmethod
    def find(cls, store: RegistryImageStore, reference: str) -> RunFiles | None:
        """Return what is under a tag or digest; None: nothing is.

        Raises:   InvalidImage: something else is.  Unavailable.  Denied.
        """
        found = store.find(reference)
        if found is None:
            return None
        manifest = read_manifest(found.content, found.descriptor.media_type)
        if not isinstance(manifest, Manifest) or manifest.artifact_type != ARTIFACT or len(manifest.layers) > _MOST_LAYERS:
            raise InvalidImage(f"{store.name}:{reference} holds no files of a run", code="tag_mismatch")
        layers: dict[str, Descriptor] = {}
        for layer in manifest.layers:
            path = dict(layer.annotations).get(PATH, "")
            if path in layers or not _is_plain(path) or layer.media_type not in (FILE, TREE):
                raise InvalidImage(
                    f"{store.name}:{reference} names `{path[:200]}`, which is no file of a run", code="tag_mismatch"
                )
            layers[path] = layer
        return cls(layers, dict(manifest.annotations), found.descriptor.digest)

    def put(self, store: RegistryImageStore, key: str, tag: str) -> RunFiles:
        """Store the manifest; its layers are there. Return it with its digest."""
        notes = {**self.notes, RUN: key}
        layers = tuple(layer for _, layer in sorted(self.layers.items()))
        manifest = Manifest(put_empty(store), layers, artifact_type=ARTIFACT, annotations=tuple(sorted(notes.items())))
        return replace(self, notes=notes, digest=store.tag(manifest.to_json(), manifest.media_type, [tag]).digest)


def put_path(
    store: RegistryImageStore,
    path: str,
    here: str,
    *,
    wanted: Callable[[str], bool] | None = None,
    notes: list[str] | None = None,
) -> Descriptor:
    """Bring a file or a directory to a registry, as the layer ``path``; return its descriptor.

    Args:     wanted: which files of a directory, by their paths below it; None: all.  notes: gets what could not be read.
    Raises:   Unavailable.  Denied.  DiskFull.  OSError: it is not there.
    """
    annotations = ((PATH, path),)
    if match := _PACKAGE.fullmatch(path):  # by content already
        size = store.size_of(Digest(match[1]))
        if size is not None:
            return Descriptor(FILE, Digest(match[1]), size, annotations=annotations)
    if not stat.S_ISDIR(os.stat(here).st_mode):  # noqa: PTH116 - a string
        blob = Descriptor(FILE, Digest.of_file(Path(here)), Path(here).stat().st_size, annotations=annotations)
        store.put(blob, lambda: Path(here).open("rb"))  # noqa: SIM115 - who is given it closes it
        return blob
    with tempfile.TemporaryFile() as spool, disk_errors(Path(tempfile.gettempdir())):
        packed = _Packed(spool)
        with tarfile.open(
            fileobj=cast("IO[bytes]", packed), mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK, encoding="utf-8", errors="surrogateescape"
        ) as tar:  # fmt: skip
            _pack(tar, here, wanted or (lambda _: True), notes if notes is not None else [])
        packed.finish()
        blob = Descriptor(TREE, packed.digest, packed.size, annotations=(*annotations, (SIZE, str(packed.inside))))

        @contextmanager
        def opened() -> Iterator[IO[bytes]]:
            spool.seek(0)
            yield spool

        store.put(blob, opened)
    return blob


def fetch_tree(store: RegistryImageStore, layer: Descriptor, place: Path, limit_bytes: int | None = None) -> list[str]:
    """Write a directory as the new directory ``place``; return what stays behind. See ``unpack_home``.

    Nothing is believed: what is read is the layer by its digest, and no more comes out of it than it says and there is room for.

    Raises:   Unavailable: it is damaged.  DiskFull.
    """
    said = dict(layer.annotations).get(SIZE, "")
    size = int(said) if re.fullmatch(r"[0-9]{1,18}", said) else 0
    found = os.statvfs(place.parent)
    free = found.f_bavail * found.f_frsize
    allowed = min(free, size if limit_bytes is None else min(size, limit_bytes))
    if size > free:
        raise DiskFull(str(place.parent), needed_bytes=size, free_bytes=free)
    with store.open(layer) as source:
        verified = source if isinstance(source, VerifyingReader) else VerifyingReader(source, layer, store.name)
        behind = unpack_home(decompressed(cast("IO[bytes]", verified), "zst"), place, allowed)
        while verified.read(CHUNK):  # what follows the tar's end counts for its digest
            pass
    return behind


def fetch_file(store: RegistryImageStore, layer: Descriptor, place: Path, mode: int = 0o600) -> None:
    """Write a file as the new file ``place``."""
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as target, store.open(layer) as source:
        while piece := source.read(CHUNK):
            target.write(piece)


def changes_since(directory: Path) -> Callable[[str], bool]:
    """Return what tells of a path whether it is new or has changed in ``directory`` since now."""
    before = {path: _sign(directory / path) for path in _paths(str(directory))}
    return lambda path: before.get(path) != _sign(directory / path)


def _paths(directory: str) -> Iterator[str]:
    for parent, directories, names in os.walk(directory):
        inside = os.path.relpath(parent, directory)
        for name in (*directories, *names):
            yield name if inside == "." else f"{inside}/{name}"


def _sign(path: Path) -> tuple[int, ...]:
    found = os.lstat(path)
    if stat.S_ISDIR(found.st_mode):
        return (stat.S_IFDIR,)
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino


def _pack(tar: tarfile.TarFile, directory: str, wanted: Callable[[str], bool], notes: list[str]) -> None:
    for path in sorted(_paths(directory)):
        full = f"{directory}/{path}"
        try:
            if not wanted(path):
                continue
            member: tarfile.TarInfo | None = cast("tarfile.TarInfo | None", tar.gettarinfo(full, arcname=path))
            if member is None:  # a socket
                notes.append(f"{path}: neither a file nor a directory nor a link")
                continue
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            if member.islnk():  # its first name may not come along
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", os.lstat(full).st_size
            if member.isreg():
                with open(full, "rb", opener=_opener) as content:
                    tar.addfile(member, content)
            else:
                tar.addfile(member)
        except (PermissionError, FileNotFoundError) as error:
            notes.append(f"{path}: {error.strerror}")


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


class _Packed:
    """Compresses what is written into ``spool``; knows its digest and sizes."""

    def __init__(self, spool: IO[bytes]) -> None:
        import zstandard

        self._spool, self._hasher = spool, hashlib.sha256()
        self._stream = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self.size = self.inside = 0

    def write(self, piece: bytes) -> int:
        self.inside += len(piece)
        self._keep(self._stream.compress(bytes(piece)))
        return len(piece)

    def finish(self) -> None:
        self._keep(self._stream.flush())
        self._spool.flush()

    @property
    def digest(self) -> Digest:
        return Digest(self._hasher.hexdigest())

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        self._hasher.update(piece)
        self._spool.write(piece)


def _is_plain(path: str) -> bool:
    return bool(path) and "\0" not in path and not path.startswith("/") and not {"", ".", ".."} & set(path.split("/"))
