"""Images in a directory: an OCI image layout, shared by the processes of this machine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from typing import IO, TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import InvalidDigest, InvalidReference, NotFound, wrong_in
from wardian.image.layout_blobs import BlobDirectory
from wardian.image.oci import (
    INDEX,
    LARGEST_MANIFEST_BYTES,
    Descriptor,
    Index,
    InvalidImage,
    Manifest,
    check_tags,
    read_manifest,
)
from wardian.image.store import Found
from wardian.small_file import NoSmallFile, read_small
from wardian.tools.disk import FileLock, disk_errors, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.image.store import ImageStore

REF_NAME = "org.opencontainers.image.ref.name"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_LARGEST_INDEX_BYTES = 256 << 20
_CLEAN_UP_AFTER_S = 3600.0


class LayoutImageStore:
    """An OCI image layout: ``oci-layout``, ``index.json``, ``blobs/sha256``. Contract: ``ImageStore``. Other tools read it.

    ``index.json`` is what makes an image known, and is replaced last, as a whole.

    Args:     root: the layout's directory; made when something is put.
              link_from: below these directories files are never changed in place: blobs are hard links to them.
    """

    def __init__(self, root: Path, *, link_from: Sequence[Path] = ()):
        self.root = root
        self.name = os.fsencode(root).decode(
            "utf-8", "backslashreplace"
        )  # the same words whatever the locale; records take no others
        self._blobs = BlobDirectory(root, link_from)
        self._read: tuple[tuple[int, int, int], list[dict[str, Any]]] | None = None

    # -- ImageStore ------------------------------------------------------------------------------------------------

    def find(self, reference: str) -> Found | None:
        """See ``ImageStore``. ``""`` is the only image that the layout holds.

        Raises:   InvalidReference: code ``ambiguous_image``: ``""``, and it holds several; the hint names them.
        """
        if reference.startswith("sha256:"):
            return self._found(Digest(reference), "")
        named = {
            (entry.get("digest"), str(entry.get("mediaType", "")))
            for entry in self._entries()
            if not reference or _tag_of(entry) == reference
        }
        if len(named) > 1 and not reference:
            raise InvalidReference(f"{self.name} holds {len(named)} images", code="ambiguous_image",
                                   hint=f"say which: {', '.join(self._names()[:10])}")  # fmt: skip
        if len(named) > 1:
            raise InvalidImage(f"`{reference}` names {len(named)} images in {self.name}", code="ambiguous_tag")
        for digest, media_type in named:
            try:
                found = self._found(Digest(str(digest)), media_type)
            except InvalidDigest as error:
                raise self._damaged(f"`{reference}` has no sha256 digest") from error
            if found is None:
                raise self._damaged(f"the manifest {digest} of `{reference}` is missing or is none")
            return found
        return None

    def open(self, blob: Descriptor) -> AbstractContextManager[IO[bytes]]:
        """See ``ImageStore``. A damaged blob is removed, so that it can be put anew."""
        return self._blobs.open(blob)

    def put(
        self,
        blob: Descriptor,
        open_content: Callable[[], AbstractContextManager[IO[bytes]]],
        *,
        origin: ImageStore | None = None,  # noqa: ARG002 - nothing to mount from
    ) -> str:
        """See ``ImageStore``. What is here already and was not touched is not read again; else it is compared, and replaced."""
        self._prepare()
        return self._blobs.put(blob, open_content)

    def tag(self, manifest: bytes, media_type: str, names: Sequence[str] = ()) -> Descriptor:
        """See ``ImageStore``."""
        check_tags(names)
        parsed = read_manifest(manifest, media_type)
        descriptor = Descriptor.of(manifest, media_type)
        self._prepare()
        with disk_errors(self.root, len(manifest)):
            with self._blobs.lock():
                for needed in _needs(parsed):
                    self._demand(needed)
            self.put(descriptor, lambda: io.BytesIO(manifest))
            if names:
                with self._blobs.lock():
                    kept = [entry for entry in self._entries() if _tag_of(entry) not in names]
                    self._write([*kept, *({**descriptor.as_document(), "annotations": {REF_NAME: name}} for name in names)])
        return descriptor

    def tags(self, prefix: str = "") -> list[str]:
        """See ``ImageStore``."""
        return sorted({tag for entry in self._entries() if (tag := _tag_of(entry)) and tag.startswith(prefix)})

    # -- what a directory can do beside that -----------------------------------------------------------------------

    def exclusively(self) -> AbstractContextManager[object]:
        """Let nobody else who asks for this, from whatever machine, in before the block ends: to look at a tag and set it."""
        self._prepare()
        return FileLock(self.root / ".wardian" / "tagging")

    def untag(self, names: Sequence[str]) -> None:
        """Forget these tags; those that are not there are no error. What they named stays until ``collect``."""
        if (self.root / "index.json").exists():
            with disk_errors(self.root), self._blobs.lock():
                self._write([entry for entry in self._entries() if _tag_of(entry) not in names])

    def collect(self, *, grace_s: float = _CLEAN_UP_AFTER_S, now_s: Callable[[], float] = time.time) -> int:
        """Remove the blobs that no tag leads to, and what killed processes left; return the bytes that were freed.

        Only blobs that were put through this class, and not within the last ``grace_s`` seconds: an image that is being
        put has no tag yet. Safe beside everything else.
        """
        if not self._blobs.is_prepared():
            return 0
        with self._blobs.lock():
            freed = self._blobs.collect(self.reachable(), grace_s, now_s)
        return freed + self._blobs.sweep(grace_s, now_s)

    def holdings(self) -> list[tuple[Digest, Path, float]]:
        """Return each blob that was put through this class: its digest, its file, and when it was asked for last (since 1970)."""
        return self._blobs.noted()

    def reachable(self, manifests: Iterable[Digest] = (), *, tags: Callable[[str], bool] = lambda _tag: True) -> set[Digest]:
        """Return the blobs that these manifests, and the tags that ``tags`` accepts, lead to; themselves among them."""
        named = [(entry.get("digest"), str(entry.get("mediaType", ""))) for entry in self._entries() if tags(_tag_of(entry))]
        return self._reachable([*named, *((digest, "") for digest in manifests)])

    def named(self) -> list[tuple[str, Digest]]:
        """Return each tag with the digest that it names."""
        found = []
        for entry in self._entries():
            with contextlib.suppress(InvalidDigest):
                found.append((_tag_of(entry), Digest(str(entry.get("digest")))))
        return [(tag, digest) for tag, digest in found if tag]

    def remove(self, digest: Digest, *, unless_since: float) -> bool:
        """Remove one blob that nothing needs, unless it was asked for later than ``unless_since``; return whether it is gone."""
        if not self._blobs.is_prepared():
            return True
        with self._blobs.lock():
            return self._blobs.remove(digest, unless_since)

    def _names(self) -> list[str]:
        """Return what the images can be asked for by: tags, and ``@sha256:…`` of those that have none."""
        return [*self.tags(), *sorted({f"@{entry.get('digest')}" for entry in self._entries() if not _tag_of(entry)})]

    # -- index.json ------------------------------------------------------------------------------------------------

    def _entries(self) -> list[dict[str, Any]]:
        path = self.root / "index.json"
        try:
            state = path.stat()
            key = (state.st_ino, state.st_mtime_ns, state.st_size)
            if self._read is not None and self._read[0] == key:
                return self._read[1]
            content = read_small(path, _LARGEST_INDEX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except NoSmallFile as error:
            raise self._damaged(f"index.json cannot be read: {error.strerror}") from error
        try:
            document = json.loads(content)
            entries = document["manifests"]
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise TypeError("`manifests` is not a list of descriptors")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(f"index.json is damaged: {wrong_in(error)}") from error
        self._read = (key, entries)
        return entries

    def _write(self, entries: list[dict[str, Any]]) -> None:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        write_atomically(self.root / "index.json", json.dumps(document, separators=(",", ":")).encode())

    def _damaged(self, what: str) -> InvalidImage:
        return InvalidImage(
            f"{self.name}: {what}", code="damaged_layout", hint="remove the tag, or the whole layout, and push or build anew"
        )

    # -- blobs -----------------------------------------------------------------------------------------------------

    def _found(self, digest: Digest, media_type: str) -> Found | None:
        read = self._blobs.read(digest, LARGEST_MANIFEST_BYTES)
        if read is None:
            if media_type and (self._blobs.size_of(digest) or 0) > LARGEST_MANIFEST_BYTES:
                raise InvalidImage(
                    f"{self.name}: the manifest sha256:{digest} is larger than {LARGEST_MANIFEST_BYTES:,} bytes",
                    code="manifest_too_large",
                )
            return None
        content, seen = read
        if Digest.of(content) != digest:
            self._blobs.drop(digest, seen)
            raise self._damaged(f"the manifest sha256:{digest} is damaged")
        try:
            parsed = read_manifest(content, media_type)
        except InvalidImage as error:
            if media_type:
                raise InvalidImage(
                    f"{self.name}@sha256:{digest}: {error.message}", hint=error.hint, code=error.stable_code
                ) from error
            return None
        return Found(Descriptor(parsed.media_type, digest, len(content)), content)

    def _demand(self, needed: Descriptor) -> None:
        size_bytes = self._blobs.size_of(needed.digest)
        if size_bytes is not None and size_bytes != needed.size_bytes:
            raise InvalidImage(f"the blob sha256:{needed.digest} has {size_bytes:,} bytes in {self.name}, and the manifest says {needed.size_bytes:,}",
                               code="wrong_size", hint="one of the two is damaged: build or push the image anew")  # fmt: skip
        if size_bytes is None:
            raise NotFound(f"{self.name} has no blob sha256:{needed.digest}, which the manifest names", code="no_such_blob",
                           hint="put its blobs first")  # fmt: skip

    def _prepare(self) -> None:
        if (self.root / "oci-layout").exists() and self._blobs.is_prepared():
            return
        self._blobs.prepare()
        with disk_errors(self.root):
            with self._blobs.lock():
                if not (self.root / "index.json").exists():
                    self._write([])
            if not (self.root / "oci-layout").exists():
                write_atomically(self.root / "oci-layout", VERSION)

    def _reachable(self, named: Iterable[tuple[Any, str]]) -> set[Digest]:
        reachable: set[Digest] = set()
        todo = []
        for digest, media_type in named:
            with contextlib.suppress(InvalidDigest):
                todo.append((Digest(str(digest)), media_type))
        while todo:
            digest, media_type = todo.pop()
            if digest in reachable:
                continue
            reachable.add(digest)
            with contextlib.suppress(InvalidDigest, InvalidImage):
                read = self._blobs.read(digest, LARGEST_MANIFEST_BYTES)
                parsed = read_manifest(read[0], media_type) if read and Digest.of(read[0]) == digest else None
                if isinstance(parsed, Index):
                    todo += [(child.digest, child.media_type) for child in parsed.manifests]
                elif isinstance(parsed, Manifest):
                    reachable |= {needed.digest for needed in _needs(parsed)}
        return reachable


def _needs(parsed: Manifest | Index) -> tuple[Descriptor, ...]:
    return parsed.manifests if isinstance(parsed, Index) else (parsed.config, *parsed.layers)


def _tag_of(entry: dict[str, Any]) -> str:
    notes = entry.get("annotations")
    return str(notes.get(REF_NAME, "")) if isinstance(notes, dict) else ""
