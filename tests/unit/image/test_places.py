"""Places as people write them, and copies between all of them."""

from __future__ import annotations

import itertools
import json
import os
import socket
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.support.fake_registry import FakeRegistry
from tests.support.images import an_image

from wardian.errors import Conflict, DiskFull, InvalidInput, InvalidReference, NotFound
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import INDEX, MANIFEST, Index
from wardian.image.places import ImagePlaces
from wardian.image.reference import ImageFile, ImageReference, parse_image
from wardian.image.registry_client import Interrupted
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


def test_what_is_asked_again_is_a_warning_so_that_json_does_not_hide_it(tmp_path: Path) -> None:
    told: list[str] = []
    places = ImagePlaces(
        http=RegistryHttp(), login=lambda _h, _r: None, scratch=tmp_path, listener=lambda event: told.append(event.kind)
    )
    places.registry(ImageReference("127.0.0.1:1", "team/envs")).client.wait(2, Interrupted("HTTP 503", 0.0))
    assert told == ["warning"]


@pytest.mark.parametrize(("target", "why"), [
    ("oci:file", "file is no directory, which an OCI layout is"), ("oci:file/x:1", "file/x lies below "), ("oci:gone", "gone is no directory"),
])  # fmt: skip
def test_a_layout_in_the_place_of_a_file_is_refused_with_what_to_write(
    places: ImagePlaces, tmp_path: Path, target: str, why: str
) -> None:
    an_image().put(LayoutImageStore(tmp_path / "from"), "1")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput) as caught:
        copy(places, "oci:from:1", target)
    assert caught.value.stable_code == "not_a_place"
    assert why in caught.value.message
    assert f"oci-archive:{target.split(':')[1]}" in (caught.value.hint or "")
    assert (tmp_path / "file").read_text() == "mine"


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


def test_a_copy_into_a_layout_or_an_archive_has_a_name(places: ImagePlaces, tmp_path: Path) -> None:
    descriptor = an_image().put(LayoutImageStore(tmp_path / "start"))
    copy(places, f"oci:start@sha256:{descriptor.digest}", "oci:end")
    assert LayoutImageStore(tmp_path / "end").tags() == ["latest"]
    copy(places, f"oci:start@sha256:{descriptor.digest}", "oci-archive:end.tar")
    assert copy(places, "oci-archive:end.tar:latest", "oci:again:x") == descriptor.digest
    copy(places, "oci:again", "oci:third")
    assert LayoutImageStore(tmp_path / "third").tags() == ["x"]
    with pytest.raises(InvalidReference, match="a copy gets a tag"):
        copy(places, "oci:again", f"oci:fourth@sha256:{descriptor.digest}")


def test_images_without_a_name_are_found_and_told_by_their_digests(places: ImagePlaces, tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "start")
    digests = [an_image(n).put(store).digest for n in (1, 2)]
    entries = [{"mediaType": MANIFEST, "digest": f"sha256:{digest}", "size": 1} for digest in digests]
    (tmp_path / "start" / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    with tarfile.open(tmp_path / "start.tar", "w") as tar:
        tar.add(tmp_path / "start", ".", filter=lambda member: None if ".wardian" in member.name else member)
    for source in ("oci:start", "oci-archive:start.tar"):
        with pytest.raises(InvalidReference) as caught:
            copy(places, source, "oci:end:x")
        assert all(f"@sha256:{digest}" in str(caught.value.hint) for digest in digests)
        assert copy(places, f"{source}@sha256:{digests[0]}", "oci:end:x") == digests[0]
    (tmp_path / "start" / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries[:1]}))
    assert copy(places, "oci:start", "oci:end:x") == digests[0]


def test_a_layout_that_holds_nothing_is_told(places: ImagePlaces, tmp_path: Path) -> None:
    LayoutImageStore(tmp_path / "empty").tag(an_image_index(), INDEX)
    with pytest.raises(NotFound, match="holds no image"):
        copy(places, "oci:empty", "oci:end:x")


def an_image_index() -> bytes:
    """Return an index of nothing."""
    return Index(()).to_json()


