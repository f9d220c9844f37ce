"""Images in one file, read: OCI archives (a layout as a tar) and Docker archives (what ``docker save`` writes)."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, Any, Self, cast

from wardian.digest import Digest
from wardian.errors import BadArchive, Denied, InvalidDigest, InvalidReference, NotFound
from wardian.image.archive_index import TarIndex, compression_of
from wardian.image.blob import VerifyingReader
from wardian.image.layout import REF_NAME
from wardian.image.oci import (
    CONFIG,
    LARGEST_MANIFEST_BYTES,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    MANIFEST,
    Descriptor,
    InvalidImage,
    Manifest,
    read_config,
    read_manifest,
)
from wardian.image.outside_json import WrongJson, read_json
from wardian.image.reference import parse_image_reference
from wardian.image.store import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_LARGEST_LIST_BYTES = 64 << 20
_LAYER_TYPES = {"": LAYER, "gz": LAYER_GZIP, "zst": LAYER_ZSTD}


class ArchiveImageStore:
    """The images of an archive as an ``ImageStore`` that is read and never written. To ``find``, ``""`` is the only image in it.

    Use ``open_oci_archive`` and ``open_docker_archive``; close it afterwards. Safe between threads.

    Args:     named: tags and what they name.  made: manifests that the archive does not hold as such.
              member: the path in the tar of a blob.
    """

    def __init__(
        self,
        name: str,
        tar: TarIndex,
        *,
        named: Sequence[tuple[str, Digest]],
        made: dict[Digest, bytes],
        member: Callable[[Digest], str],
    ):
        self.name = name
        self._tar = tar
        self._named = list(named)
        self._made = made
        self._member = member

    def find(self, reference: str) -> Found | None:
        """See ``ImageStore``.

        Raises:   InvalidReference: code ``ambiguous_image``: ``""``, and it holds several images; the hint names them.
        """
        if reference.startswith("sha256:"):
            return self._found(Digest(reference), required=False)
        if not reference:
            digests = {digest for _, digest in self._named}
            if len(digests) > 1:
                raise InvalidReference(f"{self.name} holds {len(digests)} images", code="ambiguous_image",
                                       hint=f"say which: {', '.join(self._names()[:10])}")  # fmt: skip
        else:
            digests = {digest for name, digest in self._named if name == reference or _full(name) == _full(reference)}
        if len(digests) > 1:
            raise InvalidImage(f"`{reference}` names {len(digests)} images in {self.name}", code="ambiguous_tag")
        return next((self._found(digest, required=True) for digest in digests), None)

    @contextlib.contextmanager
    def open(self, blob: Descriptor) -> Iterator[IO[bytes]]:
        """See ``ImageStore``."""
        member = self._member(blob.digest)
        if not member or self._tar.size_of(member) is None:
            raise NotFound(f"{self.name} has no blob sha256:{blob.digest}", code="no_such_blob")
        with self._tar.open(member) as stream:
            yield cast("IO[bytes]", VerifyingReader(stream, blob, self.name))

    def put(self, *_arguments: object, **_options: object) -> str:
        """Refuse.

        Raises:   Denied: code ``archive_is_read_only``.
        """
        raise self._read_only()

    def tag(self, *_arguments: object, **_options: object) -> Descriptor:
        """Refuse.

        Raises:   Denied: code ``archive_is_read_only``.
        """
        raise self._read_only()

    def tags(self, prefix: str = "") -> list[str]:
        """See ``ImageStore``. Of a Docker archive these are whole names: ``python:3.11``."""
        return sorted({name for name, _ in self._named if name and name.startswith(prefix)})

    def close(self) -> None:
        """Let the file go."""
        self._tar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _names(self) -> list[str]:
        """Return what the images can be asked for by: names, and ``@sha256:…`` of those that have none."""
        return [*self.tags(), *sorted({f"@sha256:{digest}" for name, digest in self._named if not name})]

    def _read_only(self) -> Denied:
        return Denied(f"{self.name} is an archive, and is written as a whole", code="archive_is_read_only",
                      hint="copy the image to a new archive")  # fmt: skip

    def _found(self, digest: Digest, *, required: bool) -> Found | None:
        content = self._made.get(digest)
        if content is None:
            member = self._member(digest)
            size = self._tar.size_of(member) if member else None
            if size is not None and size > LARGEST_MANIFEST_BYTES and required:
                raise InvalidImage(
                    f"{self.name}: the manifest sha256:{digest} is larger than {LARGEST_MANIFEST_BYTES:,} bytes",
                    code="manifest_too_large",
                )
            if size is not None and size <= LARGEST_MANIFEST_BYTES:
                content = self._tar.read(member, LARGEST_MANIFEST_BYTES)
        if content is None:
            if required:
                raise InvalidImage(f"{self.name}: the manifest sha256:{digest} is missing", code="damaged_layout")
            return None
        if Digest.of(content) != digest:
            raise InvalidImage(f"{self.name}: the manifest sha256:{digest} is damaged", code="damaged_layout")
        try:
            parsed = read_manifest(content)
        except InvalidImage:
            if required:
                raise
            return None
        return Found(Descriptor(parsed.media_type, digest, len(content)), content)


def open_oci_archive(path: Path, *, scratch: Path) -> ArchiveImageStore:
    """Open a tar of an OCI layout.

    Args:     scratch: a directory where a compressed archive is expanded; nothing stays there.
    Raises:   NotFound: code ``no_such_archive``.  BadArchive: ``not_an_image_archive``, and whatever ``TarIndex`` refuses.  DiskFull.
    """
    with _closed_on_error(TarIndex(path, scratch=scratch)) as tar:
        entries = _list(path, _json(path, tar, "index.json"), "manifests")
        named = []
        for entry in entries:
            notes = entry.get("annotations")
            try:
                named.append(
                    (str(notes.get(REF_NAME, "")) if isinstance(notes, dict) else "", Digest(str(entry.get("digest"))))
                )
            except InvalidDigest as error:
                raise _no_image(path, "its `index.json` names no sha256 digest") from error
        return ArchiveImageStore(str(path), tar, named=named, made={}, member=lambda digest: f"blobs/sha256/{digest}")


def open_docker_archive(path: Path, *, scratch: Path) -> ArchiveImageStore:
    """Open what ``docker save`` writes. Its images get OCI manifests; the layers stay as they are.

    Layers that are stored as plain tars, which is usual, are known by the configuration's diff_ids; others are read once.

    Args:     scratch: a directory where a compressed archive is expanded; nothing stays there.
    Raises:   NotFound: code ``no_such_archive``.  BadArchive: ``not_an_image_archive``, and whatever ``TarIndex`` refuses.
              InvalidImage: a configuration is none, or does not fit its layers.  DiskFull.
    """
    with _closed_on_error(TarIndex(path, scratch=scratch)) as tar:
        members: dict[Digest, str] = {}
        made: dict[Digest, bytes] = {}
        named: list[tuple[str, Digest]] = []
        for entry in _list(path, {"images": _json(path, tar, "manifest.json")}, "images"):
            content = _docker_manifest(path, tar, entry, members)
            digest = Digest.of(content)
            made[digest] = content
            tags = entry.get("RepoTags")
            named += [(str(tag), digest) for tag in (tags if isinstance(tags, list) else [])] or [("", digest)]
        return ArchiveImageStore(str(path), tar, named=named, made=made, member=lambda digest: members.get(digest, ""))


def _docker_manifest(path: Path, tar: TarIndex, entry: dict[str, Any], members: dict[Digest, str]) -> bytes:
    config_path, layers = entry.get("Config"), entry.get("Layers")
    if not isinstance(config_path, str) or not isinstance(layers, list):
        raise _no_image(path, "its `manifest.json` names no configuration or no layers")
    content = tar.read(config_path, LARGEST_MANIFEST_BYTES)
    if content is None:
        raise _no_image(path, f"the configuration `{config_path[:100]}` is missing")
    config = Descriptor.of(content, CONFIG)
    try:
        diff_ids = read_config(content).diff_ids
    except InvalidImage as error:
        raise error.at(f"{path}: `{config_path[:100]}`") from error
    if len(diff_ids) != len(layers):
        raise InvalidImage(f"{path}: {len(layers)} layers, and the configuration lists {len(diff_ids)}", code="layers_mismatch")
    members[config.digest] = config_path
    described = []
    for member, diff_id in zip(layers, diff_ids, strict=True):
        size = tar.size_of(member) if isinstance(member, str) else None
        if size is None:
            raise _no_image(path, f"the layer `{str(member)[:100]}` is missing")
        with tar.open(member) as stream:
            kind = compression_of(stream.read(8))
        if kind not in _LAYER_TYPES:
            raise InvalidImage(f"{path}: the layer `{member[:100]}` is compressed in a way that images do not know")
        digest = diff_id
        if kind:
            with tar.open(member) as stream:
                digest = Digest.of_stream(stream)
        members[digest] = member
        described.append(Descriptor(_LAYER_TYPES[kind], digest, size))
    return Manifest(config, tuple(described), MANIFEST).to_json()


def _json(path: Path, tar: TarIndex, member: str) -> Any:
    content = tar.read(member, _LARGEST_LIST_BYTES)
    if content is None:
        raise _no_image(path, f"it has no `{member}`")
    try:
        return read_json(content)
    except WrongJson as error:
        raise _no_image(path, f"its `{member}`: {error}") from error


def _list(path: Path, document: Any, key: str) -> list[dict[str, Any]]:
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise _no_image(path, "its list of images is empty, or none")
    return entries


def _no_image(path: Path, why: str) -> BadArchive:
    return BadArchive(f"{path} holds no image that is known here: {why}", code="not_an_image_archive",
                      hint="an OCI archive has an `index.json`, a Docker archive a `manifest.json`")  # fmt: skip


def _full(name: str) -> str:
    """Return a name of a Docker archive in full, as far as it is one."""
    try:
        reference = parse_image_reference(name)
    except InvalidReference:
        return name
    return f"{reference.name}:{reference.wanted}"


@contextlib.contextmanager
def _closed_on_error(tar: TarIndex) -> Iterator[TarIndex]:
    try:
        yield tar
    except BaseException:
        tar.close()
        raise
