"""What `Locks` and `ParsedFiles` promise, on every way to keep records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock, an_artifact, an_environment

from wardian.definition.document import to_document
from wardian.definition.identity import definition_hash
from wardian.digest import Digest
from wardian.errors import Conflict, InvalidReference, NotFound
from wardian.workspace.database import DamagedRecords, Database
from wardian.workspace.environments import Environments
from wardian.workspace.locks import Locks
from wardian.workspace.parsed import ParsedFiles
from wardian.workspace.version import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLATFORM = "linux/amd64"
ENVIRONMENT = an_environment()
HASH = definition_hash(ENVIRONMENT)
OLD = a_lock(environment=ENVIRONMENT)
NEW = a_lock(an_artifact("cpython", "3.11.9", kind="python"), an_artifact("numpy", "2.0.0"), environment=ENVIRONMENT)


@pytest.fixture(params=["wal", "delete", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    kept = (
        Database.in_memory() if request.param == "memory" else Database.open(tmp_path / "workspace.db", journal=request.param)
    )
    yield kept
    kept.close()


@pytest.fixture
def locks(database: Database) -> Locks:
    return Locks(database, lambda: datetime(2024, 3, 1, tzinfo=UTC))


@pytest.fixture
def version_id(database: Database) -> int:
    return Environments(database).register(ENVIRONMENT)[0].id


def test_a_lock_comes_back_equal(locks: Locks) -> None:
    lock = a_lock(
        an_artifact("python", "3.11.9", kind="conda", depends=("libzlib >=1.2",)), an_artifact("mine", "1.0", kind="sdist"),
        as_of="2024-01-01T00:00:00Z", notes=("not portable",), virtual_packages={"__glibc": "2.28"},
    )  # fmt: skip
    assert locks.put(lock) == lock.digest
    assert locks.put(lock) == lock.digest
    found = locks.get(lock.digest)
    assert found == lock
    assert found.digest == lock.digest
    assert found.provenance == lock.provenance


def test_a_missing_lock_is_an_error(locks: Locks) -> None:
    assert locks.find(OLD.digest) is None
    with pytest.raises(NotFound, match=OLD.digest[:12]):
        locks.get(OLD.digest)


def test_each_definition_keeps_its_own_provenance(locks: Locks) -> None:
    other = an_environment(pip=("numpy",))
    locks.put(OLD)
    locks.put(a_lock(environment=other, created="2024-02-09T00:00:00Z"))
    assert locks.get(OLD.digest).provenance.definition_hash == HASH
    assert locks.get(OLD.digest, definition_hash=HASH).provenance.definition_hash == HASH
    found = locks.get(OLD.digest, definition_hash=definition_hash(other))
    assert found.provenance.created == "2024-02-09T00:00:00Z"
    assert found.digest == OLD.digest


@pytest.mark.parametrize("damage", ["UPDATE locks SET document = x'00'", "UPDATE locks SET document = (SELECT document FROM locks n WHERE n.lock_digest <> locks.lock_digest)"])  # fmt: skip
def test_a_damaged_lock_is_named(locks: Locks, database: Database, damage: str) -> None:
    locks.put(OLD)
    locks.put(NEW)
    with database.write():
        database.execute(damage)
    with pytest.raises(DamagedRecords, match=OLD.digest[:12]):
        locks.find(OLD.digest)


def test_prefixes(locks: Locks, database: Database) -> None:
    locks.put(OLD)
    assert locks.find_prefix(OLD.digest[:6].upper()) == OLD.digest
    assert locks.find_prefix("0" * 12) is None
    with pytest.raises(InvalidReference):
        locks.find_prefix("abc")
    with pytest.raises(InvalidReference):
        locks.find_prefix("xyzxyz")
    with database.write():
        database.execute(
            "INSERT INTO locks SELECT substr(lock_digest, 1, 8) || ?, install_digest, platform, 1, '', '', '', '' FROM locks",
            "0" * 56,
        )
    with pytest.raises(Conflict, match="several locks"):
        locks.find_prefix(OLD.digest[:6])


def test_a_pin_is_for_ever(locks: Locks, version_id: int) -> None:
    locks.put(OLD)
    locks.put(NEW)
    assert locks.find_pin(version_id, PLATFORM) is None
    pin = locks.pin(version_id, PLATFORM, OLD.digest, "solved")
    assert locks.pin(version_id, PLATFORM, OLD.digest, "registry") == pin == locks.find_pin(version_id, PLATFORM)
    assert (pin.lock_digest, pin.install_digest, pin.origin) == (OLD.digest, OLD.install_digest, "solved")
    assert (pin.packages, pin.python_version, pin.created, pin.as_of) == (2, "3.11.9", "2024-02-01T00:00:00Z", "")
    assert (pin.python_source, pin.python_sha256) == ("index:python", OLD.artifacts[0].sha256)
    assert pin.chosen == "2024-03-01T00:00:00.000000Z"
    with pytest.raises(Conflict, match=f"pinned to lock {OLD.digest[:12]}") as caught:
        locks.pin(version_id, PLATFORM, NEW.digest, "solved")
    assert caught.value.stable_code == "pinned"
    assert locks.find_pin(version_id, PLATFORM) == pin


def test_a_version_that_is_deleted_while_its_lock_is_solved_is_said(locks: Locks, version_id: int, database: Database) -> None:
    locks.put(OLD)
    Environments(database).delete(Environments(database).by_id(version_id).reference)
    with pytest.raises(Conflict, match="was deleted meanwhile") as caught:
        locks.pin(version_id, PLATFORM, OLD.digest, "solved")
    assert caught.value.stable_code == "deleted_meanwhile"


def test_pins_are_by_platform(locks: Locks, version_id: int) -> None:
    arm = a_lock(environment=ENVIRONMENT, platform="linux/arm64")
    locks.pin(version_id, PLATFORM, locks.put(OLD), "solved")
    locks.pin(version_id, "linux/arm64", locks.put(arm), "solved")
    assert [pin.platform for pin in locks.pins(version_id)] == ["linux/amd64", "linux/arm64"]
    with pytest.raises(Conflict, match="is for linux/arm64"):
        locks.pin(version_id, "darwin/arm64", arm.digest, "solved")


def test_only_a_kept_lock_is_pinned(locks: Locks, version_id: int) -> None:
    with pytest.raises(NotFound):
        locks.pin(version_id, PLATFORM, OLD.digest, "solved")
    with pytest.raises(NotFound):
        locks.set_current(HASH, PLATFORM, OLD.digest, "solved")
    assert locks.pins(version_id) == ()


def test_a_lock_without_an_interpreter_is_pinned_too(locks: Locks, version_id: int) -> None:
    lock = a_lock(an_artifact(), environment=ENVIRONMENT)
    pin = locks.pin(version_id, PLATFORM, locks.put(lock), "solved")
    assert (pin.python_version, pin.python_sha256, pin.packages) == ("", "", 1)


def test_a_copy_gets_the_pins_of_its_original(locks: Locks, version_id: int, database: Database) -> None:
    copy, _ = Environments(database).register(ENVIRONMENT.renamed("copy"))
    locks.pin(version_id, PLATFORM, locks.put(OLD), "solved")
    locks.copy_pins(version_id, copy.id, "copied")
    locks.copy_pins(version_id, copy.id, "again")
    assert [(pin.lock_digest, pin.origin) for pin in locks.pins(copy.id)] == [(OLD.digest, "copied")]


def test_the_current_lock_is_the_first_and_moves_with_a_history(locks: Locks, version_id: int) -> None:
    locks.put(OLD)
    locks.put(NEW)
    assert locks.current(HASH, PLATFORM) is None
    first = locks.ensure_current(HASH, PLATFORM, OLD.digest, "solved", author="ann")
    assert locks.ensure_current(HASH, PLATFORM, NEW.digest, "solved", author="bob") == first == locks.current(HASH, PLATFORM)
    assert (first.lock_digest, first.origin, first.created) == (OLD.digest, "solved", "2024-02-01T00:00:00Z")
    pin = locks.pin(version_id, PLATFORM, first.lock_digest, "current")
    assert locks.set_current(HASH, PLATFORM, NEW.digest, "rebuilt", author="cy").lock_digest == NEW.digest
    locks.set_current(HASH, PLATFORM, NEW.digest, "rebuilt", author="cy")  # no move
    assert locks.find_pin(version_id, PLATFORM) == pin
    moves = [(move.from_lock, move.to_lock, move.origin, move.author) for move in locks.current_history(HASH, PLATFORM)]
    assert moves == [(OLD.digest, NEW.digest, "rebuilt", "cy"), (None, OLD.digest, "solved", "ann")]
    assert locks.current_history(HASH, "linux/arm64") == ()


def test_users_of_a_hash(locks: Locks, database: Database) -> None:
    environments = Environments(database)
    environments.register(ENVIRONMENT)
    environments.register(ENVIRONMENT.renamed(None))
    environments.register(ENVIRONMENT.renamed("b").with_variables({"A": "1"}))
    environments.register(an_environment(name="other", pip=("scipy",)))
    environments.archive("b")
    assert locks.users_of_hash(HASH) == ("sklearn:1", f"@{HASH[:12]}", "b:1")
    assert locks.users_of_hash("0" * 64) == ()


# -- parsed files --------------------------------------------------------------------------------------------------------


def test_a_parsed_file_is_found_by_all_that_decides_it(database: Database) -> None:
    parsed = ParsedFiles(database)
    file = Digest.of(b"numpy==1.26.4\n")
    written = an_environment(description="d", tags={"a": "b"}, variables={"V": "1"})
    parsed.put(file, "requirements", "1", written)
    found = parsed.find(file, "requirements", "1")
    assert found is not None
    assert (found.name, found.definition_hash, found.content_key) == ("sklearn", definition_hash(written), content_key(written))
    assert found.document == to_document(written)
    assert found.environment == written
    assert parsed.find(Digest.of(b"other"), "requirements", "1") is None
    assert parsed.find(file, "conda", "1") is None
    assert parsed.find(file, "requirements", "2") is None


def test_a_parsed_file_is_replaced(database: Database) -> None:
    parsed = ParsedFiles(database)
    file = Digest.of(b"x")
    parsed.put(file, "", "1", an_environment())
    parsed.put(file, "", "1", an_environment(name=None))
    found = parsed.find(file, "", "1")
    assert found is not None
    assert found.name is None


def test_only_the_last_thousand_parsed_files_are_kept(database: Database) -> None:
    parsed = ParsedFiles(database)
    environment = an_environment()
    with database.write():
        for number in range(1003):
            parsed.put(Digest.of(str(number).encode()), "", "1", environment)
    assert database.rows("SELECT count(*) FROM parsed_files")[0][0] == 1000
    assert parsed.find(Digest.of(b"2"), "", "1") is None
    assert parsed.find(Digest.of(b"1002"), "", "1") is not None
