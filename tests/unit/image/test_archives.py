"""Archives of images: written, read back, and hostile."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from tests.support.images import AnImage, an_image, content, tar_layer

from wardian.digest import Digest
from wardian.errors import BadArchive, Denied, InvalidReference, NotFound, WardianError
from wardian.image.archive_index import TarIndex
from wardian.image.archive_writing import write_docker_archive, write_oci_archive
from wardian.image.archives import ArchiveImageStore, open_docker_archive, open_oci_archive
from wardian.image.copy import copy_image
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import (
    DOCKER_LAYER_GZIP,
    EMPTY,
    INDEX,
    LAYER_GZIP,
    LAYER_ZSTD,
    MANIFEST,
    Descriptor,
    Index,
    InvalidImage,
    Manifest,
    read_manifest,
)
from wardian.package.archive_paths import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "example.com/team/envs:1"


@pytest.fixture
def store(tmp_path: Path) -> LayoutImageStore:
    return LayoutImageStore(tmp_path / "layout")


def a_packed_image() -> AnImage:
    """Return an image whose layers are stored in all the ways that there are, and one of them twice."""
    plain = [tar_layer({f"file-{n}": content(n, 50_000)}) for n in range(4)]
    plain.append(plain[0])
    zstd = zstandard.ZstdCompressor(level=1).compress(plain[1])
    packed = [plain[0], zstd, gzip.compress(plain[2], mtime=0), gzip.compress(plain[3], mtime=0), plain[0]]
    kinds = ["application/vnd.oci.image.layer.v1.tar", LAYER_ZSTD, LAYER_GZIP, DOCKER_LAYER_GZIP]
    return AnImage(plain, packed=packed, media_types=[*kinds, kinds[0]])


def read(store: ArchiveImageStore | LayoutImageStore, descriptor: Descriptor) -> bytes:
    with store.open(descriptor) as stream:
        return stream.read()


def make_tar(path: Path, members: list[tuple[str | tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# -- OCI archives ------------------------------------------------------------------------------------------------------


def test_an_oci_archive_holds_the_image_as_it_is(store: LayoutImageStore, tmp_path: Path) -> None:
    image = a_packed_image()
    descriptor = image.put(store, "x")
    copied = write_oci_archive(store, "x", tmp_path / "x.tar", ["1.0"])
    assert copied.descriptor == descriptor
    with open_oci_archive(tmp_path / "x.tar", scratch=tmp_path) as archive:
        assert archive.tags() == ["1.0"]
        for reference in ("", "1.0", f"sha256:{descriptor.digest}"):
            found = archive.find(reference)
            assert found is not None
            assert found.content == image.manifest.to_json()
        assert [read(archive, b) for b, _ in image.blobs] == [data for _, data in image.blobs]
        assert archive.find("2.0") is None
        assert archive.find(f"sha256:{Digest.of(b'none')}") is None
        with pytest.raises(NotFound):
            read(archive, Descriptor.of(b"none", EMPTY))


def test_an_oci_archive_holds_an_index_with_all_its_images(store: LayoutImageStore, tmp_path: Path) -> None:
    images = [an_image(1), an_image(2, platform="linux/arm64")]
    for image in images:
        image.put(store)
    index = Index(tuple(image.descriptor for image in images))
    store.tag(index.to_json(), INDEX, ["many"])
    write_oci_archive(store, "many", tmp_path / "many.tar", ["many"])
    target = LayoutImageStore(tmp_path / "target")
    with open_oci_archive(tmp_path / "many.tar", scratch=tmp_path) as archive:
        copy_image(archive, "", target, ["again"])
    found = target.find("again")
    assert found is not None
    assert found.content == index.to_json()
    for image in images:
        assert [read(target, b) for b, _ in image.blobs] == [data for _, data in image.blobs]


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_the_same_image_is_the_same_file(store: LayoutImageStore, tmp_path: Path, kind: str) -> None:
    a_packed_image().put(store, "x")
    for name in ("a.tar", "b.tar"):
        if kind == "oci":
            write_oci_archive(store, "x", tmp_path / name, ["1"])
        else:
            write_docker_archive(store, "x", tmp_path / name, [NAME])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("packed", ["gz", "zst", "xz"])
def test_a_compressed_archive_is_read(store: LayoutImageStore, tmp_path: Path, packed: str) -> None:
    image = an_image()
    image.put(store, "x")
    write_oci_archive(store, "x", tmp_path / "x.tar", ["1"])
    data = (tmp_path / "x.tar").read_bytes()
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress, "xz": lzma.compress,
    }  # fmt: skip
    (tmp_path / "packed").write_bytes(pack[packed](data))
    scratch = tmp_path / "scratch"
    with open_oci_archive(tmp_path / "packed", scratch=scratch) as archive:
        assert [read(archive, b) for b, _ in image.blobs] == [data for _, data in image.blobs]
        assert list(scratch.iterdir()) == []


def test_a_failed_archive_leaves_no_file(store: LayoutImageStore, tmp_path: Path) -> None:
    image = an_image()
    image.put(store, "x")
    (store.root / "blobs/sha256" / image.manifest.layers[1].digest).write_bytes(b"damaged")
    (tmp_path / "out").mkdir()
    for write in (write_oci_archive, write_docker_archive):
        image.put(store, "x")
        (store.root / "blobs/sha256" / image.manifest.layers[1].digest).write_bytes(b"damaged")
        with pytest.raises(BadArchive):
            write(store, "x", tmp_path / "out/x.tar")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_is_not_written_into(store: LayoutImageStore, tmp_path: Path) -> None:
    an_image().put(store, "x")
    write_oci_archive(store, "x", tmp_path / "x.tar")
    with open_oci_archive(tmp_path / "x.tar", scratch=tmp_path) as archive:
        for call in (lambda: archive.put(Descriptor.of(b"", EMPTY), io.BytesIO), lambda: archive.tag(b"{}", MANIFEST)):
            with pytest.raises(Denied) as caught:
                call()
            assert caught.value.stable_code == "archive_is_read_only"


def test_of_several_images_one_has_to_be_named(store: LayoutImageStore, tmp_path: Path) -> None:
    for number in range(2):
        an_image(number).put(store, f"t-{number}")
    make_tar(
        tmp_path / "x.tar",
        [(str(path.relative_to(store.root)), path.read_bytes()) for path in store.root.rglob("*") if path.is_file()],
    )
    with open_oci_archive(tmp_path / "x.tar", scratch=tmp_path) as archive:
        assert archive.tags() == ["t-0", "t-1"]
        with pytest.raises(InvalidReference) as caught:
            archive.find("")
        assert caught.value.stable_code == "ambiguous_image"
        assert "t-0, t-1" in str(caught.value.hint)
        assert archive.find("t-1") is not None


# -- Docker archives ---------------------------------------------------------------------------------------------------


def test_a_docker_archive_has_plain_layers_each_once(store: LayoutImageStore, tmp_path: Path) -> None:
    image = a_packed_image()
    image.put(store, "x")
    assert write_docker_archive(store, "x", tmp_path / "x.tar", [NAME, "python:3"]) == image.manifest.config.digest
    with tarfile.open(tmp_path / "x.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    (entry,) = json.loads(members["manifest.json"])
    assert entry["RepoTags"] == [NAME, "python:3"]
    assert members[entry["Config"]] == image.config
    assert [members[layer] for layer in entry["Layers"]] == image.layers
    assert len(members) == 2 + 4


def test_a_docker_archive_is_read_as_an_image(store: LayoutImageStore, tmp_path: Path) -> None:
    image = a_packed_image()
    image.put(store, "x")
    write_docker_archive(store, "x", tmp_path / "x.tar", ["python:3"])
    with open_docker_archive(tmp_path / "x.tar", scratch=tmp_path) as archive:
        assert archive.tags() == ["python:3"]
        target = LayoutImageStore(tmp_path / "target")
        for reference in ("", "python:3", "docker.io/library/python:3"):
            copy_image(archive, reference, target, ["x"])
        assert archive.find("python:4") is None
    found = target.find("x")
    assert found is not None
    manifest = read_manifest(found.content)
    assert isinstance(manifest, Manifest)
    assert read(target, manifest.config) == image.config
    assert [read(target, layer) for layer in manifest.layers] == image.layers


def test_layers_that_are_links_or_compressed_are_read_too(tmp_path: Path) -> None:
    image = an_image(layers=2)
    packed = gzip.compress(image.layers[1], mtime=0)
    link = tarfile.TarInfo("b/layer.tar")
    link.type, link.linkname = tarfile.SYMTYPE, "../a/layer.tar"
    image = AnImage([image.layers[0], image.layers[0], image.layers[1]])
    listed = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"]}]
    path = make_tar(
        tmp_path / "x.tar",
        [("a/layer.tar", image.layers[0]), (link, b""), ("c/layer.tar", packed), ("c.json", image.config),
         ("manifest.json", json.dumps(listed).encode())],
    )  # fmt: skip
    target = LayoutImageStore(tmp_path / "target")
    with open_docker_archive(path, scratch=tmp_path) as archive:
        copy_image(archive, "", target, ["x"])
        found = archive.find("")
        assert found is not None
        assert json.loads(found.content)["layers"][2] == {"mediaType": LAYER_GZIP, "digest": f"sha256:{Digest.of(packed)}",
                                                          "size": len(packed)}  # fmt: skip


def test_a_layer_that_does_not_unpack_to_what_the_configuration_says_is_refused(
    store: LayoutImageStore, tmp_path: Path
) -> None:
    image = an_image(1)
    wrong = AnImage(image.layers, packed=[image.layers[0], gzip.compress(b"something else")], media_types=[LAYER_GZIP] * 2)
    wrong.put(store, "x")
    with pytest.raises(BadArchive) as caught:
        write_docker_archive(store, "x", tmp_path / "x.tar")
    assert caught.value.stable_code == "wrong_digest"
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.parametrize(
    "data",
    [gzip.compress(content(1, 5000))[:-4], b"\x28\xb5\x2f\xfd damaged", gzip.compress(b"x")[:12] + b"?" * 50],
    ids=["cut", "damaged zstd", "damaged gzip"],
)
def test_a_layer_that_does_not_unpack_is_refused(store: LayoutImageStore, tmp_path: Path, data: bytes) -> None:
    AnImage([b"x"], packed=[data], media_types=[LAYER_GZIP]).put(store, "x")
    with pytest.raises(BadArchive):
        write_docker_archive(store, "x", tmp_path / "x.tar")


def test_a_layer_that_is_a_bomb_is_refused(store: LayoutImageStore, tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    packed = b"".join(compressor.compress(bytes(64 << 20)) for _ in range(17)) + compressor.flush()
    assert len(packed) < 1 << 20
    AnImage([b"x"], packed=[packed], media_types=[LAYER_ZSTD]).put(store, "x")
    with pytest.raises(BadArchive) as caught:
        write_docker_archive(store, "x", tmp_path / "x.tar")
    assert caught.value.stable_code == "archive_bomb"


def test_several_images_do_not_go_into_a_docker_archive(store: LayoutImageStore, tmp_path: Path) -> None:
    images = [an_image(1), an_image(2, platform="linux/arm64")]
    for image in images:
        image.put(store)
    store.tag(Index(tuple(image.descriptor for image in images)).to_json(), INDEX, ["many"])
    with pytest.raises(InvalidImage) as caught:
        write_docker_archive(store, "many", tmp_path / "x.tar")
    assert caught.value.stable_code == "platform_needed"
    assert write_docker_archive(store, "many", tmp_path / "x.tar", platform="linux/arm64") == images[1].manifest.config.digest


def test_an_artifact_is_no_image(store: LayoutImageStore, tmp_path: Path) -> None:
    config = Descriptor.of(b"{}", EMPTY)
    store.put(config, lambda: io.BytesIO(b"{}"))
    store.tag(Manifest(config, (config,)).to_json(), MANIFEST, ["x"])
    with pytest.raises(InvalidImage):
        write_docker_archive(store, "x", tmp_path / "x.tar")


# -- hostile input -----------------------------------------------------------------------------------------------------


def a_member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


HOSTILE: dict[str, tuple[list[tuple[str | tarfile.TarInfo, bytes]], str]] = {
    "absolute path": ([("/etc/passwd", b"x")], "unsafe_path"),
    "path that leads out": ([("a/../../b", b"x")], "unsafe_path"),
    "absolute link": ([(a_member("a", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")], "unsafe_link"),
    "link that leads out": ([(a_member("a/b", type=tarfile.SYMTYPE, linkname="../../etc/passwd"), b"")], "unsafe_link"),
    "hard link that leads out": ([(a_member("a", type=tarfile.LNKTYPE, linkname="../b"), b"")], "unsafe_path"),
    "device": ([(a_member("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b"")], "unsafe_member"),
    "fifo": ([(a_member("a", type=tarfile.FIFOTYPE), b"")], "unsafe_member"),
    "file that is there twice": ([("index.json", b"{}"), ("index.json", b"{}")], "duplicate_member"),
    "file that is there twice by another path": ([("index.json", b"{}"), ("./index.json", b"{}")], "duplicate_member"),
    "nothing": ([], "not_an_image_archive"),
    "no index": ([("oci-layout", b"{}")], "not_an_image_archive"),
}


@pytest.mark.parametrize(("members", "code"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("open_archive", [open_oci_archive, open_docker_archive])
def test_a_hostile_archive_is_refused(
    tmp_path: Path,
    members: list[tuple[str | tarfile.TarInfo, bytes]],
    code: str,
    open_archive: Callable[..., ArchiveImageStore],
) -> None:
    path = make_tar(tmp_path / "x.tar", members)
    with pytest.raises(BadArchive) as caught:
        open_archive(path, scratch=tmp_path)
    assert caught.value.stable_code == code


@pytest.mark.parametrize("data", [b"", b"no tar", b"\x1f\x8bno gzip", b"\x28\xb5\x2f\xfdno zstd", bytes(10_000), b"x" * 10_000])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    for open_archive in (open_oci_archive, open_docker_archive):
        with pytest.raises(BadArchive):
            open_archive(tmp_path / "x.tar", scratch=tmp_path)


def test_an_archive_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tar", tmp_path):
        with pytest.raises(NotFound) as caught:
            open_oci_archive(path, scratch=tmp_path)
        assert caught.value.stable_code == "no_such_archive"


def test_an_archive_that_expands_without_end_is_refused(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    packed = b"".join(compressor.compress(bytes(64 << 20)) for _ in range(17)) + compressor.flush()
    (tmp_path / "x.tar.zst").write_bytes(packed)
    with pytest.raises(BadArchive) as caught:
        open_oci_archive(tmp_path / "x.tar.zst", scratch=tmp_path / "scratch")
    assert caught.value.stable_code == "archive_bomb"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_too_many_members_and_too_long_lists_are_refused(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", [(f"f-{n}", b"long") for n in range(10)])
    with pytest.raises(BadArchive) as caught:
        TarIndex(path, scratch=tmp_path, limits=Limits(members=9))
    assert caught.value.stable_code == "archive_bomb"
    with TarIndex(path, scratch=tmp_path, limits=Limits(members=10)) as index:
        assert index.read("f-9", 4) == b"long"
        with pytest.raises(BadArchive):
            index.read("f-9", 3)
        with pytest.raises(NotFound):
            index.open("f-10")


def test_links_that_lead_to_each_other_lead_to_nothing(tmp_path: Path) -> None:
    ways = [("a", "b"), ("b", "a"), ("index.json", "a")]
    path = make_tar(tmp_path / "x.tar", [(a_member(name, type=tarfile.SYMTYPE, linkname=to), b"") for name, to in ways])
    with pytest.raises(BadArchive) as caught:
        open_oci_archive(path, scratch=tmp_path)
    assert caught.value.stable_code == "not_an_image_archive"


@pytest.mark.parametrize("damage", ["missing", "damaged", "no manifest"])
def test_an_archive_whose_manifest_is_damaged_is_refused(store: LayoutImageStore, tmp_path: Path, damage: str) -> None:
    descriptor = an_image().put(store, "x")
    content = {"missing": None, "damaged": b"{}", "no manifest": b"{}"}[damage]
    digest = Digest.of(b"{}") if damage == "no manifest" else descriptor.digest
    entry = {"mediaType": MANIFEST, "digest": f"sha256:{digest}", "size": 2}
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [("index.json", json.dumps({"manifests": [entry]}).encode())]
    if content is not None:
        members.append((f"blobs/sha256/{digest}", content))
    with open_oci_archive(make_tar(tmp_path / "x.tar", members), scratch=tmp_path) as archive, pytest.raises(InvalidImage):
        archive.find("")


def test_layers_in_a_compression_that_images_do_not_know_are_refused(tmp_path: Path) -> None:
    image = an_image(layers=1)
    listed = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l"]}]
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [("c.json", image.config), ("l", lzma.compress(image.layers[0]))]
    path = make_tar(tmp_path / "x.tar", [*members, ("manifest.json", json.dumps(listed).encode())])
    with pytest.raises(InvalidImage):
        open_docker_archive(path, scratch=tmp_path)


def test_an_archive_that_is_cut_off_anywhere_is_refused_or_whole(store: LayoutImageStore, tmp_path: Path) -> None:
    image = an_image()
    image.put(store, "x")
    write_oci_archive(store, "x", tmp_path / "x.tar", ["1"])
    data = (tmp_path / "x.tar").read_bytes()
    for length in range(0, len(data) - 1024, 256):
        (tmp_path / "cut.tar").write_bytes(data[:length])
        with pytest.raises(WardianError), open_oci_archive(tmp_path / "cut.tar", scratch=tmp_path) as archive:
            copy_image(archive, "", LayoutImageStore(tmp_path / "target"), ["x"])
    assert LayoutImageStore(tmp_path / "target").tags() == []


def test_a_flipped_byte_anywhere_is_found_or_does_no_harm(store: LayoutImageStore, tmp_path: Path) -> None:
    image = AnImage([tar_layer({"f": b"x" * 300})])
    image.put(store, "x")
    write_docker_archive(store, "x", tmp_path / "x.tar", ["a:1"])
    data = bytearray((tmp_path / "x.tar").read_bytes())
    harmless = 0
    for position in range(0, len(data), 37):
        data[position] ^= 0x10
        (tmp_path / "flipped.tar").write_bytes(data)
        data[position] ^= 0x10
        target = LayoutImageStore(tmp_path / "target")
        try:
            with open_docker_archive(tmp_path / "flipped.tar", scratch=tmp_path) as archive:
                copied = copy_image(archive, "", target)
        except WardianError:
            continue
        found = target.find(f"sha256:{copied.descriptor.digest}")
        assert found is not None
        harmless += 1
    assert harmless < len(data) / 37


@pytest.mark.parametrize(
    "listed",
    [
        {}, [], [1], [{}], [{"Config": 1, "Layers": []}], [{"Config": "none.json", "Layers": []}],
        [{"Config": "c.json", "Layers": ["none"]}], [{"Config": "c.json", "Layers": [1]}], [{"Config": "c.json", "Layers": []}],
        [{"Config": "manifest.json", "Layers": ["l"]}],
    ],
)  # fmt: skip
def test_a_list_of_images_that_is_none_is_refused(tmp_path: Path, listed: Any) -> None:
    image = an_image(layers=1)
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [("c.json", image.config), ("l", image.layers[0])]
    path = make_tar(tmp_path / "x.tar", [*members, ("manifest.json", json.dumps(listed).encode())])
    with pytest.raises((BadArchive, InvalidImage)):
        open_docker_archive(path, scratch=tmp_path)
