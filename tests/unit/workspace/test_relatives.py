"""What versions have in common: hash, lock, image, and what was made from what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock, an_artifact, an_environment

from wardian.digest import Digest
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments
from wardian.workspace.images import Images, KnownImage
from wardian.workspace.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Iterator

PLATFORM = "linux/amd64"


@pytest.fixture
def database() -> Iterator[Database]:
    kept = Database.in_memory()
    yield kept
    kept.close()


def test_a_version_alone_has_no_relatives(database: Database) -> None:
    environments = Environments(database)
    version, _ = environments.register(an_environment())
    environments.register(an_environment(name="other", pip=("numpy==2",)))
    assert environments.relatives(version) == {"same_hash": (), "same_lock": (), "same_image": (), "descendants": ()}


def test_who_shares_hash_lock_and_image(database: Database) -> None:
    environments, locks, images = Environments(database), Locks(database), Images(database)
    first, _ = environments.register(an_environment())
    same, _ = environments.register(an_environment(name="same"))
    anonymous, _ = environments.register(an_environment(name=None))
    locked, _ = environments.register(an_environment(name="locked", pip=("numpy",)))
    environments.register(an_environment(name="other", pip=("numpy==2",)))
    lock = locks.put(a_lock(an_artifact("numpy")))
    for version in (first, locked):
        locks.pin(version.id, PLATFORM, lock, "solved")
    here, there = (
        KnownImage(PLATFORM, Digest.of(b"k"), Digest.of(b"m"), Digest.of(b"c"), store, "built", "1", 9, "")
        for store in ("/a", "h/b")
    )
    for one, image in ((first, here), (first, there), (locked, there), (same, here)):
        images.put(one.id, image)
    found = environments.relatives(first)
    assert found["same_hash"] == ("same:1", f"@{anonymous.definition_hash[:12]}")
    assert found["same_lock"] == ("locked:1",)
    assert found["same_image"] == ("same:1", "locked:1")
    assert environments.relatives(locked)["same_image"] == ("sklearn:1", "same:1")


def test_what_was_made_from_a_version_is_found_through_any_number_of_steps(database: Database) -> None:
    environments = Environments(database)
    first, _ = environments.register(an_environment())
    edited, _ = environments.register(an_environment(pip=("numpy==2",)), parent=first, lineage_note="edited")
    copied, _ = environments.register(an_environment(name="copy", pip=("numpy==2",)), parent=edited)
    environments.register(an_environment(name="scratch", pip=("pandas",)))
    assert environments.relatives(first)["descendants"] == ("sklearn:2", "copy:1")
    assert environments.relatives(edited)["descendants"] == ("copy:1",)
    assert environments.relatives(copied)["descendants"] == ()
