"""What `Environments` promises, on every way to keep records: WAL, rollback journal, memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock, an_environment

from wardian.definition.identity import definition_hash
from wardian.errors import Conflict, InvalidInput, InvalidReference, NotFound
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments
from wardian.workspace.locks import Locks
from wardian.workspace.version import Ancestor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMPY_1 = an_environment(pip=("numpy==1.26.4",))
NUMPY_2 = an_environment(pip=("numpy==2.0.0",))


class Clock:
    """A second later at each look."""

    def __init__(self) -> None:
        self.moment = datetime(2024, 2, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


@pytest.fixture(params=["wal", "delete", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    kept = (
        Database.in_memory() if request.param == "memory" else Database.open(tmp_path / "workspace.db", journal=request.param)
    )
    assert kept.journal == request.param
    yield kept
    kept.close()


@pytest.fixture
def environments(database: Database) -> Environments:
    return Environments(database, Clock())


def references(items: object) -> list[str]:
    return [str(item) for item in items]  # type: ignore[attr-defined]


# -- register ------------------------------------------------------------------------------------------------------------


def test_what_is_registered_is_found_equal(environments: Environments) -> None:
    written = an_environment(
        pip=("numpy==1.26.4", "./mine"),
        variables={"A": "ü"},
        description="Über",
        tags={"team": "a b"},
        accelerators={"cuda": "12.4"},
    )
    added, created = environments.register(written, source=("requirements", "numpy==1.26.4  # a comment\n"))
    assert created
    found = environments.get("sklearn")
    assert found == added
    assert found.environment == written
    assert found.reference == str(found) == "sklearn:1"
    assert found.definition_hash == definition_hash(written)
    assert (found.name, found.version, found.kind, found.archived) == ("sklearn", "1", "system", False)
    assert (found.description, found.tags, found.created) == ("Über", {"team": "a b"}, "2024-02-01T00:00:01.000000Z")
    assert environments.source(found) == ("requirements", "numpy==1.26.4  # a comment\n")
    assert found.as_document()["definition"] == {
        "python": {"manager": "uv", "pip": ["numpy==1.26.4", "./mine"]}, "accelerators": {"cuda": "12.4"}, "variables": {"A": "ü"},
    }  # fmt: skip


def test_same_content_is_the_same_version(environments: Environments) -> None:
    first, created = environments.register(NUMPY_1)
    again, created_again = environments.register(
        an_environment(pip=("NumPy == 1.26.4",), description="other words", tags={"a": "b"})
    )
    assert (created, created_again) == (True, False)
    assert again == first
    assert again.description == ""


@pytest.mark.parametrize(
    "changed",
    [NUMPY_2, NUMPY_1.with_variables({"A": "1"}), an_environment(pip=("numpy==1.26.4",), link_scripts="run")],
    ids=["packages", "variables", "settings"],
)
def test_other_content_is_the_next_version(environments: Environments, changed: object) -> None:
    environments.register(NUMPY_1)
    assert references([environments.register(changed)[0]]) == ["sklearn:2"]  # type: ignore[arg-type]


def test_the_interpreter_is_content_though_not_in_the_hash(environments: Environments) -> None:
    first, _ = environments.register(an_environment(manager="user", interpreter="/opt/a/bin/python"))
    second, _ = environments.register(an_environment(manager="user", interpreter="/opt/b/bin/python"))
    assert (first.reference, second.reference) == ("sklearn:1", "sklearn:2")
    assert first.definition_hash == second.definition_hash
    assert second.kind == "user"


def test_an_older_content_is_registered_anew(environments: Environments) -> None:
    for environment in (NUMPY_1, NUMPY_2, NUMPY_1):
        environments.register(environment)
    assert references(environments.versions("sklearn")) == ["sklearn:3", "sklearn:2", "sklearn:1"]


def test_the_newest_that_is_not_archived_counts(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    environments.archive("sklearn:2")
    assert environments.register(NUMPY_1) == (environments.get("sklearn:1"), False)
    assert str(environments.register(NUMPY_2)[0]) == "sklearn:3"


def test_a_version_may_be_added_though_nothing_changed(environments: Environments) -> None:
    environments.register(NUMPY_1)
    added, created = environments.register(NUMPY_1, always_new=True)
    assert (str(added), created) == ("sklearn:2", True)
    assert str(environments.register(NUMPY_1)[0]) == "sklearn:2"


def test_explicit_versions(environments: Environments) -> None:
    assert str(environments.register(NUMPY_1, version="2024.1-rc1")[0]) == "sklearn:2024.1-rc1"
    assert environments.register(NUMPY_1, version="2024.1-rc1")[1] is False
    with pytest.raises(Conflict, match=r"sklearn:2024\.1-rc1 exists with other content") as caught:
        environments.register(NUMPY_2, version="2024.1-rc1")
    assert caught.value.stable_code == "version_exists"
    assert str(environments.register(NUMPY_2)[0]) == "sklearn:1"
    assert str(environments.register(NUMPY_1, version="41")[0]) == "sklearn:41"
    assert str(environments.register(NUMPY_2)[0]) == "sklearn:42"
    assert str(environments.register(NUMPY_1, version="7")[0]) == "sklearn:7"
    assert str(environments.register(NUMPY_2)[0]) == "sklearn:43"
    assert environments.get("sklearn").version == "43"


@pytest.mark.parametrize("number", ["007", "9" * 40, "1.0", "0"])
def test_a_version_that_only_looks_like_a_number_does_not_count(environments: Environments, number: str) -> None:
    environments.register(NUMPY_1, version=number)
    assert str(environments.register(NUMPY_2)[0]) == "sklearn:1"


@pytest.mark.parametrize("version", ["latest", "", "a b", "-1", "a" * 65, "é", "1\n"])
def test_bad_versions_are_refused(environments: Environments, version: str) -> None:
    with pytest.raises(InvalidReference):
        environments.register(NUMPY_1, version=version)
    assert environments.find("sklearn") is None


@pytest.mark.parametrize("name", ["Wardian-sklearn", "wardian-x", "WARDIAN-", "run", "model", "endpoint", "azureml"])
def test_reserved_names_are_refused(environments: Environments, name: str) -> None:
    with pytest.raises(InvalidInput, match=name) as caught:
        environments.register(an_environment(name=name))
    assert caught.value.stable_code == "reserved_name"


def test_a_copy_keeps_the_text_it_came_from(environments: Environments) -> None:
    original, _ = environments.register(NUMPY_1, source=("requirements", "numpy==1.26.4 # why\n"))
    copy, _ = environments.register(NUMPY_1.renamed("copy"), parent=original, lineage_note="copied")
    changed, _ = environments.register(NUMPY_2.renamed("other"), parent=original)
    assert environments.source(copy) == ("requirements", "numpy==1.26.4 # why\n")
    assert environments.source(changed) is None


def test_find_current_is_what_register_would_return(environments: Environments) -> None:
    first, _ = environments.register(NUMPY_1)
    anonymous, _ = environments.register(NUMPY_1.renamed(None))
    assert environments.find_current("sklearn", first.content_key) == first
    assert environments.find_current(None, first.content_key) == anonymous
    assert environments.find_current("other", first.content_key) is None
    environments.register(NUMPY_2)
    assert environments.find_current("sklearn", first.content_key) is None


# -- anonymous -----------------------------------------------------------------------------------------------------------


def test_anonymous_ones_are_kept_by_content(environments: Environments) -> None:
    first, created = environments.register(NUMPY_1.renamed(None))
    assert created
    assert environments.register(NUMPY_1.renamed(None)) == (first, False)
    assert environments.get(first.reference) == first
    assert first.reference == f"@{first.definition_hash[:12]}"
    assert references(environments.list()) == []
    assert first.environment.name is None


def test_an_anonymous_one_has_no_version(environments: Environments) -> None:
    with pytest.raises(InvalidInput, match="needs a name"):
        environments.register(NUMPY_1.renamed(None), version="1")


def test_promotion_keeps_the_lineage(environments: Environments) -> None:
    anonymous, _ = environments.register(NUMPY_1.renamed(None), source=("requirements", "numpy == 1.26.4\n"))
    promoted, created = environments.register(anonymous.environment.renamed("named"), parent=anonymous, lineage_note="promoted")
    assert created
    assert environments.lineage("named") == (Ancestor(anonymous.reference, anonymous.definition_hash, "promoted"),)
    assert environments.source(promoted) == ("requirements", "numpy == 1.26.4\n")


def test_a_hash_means_the_anonymous_one_first(environments: Environments) -> None:
    anonymous, _ = environments.register(NUMPY_1.renamed(None))
    named, _ = environments.register(NUMPY_1.with_variables({"A": "1"}))
    assert anonymous.definition_hash == named.definition_hash
    assert environments.get(anonymous.reference) == anonymous
    environments.delete(anonymous.reference)
    assert environments.get(anonymous.reference) == named


# -- look up -------------------------------------------------------------------------------------------------------------


def test_every_kind_of_reference(environments: Environments) -> None:
    first, _ = environments.register(NUMPY_1)
    second, _ = environments.register(NUMPY_2)
    first = environments.label("sklearn", "1", "stable")
    assert environments.get("sklearn") == environments.get("sklearn@latest") == environments.get("sklearn:2") == second
    assert environments.get("sklearn:1") == environments.get("sklearn@stable") == first
    for digits in (6, 12, 64):
        assert environments.get(f"@{first.definition_hash[:digits]}") == first
    assert environments.get(f"@{first.definition_hash.upper()}") == first


def test_an_ambiguous_hash_names_the_candidates(environments: Environments, database: Database) -> None:
    for number in range(3):
        environments.register(an_environment(name=f"e{number}", pip=(f"numpy=={number}",)))
    with database.write():  # no two short definitions are known whose hashes begin alike
        database.execute("UPDATE versions SET definition_hash = 'abcdef' || substr(definition_hash, 7)")
    hashes = sorted(str(version.definition_hash) for version in environments.list())
    with pytest.raises(Conflict) as caught:
        environments.find("@abcdef")
    assert caught.value.stable_code == "ambiguous_hash"
    assert all(value[:12] in caught.value.message for value in hashes)
    assert environments.get(f"@{hashes[0]}").definition_hash == hashes[0]


def test_many_versions_of_one_hash_are_not_ambiguous(environments: Environments) -> None:
    for number in range(20):
        newest, _ = environments.register(NUMPY_1.with_variables({"N": str(number)}))
    assert environments.get(f"@{newest.definition_hash[:6]}") == newest


@pytest.mark.parametrize(
    ("reference", "code", "hint"),
    [
        ("sklaern", "environment_not_found", "did you mean `sklearn`?"),
        ("SKLEARN", "environment_not_found", "did you mean `sklearn`?"),
        ("zzz", "environment_not_found", "wardian env list"),
        ("zzz:1", "environment_not_found", "wardian env list"),
        ("sklearn:9", "environment_version_not_found", "the latest is 2"),
        ("sklearn@dev", "environment_label_not_found", "its labels: `prod`, `stable`"),
        ("torch@dev", "environment_label_not_found", "wardian env label torch:VERSION dev"),
        ("@abcdef012345", "environment_hash_not_found", "wardian env hash FILE"),
    ],
)
def test_what_is_missing_is_an_error_that_teaches(environments: Environments, reference: str, code: str, hint: str) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    environments.register(NUMPY_2.renamed("torch"))
    environments.label("sklearn", "1", "stable")
    environments.label("sklearn", "2", "prod")
    assert environments.find(reference) is None
    with pytest.raises(NotFound) as caught:
        environments.get(reference)
    assert caught.value.stable_code == code
    assert hint in (caught.value.hint or "")


def test_runs_are_not_resolved_here(environments: Environments) -> None:
    with pytest.raises(InvalidReference, match="is a run"):
        environments.find("run:abc")


def test_the_records_own_number(environments: Environments) -> None:
    first, _ = environments.register(NUMPY_1)
    assert environments.by_id(first.id) == first
    environments.delete("sklearn")
    second, _ = environments.register(NUMPY_1)
    assert second.id > first.id
    with pytest.raises(NotFound, match="deleted"):
        environments.by_id(first.id)


def test_list_has_the_latest_of_each_name(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    environments.register(an_environment(name="mine", manager="user"))
    environments.register(NUMPY_1.renamed("alpha"))
    environments.archive("alpha")
    assert references(environments.list()) == ["mine:1", "sklearn:2"]
    assert references(environments.list(include_archived=True)) == ["alpha:1", "mine:1", "sklearn:2"]
    assert references(environments.list(kind="user")) == ["mine:1"]
    assert references(environments.list(kind="system")) == ["sklearn:2"]
    assert references(environments.list(kind="system", include_archived=True)) == ["alpha:1", "sklearn:2"]
    with pytest.raises(InvalidInput, match="no kind"):
        environments.list(kind="curated")


def test_the_kind_is_that_of_the_latest(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(an_environment(manager="user"))
    assert references(environments.list(kind="user")) == ["sklearn:2"]
    environments.archive("sklearn:2")
    assert references(environments.list(kind="system")) == ["sklearn:1"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_hold_everything_once(environments: Environments, limit: int) -> None:
    names = [f"e{number}" for number in range(7)]
    for name in names:
        environments.register(NUMPY_1.renamed(name))
    seen: list[str] = []
    after: str | None = None
    while True:
        page = environments.list(limit=limit, after=after)
        assert len(page) <= limit
        seen += [version.name or "" for version in page]
        after = page.next
        if after is None:
            break
    assert seen == names


def test_pages_of_versions_hold_everything_once(environments: Environments) -> None:
    for number in range(5):
        environments.register(an_environment(pip=(f"numpy=={number}",)))
    first = environments.versions("sklearn", limit=2)
    second = environments.versions("sklearn", limit=2, after=first.next)
    third = environments.versions("sklearn", limit=2, after=second.next)
    assert references([*first, *second, *third]) == [f"sklearn:{n}" for n in (5, 4, 3, 2, 1)]
    assert third.next is None


def test_a_page_is_not_moved_by_what_happens_meanwhile(environments: Environments) -> None:
    for name in ("b", "d", "f"):
        environments.register(NUMPY_1.renamed(name))
    page = environments.list(limit=2)
    environments.register(NUMPY_1.renamed("a"))
    environments.delete("b")
    assert references(environments.list(limit=2, after=page.next)) == ["f:1"]


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_bad_limits_are_refused(environments: Environments, limit: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 1000"):
        environments.list(limit=limit)


def test_a_bad_cursor_is_refused(environments: Environments) -> None:
    environments.register(NUMPY_1)
    with pytest.raises(InvalidInput, match="where a page begins"):
        environments.versions("sklearn", after="x' OR 1")


# -- history and lineage -------------------------------------------------------------------------------------------------


def test_history_says_what_each_version_changed(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    environments.register(NUMPY_2.with_variables({"A": "1"}))
    environments.register(NUMPY_2.with_variables({"A": "1"}), always_new=True)
    page = environments.history("sklearn")
    said = [(entry.version.version, entry.difference and entry.difference.summary()) for entry in page]
    assert said == [("4", "same definition"), ("3", "A unset → 1"), ("2", "numpy 1.26.4 → 2.0.0"), ("1", None)]
    assert page.items[2].as_document()["changes"]["hashed"] == ["pip"]


def test_history_compares_across_pages(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    page = environments.history("sklearn", limit=1)
    assert page.items[0].previous is not None
    assert [entry.version.version for entry in environments.history("sklearn", after=page.next)] == ["1"]


def test_lineage_goes_back_to_the_first_ancestor(environments: Environments) -> None:
    curated = Ancestor("Wardian-sklearn:3", "c" * 64)
    first, _ = environments.register(NUMPY_1, parent=curated, lineage_note="copied")
    second, _ = environments.register(NUMPY_2.renamed("b"), parent=first, lineage_note="numpy moved")
    environments.register(NUMPY_2.renamed("c"), parent=second)
    assert [(step.reference, step.note) for step in environments.lineage("c")] == [
        ("b:1", ""), ("sklearn:1", "numpy moved"), ("Wardian-sklearn:3", "copied"),
    ]  # fmt: skip
    environments.delete("b")
    assert [step.reference for step in environments.lineage("c")] == ["b:1"]
    assert environments.lineage("sklearn")[0] == Ancestor("Wardian-sklearn:3", "c" * 64, "copied")


# -- labels --------------------------------------------------------------------------------------------------------------


def test_labels_move_and_remember(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    environments.label("sklearn", "1", "prod", author="ann")
    environments.label("sklearn", "1", "prod", author="ann")  # no move
    moved = environments.label("sklearn", "2", "prod", author="bob")
    environments.label("sklearn", "2", "a-first")
    assert moved.labels == ("prod",)
    assert environments.get("sklearn:2").labels == ("a-first", "prod")
    assert environments.get("sklearn:1").labels == ()
    environments.remove_label("sklearn", "prod", author="cy")
    history = [(move.from_version, move.to_version, move.author) for move in environments.label_history("sklearn", "prod")]
    assert history == [("2", None, "cy"), ("1", "2", "bob"), (None, "1", "ann")]
    assert [move.label for move in environments.label_history("sklearn")] == ["prod", "a-first", "prod", "prod"]
    with pytest.raises(NotFound, match="has the label `prod`"):
        environments.remove_label("sklearn", "prod")


def test_labels_of_two_names_are_apart(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2.renamed("b"))
    environments.label("sklearn", "1", "prod")
    environments.label("b", "1", "prod")
    assert (str(environments.get("sklearn@prod")), str(environments.get("b@prod"))) == ("sklearn:1", "b:1")


def test_latest_is_computed(environments: Environments) -> None:
    environments.register(NUMPY_1)
    with pytest.raises(InvalidReference, match="computed"):
        environments.label("sklearn", "1", "latest")
    with pytest.raises(InvalidReference, match="computed"):
        environments.remove_label("sklearn", "latest")


def test_only_what_is_there_gets_a_label(environments: Environments) -> None:
    environments.register(NUMPY_1)
    with pytest.raises(NotFound, match="no version `7`"):
        environments.label("sklearn", "7", "prod")
    with pytest.raises(NotFound, match="no environment `b`"):
        environments.label_history("b")
    assert environments.label_history("sklearn") == ()


# -- update, archive, restore, delete ------------------------------------------------------------------------------------


def test_description_and_tags_change_without_a_new_version(environments: Environments) -> None:
    first, _ = environments.register(an_environment(description="old", tags={"a": "1"}))
    changed = environments.update("sklearn", description="neu\r\nzwei")
    assert (changed.description, changed.tags, changed.id) == ("neu\nzwei", {"a": "1"}, first.id)
    assert environments.update("sklearn:1", tags={"b": "2"}).tags == {"b": "2"}
    assert environments.update("sklearn:1", tags={}, description="").environment == an_environment()
    assert environments.get("sklearn").definition_hash == first.definition_hash
    assert len(environments.versions("sklearn")) == 1


def test_archive_hides_and_restore_shows(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    assert environments.archive("sklearn").archived
    assert references(environments.list()) == []
    assert str(environments.get("sklearn")) == "sklearn:2"
    assert environments.get("sklearn:1").archived
    assert environments.register(NUMPY_2)[1] is False
    added, _ = environments.register(NUMPY_1)
    assert (str(added), added.archived) == ("sklearn:3", True)
    assert not environments.restore("sklearn").archived
    assert references(environments.list()) == ["sklearn:3"]


def test_latest_passes_archived_versions_over(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    environments.archive("sklearn:2")
    assert str(environments.get("sklearn")) == "sklearn:1"
    assert environments.get("sklearn:2").archived
    environments.archive("sklearn:1")
    assert str(environments.get("sklearn")) == "sklearn:2"
    assert references(environments.list()) == []
    assert references(environments.list(include_archived=True)) == ["sklearn:2"]
    environments.restore("sklearn:1")
    assert references(environments.list()) == ["sklearn:1"]


def test_restoring_a_name_shows_it_even_if_each_version_was_archived(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    for version in ("1", "2"):
        environments.archive(f"sklearn:{version}")
    assert str(environments.restore("sklearn")) == "sklearn:2"
    assert references(environments.list()) == ["sklearn:2"]
    assert environments.get("sklearn:1").archived


def test_archiving_twice_keeps_the_first_moment(environments: Environments, database: Database) -> None:
    environments.register(NUMPY_1)
    environments.archive("sklearn:1")
    first = database.rows("SELECT archived FROM versions")[0][0]
    environments.archive("sklearn:1")
    assert database.rows("SELECT archived FROM versions")[0][0] == first


def test_a_used_version_is_not_deleted(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.label("sklearn", "1", "prod")
    for reference in ("sklearn", "sklearn:1", "sklearn@prod"):
        with pytest.raises(Conflict, match="in use: label prod") as caught:
            environments.delete(reference)
        assert caught.value.stable_code == "in_use"
    environments.remove_label("sklearn", "prod")
    environments.delete("sklearn:1")
    assert environments.find("sklearn") is None
    assert references(environments.list(include_archived=True)) == []


def test_whatever_refers_to_a_version_keeps_it(environments: Environments, database: Database) -> None:
    first, _ = environments.register(NUMPY_1)
    second, _ = environments.register(NUMPY_2)
    with database.write():
        database.execute("CREATE TABLE papers (id TEXT PRIMARY KEY, made_with INTEGER NOT NULL REFERENCES versions (id))")
        for number in range(7):
            database.execute("INSERT INTO papers VALUES (?, ?)", f"p{number}", first.id)
    with pytest.raises(Conflict, match=r"in use: paper p0, paper p1, paper p2, paper p3, paper p4, 2 more papers$"):
        environments.delete("sklearn")
    environments.delete(str(second))
    assert references(environments.versions("sklearn")) == ["sklearn:1"]


def test_a_run_keeps_the_version_that_it_ran_with(environments: Environments, database: Database) -> None:
    ran_with, _ = environments.register(NUMPY_1.renamed(None))
    with database.write():
        database.execute(
            "INSERT INTO runs (id, state, experiment, target, queued, specification, version_id) VALUES (?, 'completed', '', 'local', '', '{}', ?)",
            "01h2xcej",
            ran_with.id,
        )
    with pytest.raises(Conflict, match="in use: run 01h2xcej"):
        environments.delete(ran_with.reference)
    assert environments.archive(ran_with.reference).archived
    assert not environments.restore(ran_with.reference).archived


def test_delete_takes_pins_along(environments: Environments, database: Database) -> None:
    first, _ = environments.register(NUMPY_1)
    locks = Locks(database, Clock())
    locks.pin(first.id, "linux/amd64", locks.put(a_lock(environment=NUMPY_1)), "solved")
    environments.delete("sklearn:1")
    assert database.rows("SELECT * FROM pins") == []
    assert database.faults() == []


def test_a_number_is_not_given_twice(environments: Environments) -> None:
    environments.register(NUMPY_1)
    environments.register(NUMPY_2)
    environments.delete("sklearn:2")
    assert str(environments.get("sklearn")) == "sklearn:1"
    assert str(environments.register(NUMPY_2)[0]) == "sklearn:3"


def test_a_hash_deletes_nothing_that_has_a_name(environments: Environments) -> None:
    first, _ = environments.register(NUMPY_1)
    with pytest.raises(InvalidInput, match="it is sklearn:1"):
        environments.delete(f"@{first.definition_hash}")
    assert environments.get("sklearn") == first


def test_each_change_of_what_is_missing_says_so(environments: Environments) -> None:
    for change in (environments.archive, environments.restore, environments.delete, environments.update, environments.versions):
        with pytest.raises(NotFound, match="no environment `b`"):
            change("b")
