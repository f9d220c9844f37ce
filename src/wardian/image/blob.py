"""Reading a blob so that nothing but the blob is ever read."""

from __future__ import annotations

import hashlib
import io
from typing import IO, TYPE_CHECKING, Any, NoReturn

from wardian.errors import BadArchive
from wardian.image.oci import EMPTY, LARGEST_MANIFEST_BYTES, Descriptor, ImageConfig, InvalidImage, Manifest, read_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.image.store import ImageStore

CHUNK = 1 << 20


class VerifyingReader(io.RawIOBase):
    """Gives the bytes of ``source``; the last of them only if all of them together are the blob.

    So whoever has read as many bytes as the blob is long has the blob, whether it then asks for the end or not.

    Args:     source: is not closed.  place: where the blob lies, for messages.
              on_damage: called once, before the error is raised.
    Raises:   BadArchive: by a read: code ``wrong_size``, ``wrong_digest``.
    """

    def __init__(self, source: IO[bytes], blob: Descriptor, place: str, on_damage: Callable[[], None] = lambda: None):
        super().__init__()
        self._source = source
        self._blob = blob
        self._place = place
        self._on_damage = on_damage
        self._hasher = hashlib.sha256()
        self._done = 0
        self._checked = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes have been read."""
        return self._done

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes; all that are left if it is negative; none at the end."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if size == 0:
            return b""
        if self._checked:
            return b""
        piece = self._source.read(size)
        self._done += len(piece)
        self._hasher.update(piece)
        if self._done > self._blob.size_bytes:
            self._refuse("wrong_size", "has more bytes")
        if not piece and self._done < self._blob.size_bytes:
            self._refuse("wrong_size", f"ends after {self._done:,} bytes")
        if self._done == self._blob.size_bytes:
            self._check_end()
        return piece

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as one read goes; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        piece = self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def _check_end(self) -> None:
        if self._source.read(1):
            self._refuse("wrong_size", "has more bytes")
        if (actual := self._hasher.hexdigest()) != self._blob.digest:
            self._refuse("wrong_digest", f"has sha256 {actual}")
        self._checked = True

    def _refuse(self, code: str, what: str) -> NoReturn:
        self._on_damage()
        raise BadArchive(
            f"the blob sha256:{self._blob.digest} ({self._blob.size_bytes:,} bytes) {what} in {self._place}", code=code,
            hint="it is damaged or was exchanged: push it, or build it, anew",
        )  # fmt: skip


def read_whole(store: ImageStore, blob: Descriptor, limit_bytes: int = LARGEST_MANIFEST_BYTES) -> bytes:
    """Return a blob that is read into memory, such as a configuration: all of it, compared with its digest.

    Raises:   InvalidImage: code ``blob_too_large``: it says that it is longer than ``limit_bytes``; nothing is read.
              What ``ImageStore.open`` raises.
    """
    if blob.size_bytes > limit_bytes:
        raise InvalidImage(f"the blob sha256:{blob.digest} in {store.name} has {blob.size_bytes:,} bytes", code="blob_too_large",
                           hint=f"of its kind ({blob.media_type[:80]}) at most {limit_bytes:,} are read")  # fmt: skip
    with store.open(blob) as stream:
        return stream.read()


def named_in(store: ImageStore, reference: str) -> str:
    """Return what people know an image by: the store's name, and the tag or digest there."""
    return f"{store.name}{'@' if reference.startswith('sha256:') else ':'}{reference}"


def read_config_of(store: ImageStore, manifest: Manifest, named: str) -> ImageConfig:
    """Return the configuration of the image that people know as ``named``.

    Raises:   InvalidImage: it is none; names the image and the field.  What ``read_whole`` raises.
    """
    try:
        return read_config(read_whole(store, manifest.config))
    except InvalidImage as error:
        raise error.at(named) from error


def put_bytes(store: ImageStore, content: bytes, media_type: str) -> Descriptor:
    """Bring bytes to a store as a blob; return its descriptor.

    Raises:   what ``ImageStore.put`` raises.
    """
    blob = Descriptor.of(content, media_type)
    store.put(blob, lambda: io.BytesIO(content))
    return blob


def put_empty(store: ImageStore) -> Descriptor:
    """Bring OCI's empty configuration to a store, which artifacts have in place of an image's; return its descriptor."""
    return put_bytes(store, b"{}", EMPTY)


def copy_verified(source: IO[bytes], blob: Descriptor, target: IO[bytes], place: str) -> None:
    """Write ``source`` to ``target``.

    Raises:   BadArchive: it is not ``blob``; something may have been written then.
    """
    reader = VerifyingReader(source, blob, place)
    while piece := reader.read(CHUNK):
        target.write(piece)