@pytest.fixture(params=["oci-archive", "docker-archive"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    an_image().put(LayoutImageStore(tmp_path / "start"), "1")
    return str(request.param)


@pytest.mark.parametrize("what", ["a pipe", "a directory", "a socket", "a loop"])
def test_an_archive_replaces_nothing_that_is_no_file(places: ImagePlaces, tmp_path: Path, archive: str, what: str) -> None:
    target = tmp_path / "target"
    if what == "a pipe":
        os.mkfifo(target)
    elif what == "a directory":
        target.mkdir()
    elif what == "a loop":
        target.symlink_to(target)
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.path.relpath(target))
    before = os.lstat(target)
    with pytest.raises(Conflict, match="target") as caught:
        copy(places, "oci:start", f"{archive}:target")
    assert caught.value.stable_code == "not_a_file"
    assert what == "a loop" or what in caught.value.message
    assert os.path.samestat(os.lstat(target), before)


def test_what_is_no_file_is_not_read_as_an_archive(places: ImagePlaces, tmp_path: Path, archive: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name, what in (("pipe", "a pipe"), ("link", "a pipe"), ("/dev/null", "a device")):
        with pytest.raises(InvalidInput, match=f"it is {what}") as caught:
            copy(places, f"{archive}:{name}", "oci:target")
        assert caught.value.stable_code == "not_a_file"


def test_an_archive_is_not_written_to_a_pipe_that_has_no_path(places: ImagePlaces, archive: str) -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(Conflict, match="it is a pipe") as caught:
            copy(places, "oci:start", f"{archive}:/dev/fd/{writing}")
    finally:
        os.close(reading)
        os.close(writing)
    assert caught.value.stable_code == "not_a_file"


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_no_new_layout_and_the_hint_is_about_that_disk(
    places: ImagePlaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    an_image().put(LayoutImageStore(tmp_path / "start"), "1")
    target = tmp_path / "small" / "target"
    if there:
        an_image(2).put(LayoutImageStore(target), "2")
    monkeypatch.setattr("wardian.tools.disk.free_bytes", lambda _place: 10)
    with pytest.raises(DiskFull) as caught:
        copy(places, "oci:start:1", "oci:small/target:x")
    assert f"on another disk than that of {target}" in str(caught.value.hint)
    assert target.exists() == there
    assert not there or LayoutImageStore(target).tags() == ["2"]


@pytest.mark.root
def test_an_archive_replaces_no_device(places: ImagePlaces, tmp_path: Path, archive: str) -> None:
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices can be made here")
    (tmp_path / "link").symlink_to("null")
    for name in ("null", "link"):
        with pytest.raises(Conflict, match="it is a device"):
            copy(places, "oci:start", f"{archive}:{name}")
    assert stat.S_ISCHR(os.lstat(tmp_path / "null").st_mode)
    assert (tmp_path / "link").is_symlink()


def test_an_archive_is_written_to_what_a_link_leads_to(places: ImagePlaces, tmp_path: Path, archive: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/image.tar")
    for _ in range(2):
        copy(places, "oci:start", f"{archive}:link")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "elsewhere/image.tar").is_file()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["image.tar"]


@pytest.mark.parametrize(
    ("target", "code"), [("none/deep/image.tar", "no_such_directory"), (".", "not_a_file"), ("file/x", "not_a_file")]
)
def test_where_an_archive_cannot_be_written_is_told(
    places: ImagePlaces, tmp_path: Path, archive: str, target: str, code: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((Conflict, NotFound)) as caught:
        copy(places, "oci:start", f"{archive}:{target}")
    assert caught.value.stable_code == code
    assert code != "no_such_directory" or f"mkdir -p {tmp_path}/none/deep" in str(caught.value.hint)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["containers-storage:x", "dir:x", "dir:/some/where", "docker-daemon:x:1"])
def test_places_of_other_tools_are_no_names_of_images(text: str) -> None:
    with pytest.raises(InvalidReference, match="no kind of place") as caught:
        parse_image(text)
    assert "oci-archive:FILE" in str(caught.value.hint)
