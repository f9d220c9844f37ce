"""A layer's digests are those of the bytes that were written."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from wardian.digest import Digest
from wardian.errors import BadArchive
from wardian.image.compression import Compression
from wardian.image.entry import Entry
from wardian.image.layer import write_layer
from wardian.image.oci import LAYER_GZIP

ENTRIES = [Entry.of_bytes("opt/env/a", b"a" * 3_000_000), Entry.of_bytes("opt/env/b", b"b", executable=True)]


def test_descriptor_diff_id_and_size() -> None:
    sink = io.BytesIO()
    layer = write_layer(ENTRIES, sink, compression=Compression("gzip"), mtime=0)
    blob = sink.getvalue()
    tar = gzip.decompress(blob)
    assert (layer.descriptor.media_type, layer.descriptor.digest, layer.descriptor.size_bytes) == (
        LAYER_GZIP, Digest.of(blob), len(blob)
    )  # fmt: skip
    assert (layer.diff_id, layer.uncompressed_bytes) == (Digest.of(tar), len(tar))
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert archive.getnames() == ["opt", "opt/env", "opt/env/a", "opt/env/b"]


def test_the_diff_id_is_the_same_for_every_compression_and_any_order() -> None:
    one = write_layer(ENTRIES, io.BytesIO(), compression=Compression("gzip"), mtime=0)
    other = write_layer(ENTRIES[::-1], io.BytesIO(), compression=Compression("zstd"), mtime=0)
    assert one.diff_id == other.diff_id
    assert one.descriptor.digest != other.descriptor.digest


def test_the_time_is_part_of_it() -> None:
    layers = [write_layer(ENTRIES, io.BytesIO(), compression=Compression(), mtime=mtime) for mtime in (0, 1)]
    assert layers[0].diff_id != layers[1].diff_id


def test_work_stops_where_it_is_told_to() -> None:
    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    with pytest.raises(Enough):
        write_layer(ENTRIES, io.BytesIO(), compression=Compression(), mtime=0, check=check)


def test_errors_name_whose_entries_they_are() -> None:
    with pytest.raises(BadArchive, match=r"alpha 1\.0: `\.\./x`"):
        write_layer([Entry.of_bytes("../x", b"")], io.BytesIO(), compression=Compression(), mtime=0, name="alpha 1.0")
