"""The lock store's promises: the first offer wins, a damaged entry counts as none."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock, an_artifact, an_environment

from wardian.definition.identity import definition_hash
from wardian.definition.platform import get_platform
from wardian.digest import Digest
from wardian.lock.store import DirectoryLockStore, LockStore

if TYPE_CHECKING:
    from pathlib import Path

PLATFORM = get_platform("linux/amd64")
HASH = definition_hash(an_environment())


@pytest.fixture
def store(tmp_path: Path) -> DirectoryLockStore:
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


def test_built_wheels_travel_with_the_lock(store: LockStore, tmp_path: Path) -> None:
    wheel = tmp_path / "alpha-1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    store.offer(a_lock(), [wheel])
    found = store.find_wheel(Digest.of(b"wheel"), wheel.name)
    assert found is not None
    assert found.read_bytes() == b"wheel"
    assert store.find_wheel(Digest.of(b"other"), wheel.name) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"not a lock", b"\xff"])
def test_a_damaged_entry_counts_as_none_and_can_be_offered_again(
    store: DirectoryLockStore, tmp_path: Path, damage: bytes
) -> None:
    lock = a_lock()
    store.offer(lock, [])
    (tmp_path / "registry" / "blobs" / "sha256" / lock.digest).write_bytes(damage)
    assert store.find_current(HASH, PLATFORM) is None
    assert store.offer(lock, []) == lock
    assert store.find_current(HASH, PLATFORM) is not None


def test_a_changed_blob_counts_as_none(store: DirectoryLockStore, tmp_path: Path) -> None:
    lock = a_lock()
    store.offer(lock, [])
    blob = tmp_path / "registry" / "blobs" / "sha256" / lock.digest
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
