"""Places as people write them, and copies between all of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from tests.support.fake_registry import FakeRegistry
from tests.support.images import an_image

from wardian.errors import Conflict, InvalidReference, NotFound
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import INDEX, Index
from wardian.image.places import ImagePlaces
from wardian.image.reference import ImageFile, ImageReference, parse_image
from wardian.tools.registry_http import RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.digest import Digest


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def places(tmp_path: Path) -> ImagePlaces:
    http = RegistryHttp(timeout_s=10)
    return ImagePlaces(http=http, login=lambda _h, _r: None, scratch=tmp_path / "scratch", base=tmp_path)


def place(text: str) -> ImageReference | ImageFile:
    found = parse_image(text)
    assert isinstance(found, ImageReference | ImageFile)
    return found


def copy(places: ImagePlaces, source: str, target: str, platform: str | None = None) -> Digest:
    return places.copy(place(source), place(target), platform=platform)


KINDS = ("registry", "oci", "oci-archive", "docker-archive")


def write(kind: str, host: str, name: str) -> str:
    if kind == "registry":
        return f"{host}/team/{name}:1"
    return f"{kind}:{name}" + {"oci": ":1", "oci-archive": ":1", "docker-archive": ":team/envs:1"}[kind]


@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, KINDS)))
def test_an_image_goes_from_anywhere_to_anywhere(
    places: ImagePlaces, fake: FakeRegistry, tmp_path: Path, source: str, target: str
) -> None:
    image = an_image()
    image.put(LayoutImageStore(tmp_path / "start"), "1")
    first, second = write(source, fake.host, "first"), write(target, fake.host, "second")
    copy(places, "oci:start", first)
    digest = copy(places, first, second)
    if target == "docker-archive":
        assert digest == image.manifest.config.digest
    elif source != "docker-archive":
        assert digest == image.descriptor.digest
    copy(places, second, "oci:end:x")
    found = LayoutImageStore(tmp_path / "end").find("x")
    assert found is not None
    assert image.manifest.config.digest.encode() in found.content


def test_a_layout_is_named_by_its_only_image_or_by_a_tag(places: ImagePlaces, tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "start")
    an_image(1).put(store, "a", "b")
    copy(places, "oci:start", "oci:end:x")
    an_image(2).put(store, "c")
    with pytest.raises(InvalidReference) as caught:
        copy(places, "oci:start", "oci:end:x")
    assert caught.value.stable_code == "ambiguous_image"
    assert "a, b, c" in str(caught.value.hint)
    assert copy(places, "oci:start:c", "oci:end:x") == an_image(2).descriptor.digest


def test_one_platform_goes_into_a_docker_archive(places: ImagePlaces, tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "start")
    images = [an_image(1), an_image(2, platform="linux/arm64")]
    for image in images:
        image.put(store)
    store.tag(Index(tuple(image.descriptor for image in images)).to_json(), INDEX, ["many"])
    assert copy(places, "oci:start", "docker-archive:x.tar", "linux/arm64") == images[1].manifest.config.digest


def test_into_a_registry_without_a_tag_it_is_the_latest(places: ImagePlaces, fake: FakeRegistry, tmp_path: Path) -> None:
    descriptor = an_image().put(LayoutImageStore(tmp_path / "start"), "1")
    copy(places, "oci:start", f"{fake.host}/x")
    copy(places, "oci:start", f"{fake.host}/y@sha256:{descriptor.digest}")
    assert places.registry(ImageReference(fake.host, "x")).tags() == ["latest"]
    assert places.registry(ImageReference(fake.host, "y")).tags() == []
    assert copy(places, f"{fake.host}/y@sha256:{descriptor.digest}", "oci:end:1") == descriptor.digest


def test_another_digest_than_asked_for_is_a_conflict_and_nothing_is_pushed(
    places: ImagePlaces, fake: FakeRegistry, tmp_path: Path
) -> None:
    an_image().put(LayoutImageStore(tmp_path / "start"), "1")
    with pytest.raises(Conflict) as caught:
        copy(places, "oci:start", f"{fake.host}/x@sha256:{'0' * 64}")
    assert caught.value.stable_code == "other_digest"
    assert fake.requests == []


def test_repositories_of_a_host_share_their_connections_and_mount(
    places: ImagePlaces, fake: FakeRegistry, tmp_path: Path
) -> None:
    an_image().put(LayoutImageStore(tmp_path / "start"), "1")
    copy(places, "oci:start", f"{fake.host}/a:1")
    fake.requests.clear()
    copy(places, f"{fake.host}/a:1", f"{fake.host}/b:1")
    assert len(fake.asked("POST */b/blobs/uploads/?mount=* 201")) == 3
    assert fake.asked("PUT */blobs/*") == []


def test_places_that_are_not_there_are_not_found(places: ImagePlaces, fake: FakeRegistry) -> None:
    for source, code in (
        ("oci:none", "no_such_layout"),
        ("oci-archive:none", "no_such_archive"),
        ("docker-archive:none", "no_such_archive"),
        (f"{fake.host}/none", "image_not_found"),
    ):
        with pytest.raises(NotFound) as caught:
            copy(places, source, "oci:end:x")
        assert caught.value.stable_code == code
