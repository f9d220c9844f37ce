"""The port for places that hold images: a directory on this machine, or a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from wardian.image.oci import Descriptor


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest or index as a store holds it: the exact bytes, and their descriptor."""

    descriptor: Descriptor
    content: bytes


class ImageStore(Protocol):
    """One repository of images: blobs and manifests by digest, tags for manifests. Contract: tests/contracts/test_image_store.py.

    Everything that is read is compared with its digest and size; everything is safe between threads and processes. What was
    half written, by a crash, a full disk or a lost network, is never found by a lookup. "Not there" is None; whatever
    keeps a store from saying so is an error (``Unavailable``, ``Denied``), never "not there".
    """

    name: str  # what people know it by, without credentials: `127.0.0.1:5000/team/envs`, or a path

    def find(self, reference: str) -> Found | None:
        """Return the manifest or index that a tag or ``sha256:…`` digest names, or None.

        Raises:   Unavailable, Denied.  InvalidImage: what is there is damaged, or is not what its digest says.
        """
        ...

    def open(self, blob: Descriptor) -> AbstractContextManager[IO[bytes]]:
        """Open a blob for reading, from its beginning, in pieces. Reading its end compares size and digest.

        Raises:   NotFound: code ``no_such_blob``.  Unavailable, Denied.
                  BadArchive: codes ``wrong_digest``, ``wrong_size``; raised by the read that shows it.
        """
        ...

    def put(
        self,
        blob: Descriptor,
        open_content: Callable[[], AbstractContextManager[IO[bytes]]],
        *,
        origin: ImageStore | None = None,
    ) -> str:
        """Bring a blob here, once; return how: ``present``, ``mounted`` or ``sent``. Idempotent.

        ``open_content`` is called only if the bytes are needed, again for each attempt. ``origin``: a store that has the
        blob; one of the same registry is asked to mount it.

        Raises:   Unavailable, Denied, DiskFull.  BadArchive: the content is not what the descriptor says; nothing is kept.
        """
        ...

    def tag(self, manifest: bytes, media_type: str, names: Sequence[str] = ()) -> Descriptor:
        """Store a manifest or index, whose blobs must be here, under its digest and these tags; return its descriptor.

        A tag that exists moves. The manifest is there, whole, before any of its tags.

        Raises:   NotFound: code ``no_such_blob``: something that it names is not here.  Unavailable, Denied, DiskFull.
        """
        ...

    def tags(self, prefix: str = "") -> list[str]:
        """Return the tags that begin with ``prefix``, sorted. A repository that does not exist has none.

        Raises:   Unavailable, Denied.
        """
        ...
