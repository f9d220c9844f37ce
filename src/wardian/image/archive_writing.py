"""Images in one file, written: OCI archives and Docker archives. The same image is the same file, whoever writes it and when."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import stat
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from wardian.errors import BadArchive, Conflict, NotFound
from wardian.events import Event, silent
from wardian.image.archive_index import KINDS, compression_of
from wardian.image.blob import CHUNK, named_in, read_whole
from wardian.image.copy import Copied, copy_image, select_image
from wardian.image.layout import REF_NAME, VERSION
from wardian.image.oci import INDEX, Descriptor, InvalidImage, Manifest, read_config, read_manifest
from wardian.image.reference import parse_image_reference
from wardian.package.archive_paths import Limits
from wardian.package.archive_streams import Bounded, damage, decompressed
from wardian.tools.disk import atomic_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.image.store import Found, ImageStore

_BLOCK = 512


def write_oci_archive(
    source: ImageStore,
    reference: str,
    path: Path,
    names: Sequence[str] = (),
    *,
    platform: str | None = None,
    listener: Listener = silent,
) -> Copied:
    """Write an image, or an index with all its images, to a tar of an OCI layout; digests stay as they are.

    All of the file is there in the end, or nothing of it.

    Raises:   what ``copy_image`` raises.  Conflict: code ``not_a_file``: something that is no file lies at ``path``; what a link leads
              to is replaced, not the link.  NotFound: code ``no_such_directory``.
    """
    with atomic_writer(_file_to_write(path)) as stream:
        sink = _OciArchive(stream, str(path))
        copied = copy_image(source, reference, sink, names, platform=platform, jobs=1, listener=listener)
        sink.finish(copied.descriptor, names)
    return copied


def write_docker_archive(
    source: ImageStore,
    reference: str,
    path: Path,
    names: Sequence[str] = (),
    *,
    platform: str | None = None,
    listener: Listener = silent,
) -> Digest:
    """Write an image so that every ``docker load`` and ``podman load`` takes it; return the image's id: its configuration's digest.

    Layers are written as plain tars, whatever they were compressed with, and compared with the configuration's diff_ids. All of the file
    is there in the end, or nothing of it.

    Args:     names: ``NAME:TAG`` that it gets when it is loaded.
              platform: needed if ``reference`` names an index.
    Raises:   NotFound, BadArchive: also code ``wrong_digest``: a layer is not what the configuration says.  InvalidImage: it is an
              artifact, not an image.  InvalidReference, Unavailable, Denied, DiskFull.
              Conflict: code ``not_a_file``.  NotFound: code ``no_such_directory``: see ``write_oci_archive``.
    Source:   Docker image specification 1.2, "Combined image JSON + filesystem changeset format"
    """
    repo_tags = [_repo_tag(name) for name in names]
    found = select_image(source, reference, platform)
    manifest = read_manifest(found.content, found.descriptor.media_type)
    if not isinstance(manifest, Manifest):
        raise InvalidImage(f"{source.name}: `{reference}` holds several images, and a Docker archive one", code="platform_needed",
                           hint=f"say which: {', '.join(m.platform for m in manifest.manifests)}")  # fmt: skip
    config = read_whole(source, manifest.config)
    try:
        diff_ids = read_config(config).diff_ids
    except InvalidImage as error:
        raise error.at(named_in(source, reference)) from error
    if len(diff_ids) != len(manifest.layers):
        raise InvalidImage(f"{source.name}: `{reference}` has {len(manifest.layers)} layers, and its configuration lists {len(diff_ids)}",
                           code="layers_mismatch")  # fmt: skip
    members = [f"{diff_id}.tar" for diff_id in diff_ids]
    listed = [{"Config": f"{manifest.config.digest}.json", "RepoTags": repo_tags or None, "Layers": members}]
    total, done, written = sum(layer.size_bytes for layer in manifest.layers), 0, set()
    with atomic_writer(_file_to_write(path)) as target:
        tar = _Tar(target)
        tar.add("manifest.json", json.dumps(listed, sort_keys=True).encode())
        tar.add(f"{manifest.config.digest}.json", config)
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            if diff_id not in written:
                written.add(diff_id)
                _add_layer(tar, source, layer, diff_id)
            done += layer.size_bytes
            listener(Event("progress", f"writing {path.name}", done, total))
        tar.end()
    return manifest.config.digest


def _file_to_write(path: Path) -> Path:
    """Return the file that is replaced, or made, when an archive is written to ``path``: links are followed."""
    real = Path(os.path.realpath(path))
    try:
        mode = path.stat().st_mode  # not that of `real`: `/dev/stdout` leads to a pipe that has no path
    except FileNotFoundError:
        if real.parent.is_dir():
            return real
        raise NotFound(f"there is no directory {real.parent} to write {path.name} to", code="no_such_directory",
                       hint=f"`mkdir -p {shlex.quote(str(real.parent))}`") from None  # fmt: skip
    except OSError as error:  # a link that leads to itself, a file in place of a directory
        raise _no_file(path, error.strerror or str(error)) from None
    if stat.S_ISREG(mode):
        return real
    raise _no_file(path, f"it is {KINDS.get(stat.S_IFMT(mode), 'no file')}")


def _no_file(path: Path, why: str) -> Conflict:
    return Conflict(
        f"an archive cannot be written to {path}: {why}",
        code="not_a_file",
        hint="name a file, such as `docker-archive:image.tar`",
    )


def _add_layer(tar: _Tar, source: ImageStore, layer: Descriptor, diff_id: Digest) -> None:
    place = f"the layer sha256:{layer.digest} of {source.name}"
    hasher = hashlib.sha256()
    with source.open(layer) as stream, damage(place):
        packed = io.BufferedReader(cast("io.RawIOBase", stream), CHUNK)
        kind = compression_of(packed.peek(8))
        plain = Bounded(decompressed(packed, kind), place, Limits().allowed(layer.size_bytes)) if kind else packed

        def pieces() -> bytes:
            piece = plain.read(CHUNK)
            hasher.update(piece)
            return piece

        tar.add_unsized(f"{diff_id}.tar", pieces)
        while packed.read(CHUNK):  # what follows the compressed data belongs to the blob, and to its digest
            pass
    if (actual := hasher.hexdigest()) != diff_id:
        raise BadArchive(f"{place} unpacks to sha256 {actual}, and the configuration says {diff_id}", code="wrong_digest",
                         hint="it is damaged or was exchanged: push it, or build it, anew")  # fmt: skip


def _repo_tag(name: str) -> str:
    reference = parse_image_reference(name)
    familiar = reference.name.removeprefix("docker.io/").removeprefix("library/")
    return f"{familiar}:{reference.tag or 'latest'}"


class _Tar:
    """Writes files into a tar, some of them before their size is known. ``stream`` can go back."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream

    def add(self, name: str, content: bytes) -> None:
        left = [content]
        self.add_unsized(name, lambda: left.pop() if left else b"")

    def add_unsized(self, name: str, next_piece: Callable[[], bytes]) -> None:
        start, size = self._stream.tell(), 0
        self._stream.write(bytes(_BLOCK))
        while piece := next_piece():
            size += len(piece)
            self._stream.write(piece)
        self._stream.write(bytes(-size % _BLOCK))
        end = self._stream.tell()
        info = tarfile.TarInfo(name)
        info.size = size
        self._stream.seek(start)
        self._stream.write(info.tobuf(tarfile.GNU_FORMAT))
        self._stream.seek(end)

    def end(self) -> None:
        self._stream.write(bytes(2 * _BLOCK))


