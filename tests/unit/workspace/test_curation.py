"""What a workspace has under a curated name is what the catalogue says, or nobody is given it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.builders import an_environment

from wardian.curated.catalogue import PACKAGED, Catalogue
from wardian.errors import Conflict, NotFound
from wardian.workspace.curation import Curation
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments

if TYPE_CHECKING:
    from pathlib import Path

NAME, OTHER = "Wardian-minimal-py312-cpu", "Wardian-sklearn-1.9-py312-cpu"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(tmp_path / "workspace.db")


def with_catalogue(database: Database, root: Path = PACKAGED) -> Environments:
    catalogue = Catalogue(root)
    return Environments(database, curation=lambda: Curation(database, catalogue))


def of_an_older_wardian(database: Database, name: str) -> str:
    """Register ``name`` as it could be before the prefix was kept; return its hash."""
    environments = Environments(database)
    made, _ = environments.register(an_environment(name="mine"))
    with database.write():
        database.execute("UPDATE environments SET name = ? WHERE name = 'mine'", name)
    return made.definition_hash


def a_catalogue(tmp_path: Path, files_of: str, *, variable: bool = False, lock_of: str | None = None) -> Path:
    """Write a catalogue whose ``NAME:1`` is what Wardian's says of ``files_of``, perhaps with a variable, or with another lock."""
    root = tmp_path / "catalogue"
    entries = json.loads((PACKAGED / "catalogue.json").read_text())["environments"]
    shutil.copytree(PACKAGED / files_of / "1", root / NAME / "1")
    values = entries[files_of]["1"]
    definition = root / NAME / "1/environment.yml"
    definition.write_text(definition.read_text().replace(files_of, NAME) + ("variables: {A: b}\n" if variable else ""))
    if lock_of:
        values = values | {"locks": entries[lock_of]["1"]["locks"]}
    (root / "catalogue.json").write_text(json.dumps({"schema": 1, "environments": {NAME: {"1": values}}}))
    return root


@pytest.mark.parametrize("reference", [NAME, f"{NAME}:1"])
def test_one_of_an_older_wardian_is_not_taken_for_the_curated_one(database: Database, reference: str) -> None:
    mine = of_an_older_wardian(database, NAME)
    environments = with_catalogue(database)
    with pytest.raises(Conflict, match="nobody's curated one") as caught:
        environments.get(reference)
    assert caught.value.stable_code == "reserved_name"
    assert f"@{mine[:12]}" in (caught.value.hint or "")
    kept, _ = environments.register(an_environment(name="kept"), parent=environments.get(f"@{mine[:12]}"))
    assert kept.definition_hash == mine
    environments.delete(f"{NAME}:1")
    assert environments.get(reference).kind == "curated"


def test_one_that_no_catalogue_has_can_be_hidden_and_removed(database: Database) -> None:
    of_an_older_wardian(database, "Wardian-mine")
    environments = with_catalogue(database)
    environments.archive("Wardian-mine")
    assert environments.list().items == ()
    environments.restore("Wardian-mine")
    environments.delete("Wardian-mine")
    with pytest.raises(NotFound):
        environments.get("Wardian-mine")


@pytest.mark.parametrize("reference", [NAME, f"{NAME}:1"])
def test_a_curated_one_stays_though_it_was_never_used(database: Database, reference: str) -> None:
    environments = with_catalogue(database)
    for change in (environments.archive, environments.restore, environments.delete):
        with pytest.raises(Conflict) as caught:
            change(reference)
        assert caught.value.stable_code == "curated_read_only"
    used = environments.get(reference)
    for change in (environments.archive, environments.restore, environments.delete):
        with pytest.raises(Conflict):
            change(reference)
    with pytest.raises(Conflict):
        environments.delete(f"@{used.definition_hash}")
    assert environments.get(reference) == used


def test_a_label_that_a_curated_one_lacks_is_not_offered(database: Database) -> None:
    with pytest.raises(NotFound) as caught:
        with_catalogue(database).get(f"{NAME}@ours")
    assert "env label" not in (caught.value.hint or "")


@pytest.mark.parametrize(
    "other",
    [{"files_of": OTHER}, {"files_of": NAME, "variable": True}, {"files_of": NAME, "lock_of": OTHER}],
    ids=["definition", "variable", "lock"],
)
def test_what_another_catalogue_says_is_not_mistaken_for_what_is_here(
    database: Database, tmp_path: Path, other: dict[str, str]
) -> None:
    had = with_catalogue(database).get(NAME)
    elsewhere = with_catalogue(database, a_catalogue(tmp_path, **other))  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="another catalogue") as caught:
        elsewhere.get(NAME)
    assert (caught.value.stable_code, str(tmp_path) in caught.value.message) == ("curated_differs", True)
    assert elsewhere.get(f"@{had.definition_hash}") == had
    assert with_catalogue(database).get(f"{NAME}:1") == had
