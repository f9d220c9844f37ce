from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.engine import Scene

from wardian.errors import Denied, InvalidInput, NotFound, Unavailable
from wardian.run.configuration import Resources
from wardian.run.node.sheet import Secrets, Sheet, read_uses
from wardian.run.place import OFFERED, TAKEN, Place
from wardian.run.targets.remote import Standing
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from wardian.run.handover import Needs
    from wardian.run.record import RunRecord

TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_run_that_is_handed_over_is_queued_and_knows_its_place(scene: Scene) -> None:
    record = scene.submit("--epochs", "3", variables={"SEED": "1"}, resources=Resources(cpus=2), experiment="e", timeout_s=60)
    assert (record.state, record.supervisor) == ("queued", None)
    place = record.place
    assert place is not None
    assert (place.stage, place.handle, place.key) == (TAKEN, "1", record.id)
    assert scene.cluster.engine.jobs() == [record.id]
    directory = scene.cluster.directory(record.id)
    assert (directory / "snapshot/train.py").read_text() == "print(1)\n"
    sheet = Sheet.from_json((directory / "sheet.json").read_bytes())
    assert (sheet.run_id, sheet.command.arguments, sheet.variables) == (record.id, ("--epochs", "3"), {"SEED": "1"})
    assert (sheet.experiment, sheet.timeout_s, sheet.resources.cpus) == ("e", 60, 2)
    assert place.task is not None
    assert place.task.argv == ("/agent", "exec", "--sheet", f"{directory}/sheet.json")
    assert record.environment.summary == "tests:1"
    assert record.snapshot_digest


def test_secrets_are_in_one_private_file_and_nowhere_else(scene: Scene) -> None:
    record = scene.submit(
        f"--token={TOKEN}", "x", variables={"API_KEY": "hunter2hunter2", "PASSED": None}, environ={"PASSED": TOKEN}
    )
    directory = scene.cluster.directory(record.id)
    secrets = directory / "secrets.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert Secrets.from_json(secrets.read_bytes()) == Secrets(
        {"API_KEY": "hunter2hunter2", "PASSED": TOKEN}, {0: f"--token={TOKEN}"}
    )
    for path in scene.place.rglob("*"):
        if path.is_file() and path != secrets:
            content = path.read_bytes()
            assert TOKEN.encode() not in content, path
            assert b"hunter2" not in content, path


def test_without_secrets_there_is_no_such_file(scene: Scene) -> None:
    assert not (scene.cluster.directory(scene.submit().id) / "secrets.json").exists()


def test_an_input_that_is_not_here_is_the_nodes_own(scene: Scene) -> None:
    record = scene.submit(inputs={"data": Path("/scratch/data"), "code": scene.project})
    assert set(record.results.inputs) == {"code"}
    assert "the input `data` is not on this machine: /scratch/data is taken for a path of the nodes" in record.results.notes
    sheet = Sheet.from_json((scene.cluster.directory(record.id) / "sheet.json").read_bytes())
    assert sheet.inputs["data"] == "/scratch/data"


def test_inputs_that_came_in_a_file_travel_with_the_run(scene: Scene) -> None:
    came = scene.place / "came"
    (came / "set").mkdir(parents=True)
    (came / "set/a.csv").write_text("1,2\n")
    (came / "one").write_text("x")
    elsewhere = Path("/on/the/nodes")
    inputs = {"data": came / "set", "one": came / "one", "far": elsewhere}
    record = scene.submit(inputs=inputs, carried={"data": came / "set", "one": came / "one"})
    directory, here = scene.cluster.directory(record.id), scene.runs_dir / record.id
    sheet = Sheet.from_json((directory / "sheet.json").read_bytes())
    assert sheet.inputs == {"data": str(directory / "inputs/data"), "one": str(directory / "inputs/one"), "far": str(elsewhere)}
    assert (directory / "inputs/data/a.csv").read_text() == "1,2\n"
    assert (directory / "inputs/one").read_text() == "x"
    assert record.configuration.inputs["data"] == here / "inputs/data"
    assert record.results.inputs["data"].path == str(here / "inputs/data")
    assert (here / "inputs/data/a.csv").exists()
    assert list(came.iterdir()) == []
    scene.cluster.node_ends(record.id)
    scene.cluster.engine.say("1", Standing("ended", cause="exited", exit_code=0))
    scene.remote.look_at(scene.store.get(record.id))
    assert (here / "inputs/one").exists()
    assert not directory.exists()


