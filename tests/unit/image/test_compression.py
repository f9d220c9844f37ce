"""What compressors write besides the content, and what they are called in keys."""

from __future__ import annotations

import gzip
import importlib.metadata
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard

from wardian.errors import InvalidInput
from wardian.image.compression import Compression

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"".join(b"%d %d\n" % (n, n * n) for n in range(200_000))
BOTH = pytest.mark.parametrize("name", ["zstd", "gzip"])


def compressed(compression: Compression, content: bytes) -> bytes:
    compressor = compression.start()
    return compressor.compress(content) + compressor.finish()


def expanded(name: str, content: bytes) -> bytes:
    if name == "gzip":
        return gzip.decompress(content)
    return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(content))


@BOTH
@pytest.mark.parametrize("content", [b"", b"a", CONTENT])
def test_the_content_comes_back(name: str, content: bytes) -> None:
    assert expanded(name, compressed(Compression(name), content)) == content


@BOTH
def test_other_programs_read_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(compressed(Compression(name), CONTENT))
    with (tmp_path / "blob").open("rb") as blob:
        if name == "gzip":
            found = subprocess.run(["gzip", "-dc"], stdin=blob, check=True, capture_output=True).stdout
        else:
            found = zstandard.ZstdDecompressor().stream_reader(blob).read()
    assert found == CONTENT


def test_a_gzip_header_says_nothing_of_time_name_level_or_system() -> None:
    for level in (1, 4, 9):
        assert compressed(Compression("gzip", level), CONTENT)[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_a_zstd_frame_has_neither_size_nor_checksum() -> None:
    parameters = zstandard.get_frame_parameters(compressed(Compression(), CONTENT))
    assert parameters.content_size == zstandard.CONTENTSIZE_UNKNOWN
    assert not parameters.has_checksum


def test_the_name_says_library_versions_and_level() -> None:
    inner = ".".join(map(str, zstandard.ZSTD_VERSION))
    assert Compression().compressor == f"zstandard-{importlib.metadata.version('zstandard')}/{inner}:3"
    assert re.fullmatch(rf"zlib-ng-{importlib.metadata.version('zlib-ng')}/2\.[\d.]+:6", Compression("gzip", 6).compressor)


def test_the_usual_level_and_another() -> None:
    assert Compression("zstd") == Compression("zstd", 3)
    assert len(compressed(Compression("gzip", 9), CONTENT)) < len(compressed(Compression("gzip", 1), CONTENT))


def test_media_types() -> None:
    assert Compression("zstd").media_type == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert Compression("gzip").media_type == "application/vnd.oci.image.layer.v1.tar+gzip"


def test_an_unknown_compression_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidInput, match="`lz4` is not a compression: it is `zstd` or `gzip`"):
        Compression("lz4")
