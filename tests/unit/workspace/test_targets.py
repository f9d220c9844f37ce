from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.jobs import a_configuration

from wardian.errors import Conflict, NotFound
from wardian.run.record import Results
from wardian.run.records import RunStore
from wardian.workspace.database import Database
from wardian.workspace.targets import Targets


@pytest.fixture
def database() -> Database:
    return Database.in_memory()


def test_a_target_is_found_by_its_name_with_its_options(database: Database) -> None:
    targets = Targets(database)
    made = targets.add("big", "podman", {"shm": "16G"})
    assert targets.find("big") == made
    assert made.options == {"shm": "16G"}
    assert not made.is_built_in
    assert targets.find("small") is None


def test_the_same_again_changes_nothing_and_another_is_a_conflict(database: Database) -> None:
    targets = Targets(database)
    made = targets.add("big", "podman", {"shm": "16G"})
    assert targets.add("big", "podman", {"shm": "16G"}) == made
    with pytest.raises(Conflict, match="there is a target `big` already, of kind podman"):
        targets.add("big", "podman", {"shm": "8G"})


def test_targets_are_listed_by_name(database: Database) -> None:
    targets = Targets(database)
    for name in ("b", "c", "a"):
        targets.add(name, "podman", {})
    assert [one.name for one in targets.list()] == ["a", "b", "c"]


def test_a_target_with_active_runs_stays(database: Database) -> None:
    targets, runs = Targets(database), RunStore(database)
    targets.add("big", "podman", {})
    run = runs.add(a_configuration(Path("/project"), target="big"), supervisor=None, results=Results())
    with pytest.raises(Conflict, match=run.id) as refused:
        targets.delete("big")
    assert refused.value.stable_code == "target_in_use"
    runs.end(run.id, "canceled", code="canceled")
    targets.delete("big")
    assert targets.find("big") is None
    with pytest.raises(NotFound, match="there is no target `big`"):
        targets.delete("big")


def test_what_keeps_a_target_is_found_by_an_index(database: Database) -> None:
    plan = database.rows(
        "EXPLAIN QUERY PLAN SELECT id FROM runs WHERE target = 'a' AND state IN ('queued', 'running') ORDER BY id LIMIT 4"
    )
    assert not [row["detail"] for row in plan if row["detail"].startswith("SCAN")]