def test_a_run_says_what_of_the_node_directory_it_needs(scene: Scene, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.mkdir()

    def needs(record: RunRecord) -> Needs:
        root = scene.cluster.carrier.root
        return replace(scene.cluster.needs(record), files={"agents/a": agent}, image=f"{root}/images/i")

    record = scene.submit(needs=needs)
    assert read_uses(scene.cluster.directory(record.id) / "uses.json") == ["agents/a", "images/i"]


def test_what_is_wrong_is_said_before_anything_is_recorded(scene: Scene) -> None:
    (scene.project / "train.py").unlink()
    with pytest.raises(NotFound):
        scene.submit()
    assert list(scene.store.list()) == []


def test_a_run_whose_needs_cannot_be_had_has_failed_and_left_nothing_there(scene: Scene) -> None:
    def needs(_record: RunRecord) -> Needs:
        raise Unavailable("the index does not answer", code="no_index")

    with pytest.raises(Unavailable) as raised:
        scene.submit(needs=needs)
    record = scene.store.get(raised.value.details["run_id"])
    assert (record.state, record.code) == ("failed", "no_index")
    assert scene.cluster.engine.questions == []


def test_a_run_that_is_refused_has_failed_and_left_nothing_there(scene: Scene) -> None:
    def refuse() -> None:
        raise InvalidInput("there is no such partition", code="engine_refused")

    scene.cluster.engine.before = refuse
    with pytest.raises(InvalidInput) as raised:
        scene.submit()
    record = scene.store.get(raised.value.details["run_id"])
    assert (record.state, record.code, record.reason) == ("failed", "engine_refused", "there is no such partition")
    assert not scene.cluster.directory(record.id).exists()


def test_a_run_for_a_part_of_an_engine_that_is_not_there_has_failed(scene: Scene) -> None:
    def refuse() -> None:
        raise NotFound("there is no such namespace", code="engine_refused")

    scene.cluster.engine.before = refuse
    with pytest.raises(NotFound) as raised:
        scene.submit()
    record = scene.store.get(raised.value.details["run_id"])
    assert (record.state, record.reason) == ("failed", "there is no such namespace")


def test_a_part_of_an_engine_that_is_gone_says_nothing_of_what_was_tried_before(scene: Scene) -> None:
    def lose() -> None:
        raise Unavailable("the line is cut")

    def refuse() -> None:
        raise NotFound("there is no such namespace", code="engine_refused")

    scene.cluster.engine.after = lose
    record = scene.submit()
    scene.cluster.engine.before = refuse
    scene.remote.look()
    found = scene.store.get(record.id)
    assert (found.state, found.reason) == ("queued", "there is no such namespace")


def test_an_answer_that_is_lost_makes_no_second_job(scene: Scene) -> None:
    def lose() -> None:
        raise Unavailable("the line is cut")

    scene.cluster.engine.after = lose
    record = scene.submit()
    assert (record.state, record.reason) == ("queued", "the line is cut")
    assert record.place is not None
    assert record.place.stage == OFFERED
    scene.cluster.engine.after = lambda: None
    scene.remote.look()
    found = scene.store.get(record.id)
    assert found.place is not None
    assert (found.place.stage, found.place.handle, found.reason) == (TAKEN, "1", "waiting: Resources")
    assert scene.cluster.engine.jobs() == [record.id]


def test_an_engine_that_lets_nobody_in_says_nothing_of_a_run_that_it_may_have(scene: Scene) -> None:
    """The first answer is lost; then the token has expired, and is renewed: the run is neither lost nor made twice."""

    def lose() -> None:
        raise Unavailable("the line is cut")

    def refuse() -> None:
        raise Denied("the token has expired", code="engine_denied")

    engine = scene.cluster.engine
    engine.after = lose
    record = scene.submit()
    engine.after, engine.before = (lambda: None), refuse
    scene.remote.look()
    found = scene.store.get(record.id)
    assert (found.state, found.reason) == ("queued", "the token has expired")
    engine.before = lambda: None
    scene.remote.look()
    place = scene.store.get(record.id).place
    assert place is not None
    assert (place.stage, place.handle) == (TAKEN, "1")
    assert engine.jobs() == [record.id]


def test_an_engine_that_lets_nobody_in_at_first_has_nothing(scene: Scene) -> None:
    def refuse() -> None:
        raise Denied("the token has expired", code="engine_denied")

    scene.cluster.engine.before = refuse
    with pytest.raises(Denied) as raised:
        scene.submit()
    assert scene.store.get(raised.value.details["run_id"]).state == "failed"


def test_an_engine_that_was_down_gets_the_run_when_it_is_back(scene: Scene) -> None:
    scene.cluster.engine.silent = True
    record = scene.submit()
    scene.remote.look()
    assert scene.store.get(record.id).state == "queued"
    assert scene.cluster.engine.jobs() == []
    scene.cluster.engine.silent = False
    scene.remote.look()
    scene.remote.look()
    assert scene.cluster.engine.jobs() == [record.id]


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_killed_submitter_makes_one_job_in_the_end(scene: Scene, at: str) -> None:
    scene.submit_and_die(at=at)
    (record,) = scene.store.list()
    assert record.is_active
    scene.remote.look()
    found = scene.store.get(record.id)
    assert found.place is not None
    assert (found.state, found.place.stage) == ("queued", TAKEN)
    assert scene.cluster.engine.jobs() == [record.id]
    assert (scene.cluster.directory(record.id) / "sheet.json").exists()


def test_a_submitter_that_is_killed_before_has_made_none_and_the_run_has_failed(scene: Scene) -> None:
    scene.submit_and_die(at="needs")
    (record,) = scene.store.list()
    assert (record.state, record.code) == ("failed", "supervisor_gone")
    assert scene.cluster.engine.jobs() == []


def test_several_who_look_at_once_make_one_job(scene: Scene) -> None:
    scene.submit_and_die(at="before")
    (record,) = scene.store.list()
    scene.database.close()
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            scene.database = Database.open(scene.place / "workspace.db")
            scene.remote.look()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    scene.database = Database.open(scene.place / "workspace.db")
    assert scene.cluster.engine.jobs() == [record.id]


def test_a_place_is_what_it_was_when_it_is_read_again(scene: Scene) -> None:
    place = scene.submit(resources=Resources(nodes=2)).place
    assert place is not None
    assert Place.from_json(place.to_json()) == place
    newer = json.dumps({**json.loads(place.to_json()), "of_tomorrow": 1})
    assert json.loads(Place.from_json(newer).to_json())["of_tomorrow"] == 1
