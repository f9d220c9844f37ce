"""What every place for images promises: a directory, Debian's registry with and without a login, a registry with tokens."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

import pytest
from tests.support import registry as support
from tests.support.fake_registry import FakeRegistry
from tests.support.images import an_image, blob, content
from tests.support.registry import DockerRegistry

from wardian.digest import Digest
from wardian.errors import BadArchive, InvalidDigest, NotFound
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import EMPTY, INDEX, MANIFEST, Descriptor, Index, InvalidImage, Manifest
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_auth import RegistryLogin
from wardian.image.registry_client import RegistryClient
from wardian.tools.registry_http import RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wardian.image.store import ImageStore

KINDS = ("layout", "registry", "registry with htpasswd", "registry with tokens")
USER = RegistryLogin("user", "secret")
CHUNK = 100_000  # so that a blob of some hundred kilobytes goes in pieces


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], DockerRegistry]]:
    running: dict[str, DockerRegistry] = {}

    def get(user: str) -> DockerRegistry:
        if user not in running:
            if why := support.why_not():
                pytest.skip(why)
            registry = DockerRegistry(tmp_path_factory.mktemp("registry"), user=user, password="secret" if user else "")
            running[user] = registry.__enter__()
        return running[user]

    yield get
    for registry in running.values():
        registry.__exit__()


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry(tokens=True, user="user", password="secret", page=2) as running:
        yield running


@pytest.fixture(params=KINDS)
def make(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    registries: Callable[[str], DockerRegistry],
    fake: FakeRegistry,
) -> Callable[[str], ImageStore]:
    """Return what opens the repository of a name; the same name is the same repository, seen by another process."""
    unique = request.node.name.partition("[")[0].replace("_", "-")[:60] + "-" + str(abs(hash(tmp_path)) % 10**8)

    def make(name: str = "a") -> ImageStore:
        if request.param == "layout":
            return LayoutImageStore(tmp_path / f"layout-{name}")
        if "tokens" in request.param:
            client = RegistryClient(fake.host, http=RegistryHttp(timeout_s=20), login=lambda _host, _repository: USER)
            return RegistryImageStore(client, f"team/{name}", chunk_bytes=CHUNK)
        user = "user" if "htpasswd" in request.param else ""
        registry = registries(user)
        login = USER if user else None
        client = RegistryClient(registry.host, http=RegistryHttp(timeout_s=20), login=lambda _host, _repository: login)
        return RegistryImageStore(client, f"{unique}/{name}", chunk_bytes=CHUNK)

    return make


@pytest.fixture
def store(make: Callable[[str], ImageStore]) -> ImageStore:
    return make("a")


def read(store: ImageStore, descriptor: Descriptor) -> bytes:
    with store.open(descriptor) as stream:
        return stream.read()


def test_what_does_not_exist_is_none(store: ImageStore) -> None:
    assert store.find("latest") is None
    assert store.find(f"sha256:{Digest.of(b'nothing')}") is None
    assert store.tags() == []


def test_what_is_no_digest_is_an_error_and_what_is_no_tag_is_none(store: ImageStore) -> None:
    an_image().put(store, "x")
    with pytest.raises(InvalidDigest):
        store.find("sha256:short")
    assert store.find("a/b") is None


def test_a_blob_that_is_not_there_is_not_found(store: ImageStore) -> None:
    with pytest.raises(NotFound) as caught, store.open(Descriptor.of(b"nothing", EMPTY)):
        pass
    assert caught.value.stable_code == "no_such_blob"


@pytest.mark.parametrize("size", [0, 1, 5_000, CHUNK, CHUNK + 1, 3 * CHUNK + 17])
def test_a_blob_is_read_as_it_was_put(store: ImageStore, size: int) -> None:
    descriptor, source = blob(content(size, size))
    assert store.put(descriptor, source) == "sent"
    assert read(store, descriptor) == content(size, size)


def test_a_blob_that_is_there_is_not_asked_for_again(store: ImageStore) -> None:
    descriptor, source = blob(content(1, 5000))
    store.put(descriptor, source)

    def unwanted() -> IO[bytes]:
        raise AssertionError("the content is not needed")

    assert store.put(descriptor, unwanted) == "present"


@pytest.mark.parametrize("size", [5_000, 3 * CHUNK])
@pytest.mark.parametrize("kind", ["shorter", "longer", "other", "empty"])
def test_content_that_is_not_the_blob_is_refused_and_not_kept(store: ImageStore, kind: str, size: int) -> None:
    data = content(2, size)
    wrong = {"shorter": data[:-1], "longer": data + b"x", "other": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}[kind]
    descriptor, source = blob(data)
    with pytest.raises(BadArchive) as caught:
        store.put(descriptor, lambda: io.BytesIO(wrong))
    assert caught.value.stable_code == ("wrong_digest" if kind == "other" else "wrong_size")
    with pytest.raises(NotFound), store.open(descriptor):
        pass
    assert store.put(descriptor, source) == "sent"
    assert read(store, descriptor) == data


def test_a_blob_is_read_in_pieces_and_its_last_byte_only_if_all_are_right(store: ImageStore) -> None:
    data = content(3, 250_000)
    descriptor, source = blob(data)
    store.put(descriptor, source)
    with store.open(descriptor) as stream:
        got = b"".join(stream.read(1000) for _ in range(250))
    assert got == data


def test_an_image_is_found_by_tag_and_by_digest(make: Callable[[str], ImageStore]) -> None:
    image = an_image()
    descriptor = image.put(make("a"), "first", "second")
    store = make("a")  # as another process sees it
    for reference in ("first", "second", f"sha256:{descriptor.digest}"):
        found = store.find(reference)
        assert found is not None
        assert found.content == image.manifest.to_json()
        assert found.descriptor == Descriptor(MANIFEST, Digest.of(found.content), len(found.content))
    for layer, data in image.blobs:
        assert read(store, layer) == data


def test_a_manifest_without_a_tag_is_found_by_digest_alone(store: ImageStore) -> None:
    descriptor = an_image().put(store)
    assert store.find(f"sha256:{descriptor.digest}") is not None
    assert store.tags() == []


def test_tags_are_listed_sorted_and_by_prefix(store: ImageStore) -> None:
    an_image().put(store, "i-b", "i-a", "d-x", "V-1.0_rc")
    assert store.tags() == sorted(["i-b", "i-a", "d-x", "V-1.0_rc"])
    assert store.tags("i-") == ["i-a", "i-b"]
    assert store.tags("none") == []


def test_a_tag_moves_and_the_old_image_stays(store: ImageStore) -> None:
    old = an_image(1).put(store, "moving", "fixed")
    new = an_image(2).put(store, "moving")
    found = store.find("moving")
    assert found is not None
    assert found.descriptor.digest == new.digest
    fixed = store.find("fixed")
    assert fixed is not None
    assert fixed.descriptor.digest == old.digest
    assert store.tags() == ["fixed", "moving"]


def test_a_manifest_whose_blobs_are_missing_is_refused_and_not_tagged(store: ImageStore) -> None:
    image = an_image()
    (config, data), *_ = image.blobs
    store.put(config, lambda: io.BytesIO(data))
    with pytest.raises(NotFound) as caught:
        store.tag(image.manifest.to_json(), MANIFEST, ["x"])
    assert caught.value.stable_code == "no_such_blob"
    assert store.find("x") is None
    assert store.find(f"sha256:{image.descriptor.digest}") is None


def test_an_index_holds_images_for_several_platforms(store: ImageStore) -> None:
    images = [an_image(1), an_image(2, platform="linux/arm64/v8")]
    for image in images:
        image.put(store)
    index = Index(tuple(image.descriptor for image in images))
    store.tag(index.to_json(), INDEX, ["many"])
    found = store.find("many")
    assert found is not None
    assert found.descriptor.media_type == INDEX
    assert found.content == index.to_json()


def test_an_index_whose_images_are_missing_is_refused(store: ImageStore) -> None:
    index = Index((an_image().descriptor,))
    with pytest.raises(NotFound) as caught:
        store.tag(index.to_json(), INDEX, ["many"])
    assert caught.value.stable_code == "no_such_blob"
    assert store.find("many") is None


def test_an_artifact_is_kept_like_an_image(store: ImageStore) -> None:
    config, empty = blob(b"{}", EMPTY)
    layer, source = blob(b"a lock", "application/vnd.wardian.lock.v1+json")
    store.put(config, empty)
    store.put(layer, source)
    artifact = Manifest(config, (layer,), artifact_type="application/vnd.wardian.lock.v1+json", annotations=(("k", "v"),))
    store.tag(artifact.to_json(), MANIFEST, ["l-1"])
    found = store.find("l-1")
    assert found is not None
    assert found.content == artifact.to_json()
    assert read(store, layer) == b"a lock"


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "x" * 129, "sha256:1", "ü"])
def test_what_cannot_be_a_tag_is_refused(store: ImageStore, name: str) -> None:
    image = an_image()
    image.put(store)
    with pytest.raises(InvalidImage) as caught:
        store.tag(image.manifest.to_json(), MANIFEST, [name])
    assert caught.value.stable_code == "invalid_tag"
    assert store.tags() == []


def test_repositories_are_kept_apart(make: Callable[[str], ImageStore]) -> None:
    an_image().put(make("a"), "x")
    assert make("b").find("x") is None
    assert make("b").tags() == []


def test_many_threads_put_the_same_and_other_images(make: Callable[[str], ImageStore]) -> None:
    store = make("a")
    start = threading.Barrier(8)

    def put(number: int) -> None:
        start.wait()
        an_image(number % 3).put(store, f"t-{number}", "last")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    assert store.tags() == ["last", *(f"t-{n}" for n in range(8))]
    for number in range(8):
        found = make("a").find(f"t-{number}")
        assert found is not None
        assert found.descriptor.digest == an_image(number % 3).descriptor.digest


def test_a_blob_of_another_repository_can_be_put_from_there(make: Callable[[str], ImageStore]) -> None:
    descriptor, source = blob(content(5, 3 * CHUNK))
    origin, target = make("a"), make("b")
    origin.put(descriptor, source)
    assert target.put(descriptor, lambda: origin.open(descriptor), origin=origin) in ("mounted", "sent")
    assert read(target, descriptor) == content(5, 3 * CHUNK)
