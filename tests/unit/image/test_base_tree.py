from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from tests.support.base_images import put_image, tar

from wardian.errors import BadArchive
from wardian.image.base import Base, get_base
from wardian.image.base_tree import BaseTree, list_base, take_files
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import LAYER_GZIP, Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def based(tmp_path: Path) -> Callable[..., Base]:
    store = LayoutImageStore(tmp_path / "layout")

    def make(*layers: bytes, **changes: Any) -> Base:
        put_image(store, layers, **changes)
        return get_base(store, "base", "linux/amd64")

    return make


def listed(base: Base) -> BaseTree:
    return list_base(base, lambda _: len)


def files(base: Base) -> dict[str, int]:
    return {path: node.size_bytes for path, node in listed(base).files_below("/", lambda _: False)}


BOTTOM = tar(("./", None), ("./etc/a", b"a"), ("etc/b", b"bb"), ("etc/deep/c", b"ccc"), ("/usr/bin/x", b"xxxx"))


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        ([], {"etc/a": 1, "etc/b": 2, "etc/deep/c": 3, "usr/bin/x": 4}),
        ([("etc/.wh.a", b"")], {"etc/b": 2, "etc/deep/c": 3, "usr/bin/x": 4}),
        ([("etc/.wh.deep", b"")], {"etc/a": 1, "etc/b": 2, "usr/bin/x": 4}),
        ([(".wh.etc", b""), ("etc/new", b"12345")], {"etc/new": 5, "usr/bin/x": 4}),
        ([("etc/new", b"12345"), ("etc/.wh.new", b"")], {"etc/a": 1, "etc/b": 2, "etc/deep/c": 3, "etc/new": 5, "usr/bin/x": 4}),
        ([("etc/deep/new", b"1"), ("etc/.wh..wh..opq", b"")], {"etc/deep/new": 1, "usr/bin/x": 4}),
        ([("etc", None)], {"etc/a": 1, "etc/b": 2, "etc/deep/c": 3, "usr/bin/x": 4}),
        ([("etc", b"now a file")], {"etc": 10, "usr/bin/x": 4}),
        ([("etc/a/b", b"now a directory")], {"etc/a/b": 15, "etc/b": 2, "etc/deep/c": 3, "usr/bin/x": 4}),
        ([("etc/a", "->deep/c")], {"etc/a": 3, "etc/b": 2, "etc/deep/c": 3, "usr/bin/x": 4}),
        ([("etc/h", "=etc/b")], {"etc/a": 1, "etc/b": 2, "etc/h": 2, "etc/deep/c": 3, "usr/bin/x": 4}),
        ([("etc/.wh.a", b""), ("etc/.wh..wh.aufs", b""), ("none/.wh.x", b"")], {"etc/b": 2, "etc/deep/c": 3, "usr/bin/x": 4}),
        ([("e", "->etc"), ("e/new", b"1")], {"etc/a": 1, "etc/b": 2, "etc/deep/c": 3, "etc/new": 1, "usr/bin/x": 4}),
        ([("etc/back\\x2dslash", b"1"), (".wh.usr", b"")], {"etc/a": 1, "etc/b": 2, "etc/deep/c": 3, "etc/back\\x2dslash": 1}),
        ([("a", "->b"), ("b", "->a"), ("up", "->../../etc/b"), (".wh.usr", b"")], {"etc/a": 1, "etc/b": 2, "etc/deep/c": 3, "up": 2}),
        ([("dev/null", tarfile.TarInfo("dev/null")), (".wh.etc", b""), ("h", "=none"), (".wh.usr", b"")], {"dev/null": 0}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_layers_are_put_on_each_other(
    based: Callable[..., Base], above: list[tuple[str, Any]], expected: dict[str, int], compression: str
) -> None:
    assert files(based(BOTTOM, tar(*above), compression=compression)) == expected


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/bin/x", "/usr/bin/x"), ("/bin/../bin/./x", "/usr/bin/x"), ("/../../usr/bin/x", "/usr/bin/x"), ("/abs/x", "/usr/bin/x"),
        ("/chain", "/usr/bin/x"), ("/out", "/usr/bin/x"), ("/loop", None), ("/none", None), ("/usr/bin/x/y", None), ("/", "/"),
    ],
)  # fmt: skip
def test_links_lead_where_they_lead_in_the_image(based: Callable[..., Base], path: str, real: str | None) -> None:
    links = tar(
        ("bin", "->usr/bin"),
        ("abs", "->/bin"),
        ("chain", "->abs/../bin/x"),
        ("loop", "->loop"),
        ("out", "->../../../usr/bin/x"),
    )
    found = listed(based(BOTTOM, links)).resolve(path)
    assert (found[0] if found else None) == real


