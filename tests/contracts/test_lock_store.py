"""The lock store's promises, kept by a directory and by images' stores: the first offer wins, wheels travel with their lock."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock, an_artifact, an_environment
from tests.support import registry as support
from tests.support.images import an_image
from tests.support.registry import DockerRegistry

from wardian.definition.identity import definition_hash
from wardian.definition.platform import get_platform
from wardian.digest import Digest
from wardian.image.layout import LayoutImageStore
from wardian.image.lock_store import ImageLockStore
from wardian.image.oci import InvalidImage
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_client import RegistryClient
from wardian.lock.lock import BuiltWheel
from wardian.lock.store import DirectoryLockStore, LockStore
from wardian.tools.registry_http import RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wardian.image.store import ImageStore
    from wardian.lock.lock import Lock

PLATFORM = get_platform("linux/amd64")
HASH = definition_hash(an_environment())


KINDS = ("directory", "layout", "registry")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], DockerRegistry]]:
    with contextlib.ExitStack() as stack:
        running: list[DockerRegistry] = []

        def get() -> DockerRegistry:
            if not running:
                if why := support.why_not():
                    pytest.skip(why)
                running.append(stack.enter_context(DockerRegistry(tmp_path_factory.mktemp("registry"))))
            return running[0]

        yield get


@pytest.fixture(params=KINDS)
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, registry: Callable[[], DockerRegistry]
) -> Callable[[str], LockStore]:
    """Return what opens the one store from a machine: of a directory, there is one machine alone."""
    name = Digest.of(str(tmp_path).encode())[:16]

    def open_store(machine: str = "one") -> LockStore:
        if request.param == "directory":
            return DirectoryLockStore(tmp_path / "registry")
        place = tmp_path / machine
        images: ImageStore = LayoutImageStore(tmp_path / "layout")
        if request.param == "registry":
            client = RegistryClient(registry().host, http=RegistryHttp(timeout_s=20), login=lambda _host, _repository: None)
            images = RegistryImageStore(client, f"locks/{name}")
        return ImageLockStore(images, wheels=place / "wheels", locks=place / "locks")

    return open_store


@pytest.fixture
def store(open_store: Callable[[str], LockStore]) -> LockStore:
    return open_store("one")


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryLockStore:
    return DirectoryLockStore(tmp_path / "registry")


def test_the_first_offer_wins_and_the_loser_gets_it(store: LockStore) -> None:
    first, second = a_lock(an_artifact(version="1.0")), a_lock(an_artifact(version="2.0"))
    assert store.find_current(HASH, PLATFORM) is None
    assert store.offer(first, []) == first
    assert store.offer(second, []).digest == first.digest
    found = store.find_current(HASH, PLATFORM)
    assert found is not None
    assert found.digest == first.digest
    assert found.provenance == first.provenance


def test_platforms_and_hashes_are_kept_apart(store: LockStore) -> None:
    store.offer(a_lock(), [])
    assert store.find_current(HASH, get_platform("linux/arm64")) is None
    assert store.find_current(Digest.of(b"another"), PLATFORM) is None


def test_move_replaces_the_current_lock(store: LockStore) -> None:
    store.offer(a_lock(an_artifact(version="1.0")), [])
    newer = a_lock(an_artifact(version="2.0"))
    store.move(newer)
    found = store.find_current(HASH, PLATFORM)
    assert found is not None
    assert found.digest == newer.digest


def a_built_lock(content: bytes) -> Lock:
    built = BuiltWheel("alpha-1.0-py3-none-any.whl", Digest.of(content), len(content))
    return a_lock(an_artifact("alpha", "1.0", kind="sdist", source="workspace", built=built))


@pytest.mark.parametrize("how", ["offered", "moved"])
def test_built_wheels_travel_with_the_lock(open_store: Callable[[str], LockStore], tmp_path: Path, how: str) -> None:
    wheel = tmp_path / "alpha-1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    lock = a_built_lock(b"wheel")
    if how == "offered":
        open_store("one").offer(lock, [wheel])
    else:
        open_store("one").move(lock, [wheel])
    other = open_store("another")
    assert other.find_current(HASH, PLATFORM) == lock
    found = other.find_wheel(Digest.of(b"wheel"), wheel.name)
    assert found is not None
    assert found.read_bytes() == b"wheel"
    assert other.find_wheel(Digest.of(b"other"), wheel.name) is None


def test_the_winner_of_an_offer_brings_its_wheels(open_store: Callable[[str], LockStore], tmp_path: Path) -> None:
    for name in ("one", "another"):
        (tmp_path / "built" / name).mkdir(parents=True)
        (tmp_path / "built" / name / "alpha-1.0-py3-none-any.whl").write_bytes(name.encode())
    open_store("one").offer(a_built_lock(b"one"), [*(tmp_path / "built/one").iterdir()])
    other = open_store("another")
    assert (
        other.offer(a_built_lock(b"another"), [*(tmp_path / "built/another").iterdir()]).digest == a_built_lock(b"one").digest
    )
    assert other.find_wheel(Digest.of(b"one"), "alpha-1.0-py3-none-any.whl") is not None


def test_the_same_lock_may_answer_two_definitions(store: LockStore) -> None:
    other = an_environment(pip=("numpy<2",))
    store.offer(a_lock(), [])
    store.offer(a_lock(environment=other), [])
    for asked in (HASH, definition_hash(other)):
        found = store.find_current(asked, PLATFORM)
        assert found is not None
        assert found.provenance.definition_hash == asked


@pytest.mark.parametrize("damage", [b"", b"{", b"not a lock", b"\xff"])
def test_a_damaged_entry_counts_as_none_and_can_be_offered_again(
    directory: DirectoryLockStore, tmp_path: Path, damage: bytes
) -> None:
    lock, store = a_lock(), directory
    store.offer(lock, [])
    (blob,) = (tmp_path / "registry" / "blobs" / "sha256").iterdir()
    blob.write_bytes(damage)
    assert store.find_current(HASH, PLATFORM) is None
    assert store.offer(lock, []) == lock
    assert store.find_current(HASH, PLATFORM) is not None


def test_a_changed_blob_counts_as_none(directory: DirectoryLockStore, tmp_path: Path) -> None:
    lock, store = a_lock(), directory
    store.offer(lock, [])
    (blob,) = (tmp_path / "registry" / "blobs" / "sha256").iterdir()
    blob.write_text(blob.read_text().replace("1.26.4", "1.26.5"))
    assert store.find_current(HASH, PLATFORM) is None


def test_of_many_offers_at_once_all_get_the_same(store: LockStore) -> None:
    locks = [a_lock(an_artifact(version=f"{n}.0")) for n in range(8)]
    gate = threading.Barrier(len(locks))
    found: list[str] = []

    def offer(n: int) -> None:
        gate.wait(20)
        found.append(store.offer(locks[n], []).digest)

    threads = [threading.Thread(target=offer, args=(n,)) for n in range(len(locks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == len(locks)
    assert len(set(found)) == 1


def test_the_lock_of_something_else_under_a_tag_is_an_error(tmp_path: Path) -> None:
    images = LayoutImageStore(tmp_path / "layout")
    store = ImageLockStore(images, wheels=tmp_path / "wheels", locks=tmp_path / "locks")
    other = an_environment(pip=("numpy<2",))
    store.offer(a_lock(environment=other), [])
    found = images.find(f"d-{definition_hash(other)}-linux-amd64")
    assert found is not None
    images.tag(found.content, found.descriptor.media_type, [f"d-{HASH}-linux-amd64", f"l-{'0' * 64}"])
    with pytest.raises(InvalidImage, match="holds the lock of @") as caught:
        store.find_current(HASH, PLATFORM)
    assert caught.value.stable_code == "tag_mismatch"
    with pytest.raises(InvalidImage, match="holds the lock"):
        store.find(Digest("0" * 64))


def test_what_is_no_lock_under_a_tag_is_an_error(tmp_path: Path) -> None:
    images = LayoutImageStore(tmp_path / "layout")
    an_image().put(images, f"d-{HASH}-linux-amd64")
    store = ImageLockStore(images, wheels=tmp_path / "wheels", locks=tmp_path / "locks")
    with pytest.raises(InvalidImage, match="holds no lock"):
        store.offer(a_lock(), [])
