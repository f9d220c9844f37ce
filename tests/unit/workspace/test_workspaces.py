"""Any number of workspaces under one home."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock, an_environment

from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.settings import Settings
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments
from wardian.workspace.locks import Locks
from wardian.workspace.secrets import Secrets
from wardian.workspace.workspaces import Workspaces

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def workspaces(home: Path) -> Workspaces:
    return Workspaces(home)


def test_create_list_get(workspaces: Workspaces, home: Path) -> None:
    assert workspaces.list() == ()
    made = workspaces.create("team")
    workspaces.create("alpha")
    assert made == workspaces.get("team")
    assert (made.path, made.database.exists(), made.in_use) == (home / "workspaces/team", True, False)
    assert [place.name for place in workspaces.list()] == ["alpha", "team"]
    assert made.as_document() == {"name": "team", "path": str(made.path), "in_use": False}
    with pytest.raises(Conflict, match="a workspace `team` already"):
        workspaces.create("team")


def test_only_default_is_made_by_itself(workspaces: Workspaces) -> None:
    with pytest.raises(NotFound, match="no workspace `team`") as caught:
        workspaces.ensure("team")
    assert "wardian workspace create team" in (caught.value.hint or "")
    assert workspaces.ensure("default") == workspaces.ensure("default")
    assert workspaces.ensure("default").in_use
    with pytest.raises(NotFound) as caught:
        workspaces.get("team")
    assert "`default`" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "../x", "a" * 65, "é", "a\0", "-a", "a\n"])
def test_bad_names_are_refused(workspaces: Workspaces, home: Path, name: str) -> None:
    for act in (workspaces.create, workspaces.get, workspaces.delete, workspaces.use, workspaces.show):
        with pytest.raises(InvalidInput, match="not a name"):
            act(name)
    assert not home.exists()


def test_use_is_kept_in_the_settings(workspaces: Workspaces, home: Path) -> None:
    workspaces.create("team")
    home.joinpath("config.toml").write_text("# mine\ntimeout_s = 5.0  # short\n")
    assert workspaces.use("team").in_use
    assert home.joinpath("config.toml").read_text() == '# mine\ntimeout_s = 5.0  # short\nworkspace = "team"\n'
    assert Settings.load({}, home=home).workspace == "team"
    assert [place.name for place in workspaces.list() if place.in_use] == ["team"]
    with pytest.raises(NotFound):
        workspaces.use("other")
    assert tomllib.loads(home.joinpath("config.toml").read_text())["workspace"] == "team"


def test_workspaces_are_apart(workspaces: Workspaces) -> None:
    for name, pip in (("a", "numpy==1"), ("b", "numpy==2")):
        database = Database.open(workspaces.create(name).database)
        Environments(database).register(an_environment(pip=(pip,)))
        database.close()
    database = Database.open(workspaces.get("a").database)
    assert Environments(database).get("sklearn:1").environment.python.pip == ("numpy==1",)
    database.close()


def test_show_counts_what_is_there(workspaces: Workspaces) -> None:
    place = workspaces.create("team")
    database = Database.open(place.database)
    Environments(database).register(an_environment())
    Environments(database).register(an_environment(pip=("scipy",)))
    Locks(database).put(a_lock())
    database.close()
    summary = workspaces.show("team")
    assert summary.counts == {"environments": 1, "versions": 2, "locks": 1, "runs": 0, "models": 0}
    assert summary.journal == "wal"
    assert summary.size_bytes >= place.database.stat().st_size
    assert summary.as_document()["counts"]["versions"] == 2


def test_an_empty_workspace_goes_without_a_question(workspaces: Workspaces, home: Path) -> None:
    workspaces.create("team")
    workspaces.delete("team")
    assert workspaces.list() == ()
    assert [path.name for path in (home / "workspaces").rglob("*")] == [".trash"]
    with pytest.raises(NotFound):
        workspaces.delete("team")


def test_what_holds_something_needs_consent(workspaces: Workspaces) -> None:
    place = workspaces.create("team")
    database = Database.open(place.database)
    Environments(database).register(an_environment())
    database.close()
    with pytest.raises(Conflict, match="holds 1 environments, 1 versions") as caught:
        workspaces.delete("team")
    assert caught.value.stable_code == "needs_consent"
    assert place.database.exists()
    workspaces.delete("team", confirmed=True)
    assert not place.path.exists()


def test_secrets_and_files_need_consent_too(workspaces: Workspaces) -> None:
    place = workspaces.create("team")
    Secrets(place.secrets).set("a", "b")
    with pytest.raises(Conflict, match="holds files"):
        workspaces.delete("team")
    workspaces.delete("team", confirmed=True)


def test_read_only_trees_and_links_are_deleted_without_following(workspaces: Workspaces, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    snapshot = workspaces.create("team").runs / "r1/snapshot"
    snapshot.mkdir(parents=True)
    (snapshot / "link").symlink_to(outside)
    (snapshot / "file").write_text("x")
    snapshot.chmod(0o500)
    workspaces.delete("team", confirmed=True)
    assert workspaces.list() == ()
    assert (outside / "kept").read_text() == "kept"


def test_the_one_in_use_stays(home: Path) -> None:
    workspaces = Workspaces(home, current="team")
    workspaces.create("team")
    with pytest.raises(Conflict, match="in use"):
        workspaces.delete("team", confirmed=True)


def test_runs_in_progress_keep_their_workspace(workspaces: Workspaces) -> None:
    place = workspaces.create("team")
    database = Database.open(place.database)
    with database.write():
        database.execute(
            "INSERT INTO runs (id, state, experiment, target, queued, specification) VALUES ('r1', 'running', 'e', 'local', '2024', '{}')"
        )
    with pytest.raises(Conflict, match="1 runs in progress"):
        workspaces.delete("team", confirmed=True)
    with database.write():
        database.execute("UPDATE runs SET state = 'completed'")
    database.close()
    workspaces.delete("team", confirmed=True)


CREATOR = """
import sys; from pathlib import Path
from wardian.errors import Conflict
from wardian.workspace.workspaces import Workspaces
workspaces = Workspaces(Path(sys.argv[1]))
workspaces.ensure("default")
try:
    workspaces.create("team"); print("made")
except Conflict:
    print("there")
"""


def test_many_processes_create_it_once(home: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", CREATOR, str(home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    answers = sorted(process.communicate(timeout=60) for process in processes)
    assert answers == [("made\n", ""), *[("there\n", "")] * 7]
