"""Copies between stores: whole or not at all, nothing twice, one platform or all; and what refers to an image."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import pytest
from tests.support.fake_registry import FakeRegistry
from tests.support.images import AnImage, an_image, blob, content

from wardian.errors import BadArchive, DiskFull, NotFound, Unavailable
from wardian.image.archive_writing import write_docker_archive
from wardian.image.copy import Copied, copy_image
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import (
    EMPTY,
    INDEX,
    LARGEST_MANIFEST_BYTES,
    MANIFEST,
    Descriptor,
    Index,
    InvalidImage,
    Manifest,
    read_manifest,
)
from wardian.image.referrers import add_referrer, list_referrers, referrers_tag
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_client import RegistryClient
from wardian.tools.registry_http import RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from wardian.events import Event
    from wardian.image.store import ImageStore


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


def a_registry(fake: FakeRegistry, name: str = "team/envs") -> RegistryImageStore:
    client = RegistryClient(fake.host, http=RegistryHttp(timeout_s=10), sleep=lambda _s: None)
    return RegistryImageStore(client, name, chunk_bytes=1 << 20)


@pytest.fixture(params=["layout to layout", "layout to registry", "registry to layout", "registry to registry"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, fake: FakeRegistry) -> tuple[ImageStore, ImageStore]:
    def make(kind: str, name: str) -> ImageStore:
        return LayoutImageStore(tmp_path / name) if kind == "layout" else a_registry(fake, f"team/{name}")

    source, target = request.param.split(" to ")
    return make(source, "source"), make(target, "target")


def two_platforms(store: ImageStore, *names: str) -> tuple[AnImage, AnImage, Index]:
    images = an_image(1), an_image(2, platform="linux/arm64/v8")
    for image in images:
        image.put(store)
    index = Index(tuple(image.descriptor for image in images))
    store.tag(index.to_json(), INDEX, names)
    return *images, index


def is_whole(store: ImageStore, image: AnImage) -> bool:
    for descriptor, data in image.blobs:
        with store.open(descriptor) as stream:
            assert stream.read() == data
    found = store.find(f"sha256:{image.descriptor.digest}")
    return found is not None and found.content == image.manifest.to_json()


def test_an_image_is_copied_with_its_digests(pair: tuple[ImageStore, ImageStore]) -> None:
    source, target = pair
    image = an_image()
    descriptor = image.put(source, "x")
    done = copy_image(source, "x", target, ["y", "z"])
    assert done.descriptor == descriptor
    assert done.present == 0
    assert done.sent + done.mounted == 3
    assert target.tags() == ["y", "z"]
    assert is_whole(target, image)


def test_a_configuration_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    source, target = LayoutImageStore(tmp_path / "source"), LayoutImageStore(tmp_path / "target")
    padded, open_padded = blob(b'{"architecture": "amd64", "rootfs": {"diff_ids": []}}' + b" " * LARGEST_MANIFEST_BYTES)
    source.put(padded, open_padded)
    source.tag(Manifest(padded, ()).to_json(), MANIFEST, ["x"])
    with pytest.raises(InvalidImage) as caught:
        copy_image(source, "x", target, platform="linux/amd64")
    assert caught.value.stable_code == "blob_too_large"
    with pytest.raises(InvalidImage) as caught:
        write_docker_archive(source, "x", tmp_path / "x.tar")
    assert caught.value.stable_code == "blob_too_large"
    assert not (tmp_path / "x.tar").exists()


def test_a_second_copy_sends_nothing(pair: tuple[ImageStore, ImageStore]) -> None:
    source, target = pair
    descriptor = an_image().put(source, "x")
    copy_image(source, "x", target, ["y"])
    assert copy_image(source, "x", target, ["z"]) == Copied(descriptor, present=3)
    assert target.tags() == ["y", "z"]


def test_what_is_shared_is_not_sent_again(pair: tuple[ImageStore, ImageStore]) -> None:
    source, target = pair
    first = an_image(1, layers=3)
    second = AnImage([*first.layers[:2], *an_image(2, layers=1).layers])
    first.put(source, "first")
    second.put(source, "second")
    copy_image(source, "first", target, ["first"])
    done = copy_image(source, "second", target, ["second"])
    assert (done.present, done.sent + done.mounted) == (2, 2)
    assert is_whole(target, second)


def test_an_index_is_copied_with_all_its_images(pair: tuple[ImageStore, ImageStore]) -> None:
    source, target = pair
    *images, index = two_platforms(source, "many")
    done = copy_image(source, "many", target, ["many"])
    found = target.find("many")
    assert found is not None
    assert found.content == index.to_json()
    assert done.descriptor.media_type == INDEX
    assert all(is_whole(target, image) for image in images)


def test_one_platform_of_an_index_is_copied_alone(pair: tuple[ImageStore, ImageStore]) -> None:
    source, target = pair
    amd, arm, _ = two_platforms(source, "many")
    done = copy_image(source, "many", target, ["arm"], platform="linux/arm64")
    assert done.descriptor.digest == arm.descriptor.digest
    assert is_whole(target, arm)
    assert target.find(f"sha256:{amd.descriptor.digest}") is None
    assert target.tags() == ["arm"]


def test_by_digest_and_without_a_name(pair: tuple[ImageStore, ImageStore]) -> None:
    source, target = pair
    descriptor = an_image().put(source)
    copy_image(source, f"sha256:{descriptor.digest}", target)
    assert target.find(f"sha256:{descriptor.digest}") is not None
    assert target.tags() == []


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    source, target = LayoutImageStore(tmp_path / "a"), LayoutImageStore(tmp_path / "b")
    with pytest.raises(NotFound) as caught:
        copy_image(source, "x", target)
    assert caught.value.stable_code == "image_not_found"
    two_platforms(source, "many")
    an_image().put(source, "one")
    for name in ("many", "one"):
        with pytest.raises(NotFound, match=r"not for linux/s390x") as caught:
            copy_image(source, name, target, platform="linux/s390x")
        assert caught.value.stable_code == "platform_not_found"
        assert "linux/amd64" in str(caught.value.hint)
    assert not (tmp_path / "b").exists()


def test_a_damaged_source_leaves_no_tag(tmp_path: Path) -> None:
    source, target = LayoutImageStore(tmp_path / "a"), LayoutImageStore(tmp_path / "b")
    image = an_image(layers=6)
    image.put(source, "x")
    path = source.root / "blobs/sha256" / image.manifest.layers[3].digest
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BadArchive):
        copy_image(source, "x", target, ["x"])
    assert target.tags() == []
    assert target.find(f"sha256:{image.descriptor.digest}") is None
    image.put(source, "x")
    copy_image(source, "x", target, ["x"])
    assert is_whole(target, image)


def test_a_damaged_target_is_mended(tmp_path: Path) -> None:
    source, target = LayoutImageStore(tmp_path / "a"), LayoutImageStore(tmp_path / "b")
    image = an_image()
    image.put(source, "x")
    copy_image(source, "x", target, ["x"])
    for descriptor, data in image.blobs:
        (target.root / "blobs/sha256" / descriptor.digest).write_bytes(data[:-1] + b"!")
    copy_image(source, "x", target, ["x"])
    assert is_whole(target, image)


def test_a_registry_that_lost_a_blob_of_an_image_that_it_has_gets_it_again(tmp_path: Path, fake: FakeRegistry) -> None:
    source, target = LayoutImageStore(tmp_path / "a"), a_registry(fake)
    image = an_image()
    image.put(source, "x")
    copy_image(source, "x", target, ["x"])
    del fake.blobs["team/envs"][f"sha256:{image.manifest.layers[0].digest}"]
    copy_image(source, "x", target, ["x"])
    assert is_whole(target, image)


def test_an_image_that_a_registry_has_is_one_question(tmp_path: Path, fake: FakeRegistry) -> None:
    source, target = LayoutImageStore(tmp_path / "a"), a_registry(fake)
    an_image(layers=20).put(source, "x")
    copy_image(source, "x", target, ["x"])
    fake.requests.clear()
    copy_image(source, "x", target, ["y"])
    assert [request.method for request in fake.requests] == ["GET", "PUT", "PUT"]


def test_a_failure_stops_the_other_blobs(tmp_path: Path) -> None:
    busy = threading.Event()

    class Full(LayoutImageStore):
        puts = 0

        def put(self, blob: Descriptor, open_content: Callable[[], Any], *, origin: ImageStore | None = None) -> str:  # noqa: ARG002
            self.puts += 1
            if self.puts == 1:
                busy.wait()
                raise DiskFull("there", needed_bytes=blob.size_bytes, free_bytes=0)
            with open_content() as stream:
                busy.set()
                while True:  # as if there were no end to it
                    stream.read(1)

    source = LayoutImageStore(tmp_path / "a")
    an_image(layers=30).put(source, "x")
    target = Full(tmp_path / "b")
    with pytest.raises(DiskFull):
        copy_image(source, "x", target, ["x"], jobs=2)
    assert target.puts < 30


def test_progress_is_told_in_bytes_and_never_goes_back(tmp_path: Path, fake: FakeRegistry) -> None:
    source, target = LayoutImageStore(tmp_path / "a"), a_registry(fake)
    image = AnImage([content(n, 6 << 20) for n in range(3)])
    image.put(source, "x")
    fake.misbehave("PATCH *", lose_after=1000, times=2)
    events: list[Event] = []
    copy_image(source, "x", target, ["x"], listener=events.append)
    total = sum(descriptor.size_bytes for descriptor, _ in image.blobs)
    done = [event.done or 0 for event in events]
    assert {event.kind for event in events} == {"progress"}
    assert {event.total for event in events} == {total}
    assert done == sorted(done)
    assert done[-1] == total
    assert 3 <= len(events) <= 10


def test_an_index_of_indexes_without_end_is_refused(tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "a")
    child = an_image().put(store)
    for _ in range(6):
        child = store.tag(Index((child,)).to_json(), INDEX, ["deep"])
    for platform in (None, "linux/amd64"):
        with pytest.raises((InvalidImage, NotFound)):
            copy_image(store, "deep", LayoutImageStore(tmp_path / "b"), platform=platform)


# -- referrers ---------------------------------------------------------------------------------------------------------


def an_artifact(
    store: ImageStore, subject: Descriptor, text: bytes, kind: str = "application/spdx+json"
) -> tuple[Manifest, Descriptor]:
    config, empty = blob(b"{}", EMPTY)
    layer, source = blob(text, kind)
    store.put(config, empty)
    store.put(layer, source)
    manifest = Manifest(config, (layer,), artifact_type=kind, subject=subject, annotations=(("text", text.decode()),))
    return manifest, store.tag(manifest.to_json(), MANIFEST)


@pytest.mark.parametrize("lists", [False, True])
def test_what_refers_to_an_image_is_listed_by_the_registry_or_by_a_tag(fake: FakeRegistry, lists: bool) -> None:
    fake.referrers = lists
    store = a_registry(fake)
    subject = an_image().put(store, "x")
    assert list_referrers(store, subject.digest) == []
    made = [an_artifact(store, subject, text) for text in (b"one", b"two")]
    for manifest, descriptor in [*made, *made]:
        add_referrer(store, manifest, descriptor)
    listed = list_referrers(store, subject.digest)
    assert {known.digest for known in listed} == {descriptor.digest for _, descriptor in made}
    assert {known.artifact_type for known in listed} == {"application/spdx+json"}
    assert (referrers_tag(subject.digest) in store.tags()) is not lists


def test_the_list_in_a_tag_is_what_the_specification_says(tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "a")
    subject = an_image().put(store, "x")
    manifest, descriptor = an_artifact(store, subject, b"one")
    add_referrer(store, manifest, descriptor)
    found = store.find(f"sha256-{subject.digest}")
    assert found is not None
    parsed = read_manifest(found.content)
    assert isinstance(parsed, Index)
    assert parsed.manifests == (
        Descriptor(MANIFEST, descriptor.digest, descriptor.size_bytes, "", (("text", "one"),), "application/spdx+json"),
    )


def test_a_copy_of_an_artifact_keeps_what_it_refers_to_known(pair: tuple[ImageStore, ImageStore]) -> None:
    source, target = pair
    subject = an_image().put(source, "x")
    copy_image(source, "x", target, ["x"])
    _, descriptor = an_artifact(source, subject, b"one")
    copy_image(source, f"sha256:{descriptor.digest}", target)
    assert [known.digest for known in list_referrers(target, subject.digest)] == [descriptor.digest]


def test_a_list_that_others_write_at_the_same_time_gets_everything(tmp_path: Path) -> None:
    root = tmp_path / "a"
    plain = LayoutImageStore(root)
    subject = an_image().put(plain, "x")
    theirs, mine = (an_artifact(plain, subject, text) for text in (b"theirs", b"mine"))

    class Raced(LayoutImageStore):
        races = 1

        def tag(self, manifest: bytes, media_type: str, names: Sequence[str] = ()) -> Descriptor:
            done = super().tag(manifest, media_type, names)
            if self.races:  # somebody who had read the list before writes it now
                self.races = 0
                plain.tag(Index((theirs[1],)).to_json(), INDEX, names)
            return done

    add_referrer(Raced(root), *mine)
    assert {known.digest for known in list_referrers(plain, subject.digest)} == {theirs[1].digest, mine[1].digest}


def test_a_list_that_is_written_over_all_the_time_is_given_up(tmp_path: Path) -> None:
    plain = LayoutImageStore(tmp_path / "a")
    subject = an_image().put(plain, "x")
    mine = an_artifact(plain, subject, b"mine")

    class Forgetful(LayoutImageStore):
        def tag(self, manifest: bytes, media_type: str, names: Sequence[str] = ()) -> Descriptor:  # noqa: ARG002
            return Descriptor.of(manifest, media_type)

    with pytest.raises(Unavailable) as caught:
        add_referrer(Forgetful(plain.root), *mine)
    assert caught.value.stable_code == "referrers_contended"


def test_a_manifest_without_a_subject_refers_to_nothing(tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "a")
    image = an_image()
    add_referrer(store, image.manifest, image.put(store))
    assert store.tags() == []


def test_io_is_not_left_open(tmp_path: Path) -> None:
    opened: list[io.BytesIO] = []

    class Remembering(LayoutImageStore):
        @contextmanager
        def open(self, blob: Descriptor) -> Iterator[IO[bytes]]:
            with super().open(blob) as stream, io.BytesIO(stream.read()) as kept:
                opened.append(kept)
                yield kept

    source = Remembering(tmp_path / "a")
    an_image().put(source, "x")
    copy_image(source, "x", LayoutImageStore(tmp_path / "b"))
    assert len(opened) == 3
    assert all(stream.closed for stream in opened)