def special(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("dev/x")
    member.type = kind
    return member


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_nothing_that_could_be_taken(based: Callable[..., Base], kind: bytes) -> None:
    assert files(based(tar(("dev/x", special(kind)), ("y", b"y")))) == {"y": 1}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "a/" + "x" * 256])
def test_paths_that_lead_out_are_refused(based: Callable[..., Base], name: str) -> None:
    with pytest.raises(BadArchive, match=r"layer 1 of .*layout:base") as caught:
        listed(based(tar((name, b"x"))))
    assert caught.value.stable_code == "unsafe_path"


def test_content_is_looked_at_once_and_taken_from_the_right_layer(based: Callable[..., Base], tmp_path: Path) -> None:
    base = based(BOTTOM, tar(("etc/a", b"newer"), ("etc/link", "->/usr/bin/x"), ("etc/hard", "=etc/a")))
    seen: list[str] = []

    def look(path: str) -> Callable[[bytes], Any]:
        seen.append(path)
        return bytes.decode

    tree = list_base(base, look)
    assert seen == ["/etc/a", "/etc/b", "/etc/deep/c", "/usr/bin/x", "/etc/a"]
    wanted = {}
    for path, text in {"/etc/a": "newer", "/etc/link": "xxxx", "/etc/b": "bb", "/etc/hard": "newer"}.items():
        found = tree.resolve(path)
        assert found is not None
        assert found[1].noted == text
        wanted[tmp_path / "out" / path.lstrip("/")] = found[1]
    take_files(base, wanted, most_bytes=100)
    assert {p.name: p.read_text() for p in (tmp_path / "out/etc").iterdir()} == {
        "a": "newer",
        "b": "bb",
        "link": "xxxx",
        "hard": "newer",
    }
    assert not any(path.is_symlink() for path in (tmp_path / "out/etc").iterdir())
    with pytest.raises(BadArchive) as caught:
        take_files(base, wanted, most_bytes=10)
    assert caught.value.stable_code == "archive_bomb"


def with_layer(base: Base, packed: bytes) -> Base:
    """Put ``packed`` in place of the base's one layer: described truly, but no honest layer."""
    store = base.store
    descriptor = Descriptor.of(packed, LAYER_GZIP)
    store.put(descriptor, lambda: io.BytesIO(packed))
    manifest = type(base.manifest)(base.manifest.config, (descriptor,))
    return Base("base", base.digest, manifest, base.config, store)


WHOLE = gzip.compress(BOTTOM)


@pytest.mark.parametrize(
    "packed",
    [
        WHOLE[:-20],
        WHOLE[:100],
        b"\x1f\x8bno",
        b"\x28\xb5\x2f\xfdno",
        b"x" * 2000,
        WHOLE[:60] + b"xx" + WHOLE[62:],
        WHOLE + b"more",
    ],
    ids=["cut", "cut short", "no gzip", "no zstd", "no tar", "changed", "longer"],
)
def test_layers_that_are_none_are_errors(based: Callable[..., Base], packed: bytes) -> None:
    with pytest.raises(BadArchive) as caught:
        listed(with_layer(based(BOTTOM), packed))
    assert caught.value.stable_code == "damaged_archive"


def test_a_layer_that_expands_too_far_is_refused(based: Callable[..., Base]) -> None:
    member = tarfile.TarInfo("zeros")
    member.size = 2 << 30
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    packed = (
        compressor.compress(member.tobuf())
        + b"".join(compressor.compress(bytes(1 << 20)) for _ in range(1100))
        + compressor.flush()
    )
    assert len(packed) < 1 << 20
    with pytest.raises(BadArchive) as caught:
        listed(with_layer(based(BOTTOM), packed))
    assert caught.value.stable_code == "archive_bomb"


def test_a_layer_that_was_exchanged_is_found_out(based: Callable[..., Base], tmp_path: Path) -> None:
    base = based(BOTTOM)
    path = tmp_path / "layout/blobs/sha256" / base.layers[0].digest
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadArchive):
        listed(base)
