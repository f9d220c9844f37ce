"""How layers are compressed: the same content and the same compressor name are the same bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput
from wardian.image.oci import LAYER_GZIP, LAYER_ZSTD

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE_BYTES = 1 << 20  # what a compressor is fed, whatever it was given
_KNOWN = {"zstd": 3, "gzip": 4}
_GZIP_HEADER = b"\x1f\x8b\x08\0" + struct.pack("<L", 0) + b"\0\xff"  # deflate, no name, no time, no level, no system


@dataclass(frozen=True, slots=True)
class Compression:
    """A way to compress layers.

    Attributes:
        name: ``zstd`` (Docker 23, containerd 1.5, podman, Kubernetes) | ``gzip`` (everything).
        level: as the library counts.
    """

    name: str = "zstd"
    level: int = 0

    def __post_init__(self) -> None:
        """Refuse other names; the level 0 becomes the one that is meant for layers.

        Raises:   InvalidInput: code ``unknown_compression``.
        """
        if self.name not in _KNOWN:
            known = " or ".join(f"`{name}`" for name in _KNOWN)
            raise InvalidInput(f"`{self.name}` is not a compression: it is {known}", code="unknown_compression")
        if not self.level:
            object.__setattr__(self, "level", _KNOWN[self.name])

    @property
    def media_type(self) -> str:
        """The media type of a layer that is compressed so."""
        return LAYER_ZSTD if self.name == "zstd" else LAYER_GZIP

    @property
    def compressor(self) -> str:
        """All that decides about the bytes: library, version, version of what is inside it, level.

        Such as ``zstandard-0.25.0/1.5.7:3``. The same everywhere means the same bytes for the same content.
        """
        if self.name == "zstd":
            import zstandard

            return f"zstandard-{zstandard.__version__}/{'.'.join(map(str, zstandard.ZSTD_VERSION))}:{self.level}"
        import zlib_ng
        from zlib_ng.zlib_ng import ZLIBNG_RUNTIME_VERSION

        return f"zlib-ng-{zlib_ng.__version__}/{ZLIBNG_RUNTIME_VERSION}:{self.level}"

    def start(self) -> Compressor:
        """Return a compressor for one layer."""
        return Compressor(_Zstd(self.level) if self.name == "zstd" else _Gzip(self.level))


class Compressor:
    """Compresses one stream. What comes out does not depend on the pieces that went in, or on where results are asked for."""

    def __init__(self, engine: Any):
        self._compress: Callable[[bytes], bytes] = engine.compress
        self._finish: Callable[[], bytes] = engine.finish
        self._pending = bytearray()

    def compress(self, piece: bytes) -> bytes:
        """Take ``piece`` and return what is ready, perhaps nothing. Lets other threads run."""
        if not self._pending and len(piece) == PIECE_BYTES:  # the usual case: nothing is copied
            return self._compress(piece)
        self._pending += piece
        ready = []
        while len(self._pending) >= PIECE_BYTES:
            ready.append(self._compress(bytes(self._pending[:PIECE_BYTES])))
            del self._pending[:PIECE_BYTES]
        return b"".join(ready)

    def finish(self) -> bytes:
        """Return the rest. The compressor cannot be used again."""
        last = self._compress(bytes(self._pending)) if self._pending else b""
        return last + self._finish()


class _Zstd:
    """One thread, no size written ahead: with either, libzstd chooses other blocks."""

    def __init__(self, level: int):
        import zstandard

        parameters = zstandard.ZstdCompressor(level=level, threads=0, write_checksum=False, write_content_size=False)
        self._stream = parameters.compressobj()
        self.compress = self._stream.compress

    def finish(self) -> bytes:
        return bytes(self._stream.flush())


class _Gzip:
    """A gzip member with a header of ours: libraries write the time, the level and the system into theirs."""

    def __init__(self, level: int):
        from zlib_ng import zlib_ng

        self._crc32 = zlib_ng.crc32
        self._stream = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS, 8, zlib_ng.Z_DEFAULT_STRATEGY)
        self._header = _GZIP_HEADER
        self._checksum = 0
        self._size = 0

    def compress(self, piece: bytes) -> bytes:
        self._checksum = self._crc32(piece, self._checksum)
        self._size += len(piece)
        header, self._header = self._header, b""
        return header + self._stream.compress(piece)

    def finish(self) -> bytes:
        return self._header + self._stream.flush() + struct.pack("<LL", self._checksum, self._size & 0xFFFFFFFF)
