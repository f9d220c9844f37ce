"""Writes a layer: entries in, a compressed tar archive out, its digests taken on the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wardian.digest import Digest
from wardian.image.oci import Descriptor
from wardian.image.tar import write_tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wardian.image.compression import Compression
    from wardian.image.entry import Entry


class Sink(Protocol):
    """What takes a layer's bytes."""

    def write(self, piece: bytes, /) -> object:
        """Take all of ``piece``."""
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was written.

    Attributes:
        descriptor: of the compressed bytes.
        diff_id: sha256 of the tar archive: the same everywhere, whatever the compressor.
        uncompressed_bytes: size of the tar archive.
    """

    descriptor: Descriptor
    diff_id: Digest
    uncompressed_bytes: int


def write_layer(
    entries: Iterable[Entry],
    sink: Sink,
    *,
    compression: Compression,
    mtime: int,
    name: str = "the layer",
    check: Callable[[], None] = lambda: None,
) -> Layer:
    """Write ``entries`` to ``sink`` as one layer and return what it is. One pass; memory does not depend on the sizes.

    Args:     mtime: of everything in it, seconds since 1970.
              name: whose entries these are, for errors.
              check: called between pieces; what it raises stops the work.
    Raises:   BadArchive: as ``write_tar`` does; ``sink`` then holds a part that is good for nothing.
    """
    tar, blob = hashlib.sha256(), hashlib.sha256()
    raw = packed = 0
    compressor = compression.start()

    def give(ready: bytes) -> None:
        nonlocal packed
        if ready:
            blob.update(ready)
            packed += len(ready)
            sink.write(ready)

    for piece in write_tar(entries, mtime=mtime, name=name):
        check()
        tar.update(piece)
        raw += len(piece)
        give(compressor.compress(piece))
    give(compressor.finish())
    return Layer(Descriptor(compression.media_type, Digest(blob.hexdigest()), packed), Digest(tar.hexdigest()), raw)