class _OciArchive:
    """An archive in the making, as the target of a copy. Not for several threads."""

    def __init__(self, stream: IO[bytes], name: str):
        self.name = name
        self._tar = _Tar(stream)
        self._tar.add("oci-layout", VERSION)
        self._there: set[str] = set()

    def find(self, reference: str) -> Found | None:  # noqa: ARG002
        return None

    def open(self, blob: Descriptor) -> AbstractContextManager[IO[bytes]]:
        raise BadArchive(f"{self.name} is not complete yet: sha256:{blob.digest}", code="incomplete_archive")

    def put(
        self,
        blob: Descriptor,
        open_content: Callable[[], AbstractContextManager[IO[bytes]]],
        **_options: object,
    ) -> str:
        if blob.digest in self._there:
            return "present"
        with open_content() as stream:
            self._tar.add_unsized(f"blobs/sha256/{blob.digest}", lambda: stream.read(CHUNK))
        self._there.add(blob.digest)
        return "sent"

    def tag(self, manifest: bytes, media_type: str, _names: Sequence[str] = ()) -> Descriptor:
        descriptor = Descriptor.of(manifest, media_type)
        self.put(descriptor, lambda: io.BytesIO(manifest))
        return descriptor

    def tags(self, prefix: str = "") -> list[str]:  # noqa: ARG002
        return []

    def finish(self, root: Descriptor, names: Sequence[str]) -> None:
        entries = [{**root.as_document(), "annotations": {REF_NAME: name}} for name in names] or [root.as_document()]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        self._tar.add("index.json", json.dumps(index, sort_keys=True, separators=(",", ":")).encode())
        self._tar.end()
