"""No look-up reads more of a large workspace than of a small one: every query seeks by an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock, an_environment

from wardian.digest import Digest
from wardian.errors import NotFound
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments
from wardian.workspace.locks import Locks
from wardian.workspace.model_files import ModelFiles
from wardian.workspace.model_version import Lineage, ModelFacts
from wardian.workspace.models import Models, NewModel
from wardian.workspace.parsed import ParsedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLATFORM = "linux/amd64"
_OF_THE_QUERY = ("SCAN CONSTANT ROW", "SCAN made")  # rows that it has made itself
ENVIRONMENT = an_environment()


@pytest.fixture
def database() -> Iterator[Database]:
    kept = Database.in_memory()
    environments = Environments(kept)
    first, _ = environments.register(ENVIRONMENT)
    environments.register(an_environment(pip=("numpy==2",)))
    environments.register(ENVIRONMENT.renamed(None))
    environments.label("sklearn", "1", "prod")
    locks = Locks(kept)
    locks.pin(first.id, PLATFORM, locks.put(a_lock(environment=ENVIRONMENT)), "solved")
    locks.ensure_current(first.definition_hash, PLATFORM, a_lock(environment=ENVIRONMENT).digest, "solved")
    yield kept
    kept.close()


def statements(database: Database, act: Callable[[], object]) -> list[str]:
    """What SQLite runs while ``act`` does, with the values filled in."""
    seen: list[str] = []
    database.connection.set_trace_callback(seen.append)
    act()
    database.connection.set_trace_callback(None)
    return [text for text in seen if text.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))]


def scans(database: Database, statement: str) -> list[str]:
    plan = [str(row["detail"]) for row in database.rows(f"EXPLAIN QUERY PLAN {statement}")]
    return [step for step in plan if step.startswith(("SCAN", "USE TEMP B-TREE")) and step not in _OF_THE_QUERY]


def check(database: Database, act: Callable[[], object]) -> None:
    ran = statements(database, act)
    assert ran
    assert {text: found for text in ran if (found := scans(database, text))} == {}


HASH = Environments(Database.in_memory()).register(ENVIRONMENT)[0].definition_hash

LOOK_UPS: dict[str, Callable[[Environments, Locks, ParsedFiles], object]] = {
    "show NAME": lambda e, _l, _p: e.get("sklearn"),
    "show NAME:V": lambda e, _l, _p: e.get("sklearn:1"),
    "show NAME@LABEL": lambda e, _l, _p: e.get("sklearn@prod"),
    "show @HASH": lambda e, _l, _p: e.get(f"@{HASH[:12]}"),
    "newer_with": lambda e, _l, _p: e.newer_with(e.get("sklearn:1"), e.get("sklearn").content_key),
    "relatives": lambda e, _l, _p: e.relatives(e.get("sklearn")),
    "source": lambda e, _l, _p: e.source(e.get("sklearn")),
    "find_current": lambda e, _l, _p: e.find_current("sklearn", HASH),
    "find_current anonymous": lambda e, _l, _p: e.find_current(None, HASH),
    "list": lambda e, _l, _p: e.list(),
    "list after": lambda e, _l, _p: e.list(after="m"),
    "list archived": lambda e, _l, _p: e.list(include_archived=True, after="m"),
    "list kind": lambda e, _l, _p: e.list(kind="user", after="a"),
    "list kind archived": lambda e, _l, _p: e.list(kind="user", include_archived=True),
    "versions": lambda e, _l, _p: e.versions("sklearn"),
    "versions after": lambda e, _l, _p: e.versions("sklearn", after="3"),
    "history": lambda e, _l, _p: e.history("sklearn"),
    "lineage": lambda e, _l, _p: e.lineage("sklearn"),
    "label_history": lambda e, _l, _p: e.label_history("sklearn", "prod"),
    "all of label_history": lambda e, _l, _p: e.label_history("sklearn"),
    "get lock": lambda _e, k, _p: k.get(a_lock(environment=ENVIRONMENT).digest),
    "find_prefix": lambda _e, k, _p: k.find_prefix(a_lock(environment=ENVIRONMENT).digest[:8]),
    "find_pin": lambda _e, k, _p: k.find_pin(1, PLATFORM),
    "pins": lambda _e, k, _p: k.pins(1),
    "current": lambda _e, k, _p: k.current(HASH, PLATFORM),
    "current_history": lambda _e, k, _p: k.current_history(HASH, PLATFORM),
    "users_of_hash": lambda _e, k, _p: k.users_of_hash(HASH),
    "parsed": lambda _e, _l, p: p.find(HASH, "", "1"),
}
CHANGES: dict[str, Callable[[Environments, Locks, ParsedFiles], object]] = {
    "register": lambda e, _l, _p: e.register(an_environment(pip=("numpy==3",))),
    "register a name": lambda e, _l, _p: e.register(an_environment(name="other")),
    "register again": lambda e, _l, _p: e.register(an_environment(pip=("numpy==2",))),
    "label": lambda e, _l, _p: e.label("sklearn", "2", "prod"),
    "remove_label": lambda e, _l, _p: e.remove_label("sklearn", "prod"),
    "update": lambda e, _l, _p: e.update("sklearn", description="d"),
    "archive NAME": lambda e, _l, _p: e.archive("sklearn"),
    "archive NAME:V": lambda e, _l, _p: e.archive("sklearn:2"),
    "restore": lambda e, _l, _p: e.restore("sklearn"),
    "pin": lambda _e, k, _p: k.pin(2, PLATFORM, a_lock(environment=ENVIRONMENT).digest, "solved"),
    "set_current": lambda _e, k, _p: k.set_current(HASH, PLATFORM, a_lock(environment=ENVIRONMENT).digest, "solved"),
    "put parsed": lambda _e, _l, p: p.put(Digest.of(b""), "", "1", ENVIRONMENT),
}


@pytest.mark.parametrize("act", [*LOOK_UPS.values(), *CHANGES.values()], ids=[*LOOK_UPS, *CHANGES])
def test_nothing_is_scanned(database: Database, act: Callable[[Environments, Locks, ParsedFiles], object]) -> None:
    check(database, lambda: act(Environments(database), Locks(database), ParsedFiles(database)))


def test_an_error_that_names_what_comes_close_scans_nothing(database: Database) -> None:
    def act() -> None:
        for reference in ("sklaern", "sklearn:9", "sklearn@dev", "@abcdef"):
            with pytest.raises(NotFound):
                Environments(database).get(reference)

    check(database, act)


def test_a_delete_finds_what_refers_to_a_version_by_index(database: Database) -> None:
    """The schema itself is read, and each table of users by an index on its reference."""
    ran = statements(database, lambda: Environments(database).delete("sklearn:2"))
    assert {text: found for text in ran if "sqlite_master" not in text and (found := scans(database, text))} == {}


def _add(models: Models, name: str, content: bytes) -> None:
    facts = ModelFacts(Digest.of(content), "custom", "m", is_directory=False, files=1, size_bytes=1)
    models.add(NewModel(name, facts, Lineage(run_id="r", version_id=1)), lambda: None)


OF_MODELS: dict[str, Callable[[Models], object]] = {
    "show NAME": lambda m: m.get("churn"),
    "show NAME:V": lambda m: m.get("churn:1"),
    "show NAME@LABEL": lambda m: m.get("churn@prod"),
    "list": lambda m: m.list(),
    "list after": lambda m: m.list(after="a"),
    "versions": lambda m: m.versions("churn"),
    "versions after": lambda m: m.versions("churn", after="2"),
    "of_run": lambda m: m.of_run("r"),
    "of_environment": lambda m: m.of_environment(1),
    "may_have": lambda m: m.may_have(1, 1),
    "label_history": lambda m: m.label_history("churn", "prod"),
    "register": lambda m: _add(m, "churn", b"3"),
    "register again": lambda m: _add(m, "churn", b"2"),
    "register a name": lambda m: _add(m, "other", b"1"),
    "label": lambda m: m.label("churn:2", "prod"),
    "remove_label": lambda m: m.remove_label("churn", "prod"),
    "update": lambda m: m.update("churn", description="d"),
    "what comes close": lambda m: m.find("chrun"),
}


@pytest.mark.parametrize("act", OF_MODELS.values(), ids=OF_MODELS)
def test_nothing_of_models_is_scanned(database: Database, act: Callable[[Models], object], tmp_path: Path) -> None:
    models = Models(database, ModelFiles(tmp_path))
    _add(models, "churn", b"1")
    _add(models, "churn", b"2")
    models.label("churn:1", "prod")
    check(database, lambda: act(models))


def test_deleting_a_model_finds_what_refers_to_it_by_index(database: Database, tmp_path: Path) -> None:
    models = Models(database, ModelFiles(tmp_path))
    _add(models, "churn", b"1")
    _add(models, "churn", b"2")
    for reference in ("churn:2", "churn"):
        ran = statements(database, lambda reference=reference: models.delete(reference))  # type: ignore[misc]
        assert {text: found for text in ran if "sqlite_master" not in text and (found := scans(database, text))} == {}


def test_a_scan_would_be_noticed(database: Database) -> None:
    assert scans(database, "SELECT * FROM versions WHERE description = 'x'") == ["SCAN versions"]
    assert scans(database, "SELECT id FROM versions WHERE id > 1 ORDER BY created") == ["USE TEMP B-TREE FOR ORDER BY"]
