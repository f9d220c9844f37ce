from __future__ import annotations

import contextlib
import os
import shutil
import socket
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.support.engine import Scene
from tests.support.jobs import a_configuration

from wardian.errors import Conflict, Unavailable
from wardian.run.node.sheet import NodeEnd
from wardian.run.place import HOME, TAKEN, Place
from wardian.run.record import Results
from wardian.run.remote_runs import RemoteRuns
from wardian.run.targets.remote import Standing
from wardian.run.why_waiting import WhyWaiting
from wardian.workspace.clock import moment_text, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.events import Event
    from wardian.run.record import RunRecord


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def handle(record: RunRecord) -> str:
    assert record.place is not None
    return record.place.handle


def test_why_it_waits_is_in_the_record(scene: Scene) -> None:
    record = scene.submit()
    assert scene.remote.look_at(record).reason == "waiting: Resources"


def test_it_goes_its_way_with_the_nodes_moments(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.engine.say(handle(record), Standing("running", node="n1"))
    now = moment_text(utc_now())
    scene.cluster.node_says(record.id, "preparing", at=now)
    found = scene.remote.look_at(record)
    assert (found.state, found.preparing, found.reason) == ("preparing", now, "")
    scene.cluster.node_says(record.id, "running", at=now)
    assert scene.remote.look_at(found).state == "running"


def test_what_ended_while_nobody_looked_is_right_at_the_next_look(scene: Scene) -> None:
    record = scene.submit()
    began, ended = (moment_text(utc_now()) for _ in range(2))
    end = NodeEnd("exited", exit_code=3, code="exited", reason="exit code 3", began=began, ended=ended, prepared="prefix cached",
                  prefix_key="k" * 64, node="n7", notes=("a note",), attempt=2)  # fmt: skip
    scene.cluster.node_ends(
        record.id, end, log="all that it said\n", files={"outputs/model": "42", "new.txt": "x", "train.py": "changed"}
    )
    scene.cluster.engine.say(handle(record), Standing("ended", reason="FAILED", cause="exited", exit_code=3))
    found = scene.remote.look_at(record)
    assert (found.state, found.code, found.exit_code, found.process_exit_code) == ("failed", "exited", 3, 3)
    assert (found.running, found.ended) == (began, ended)
    assert found.place is not None
    assert (found.place.stage, found.place.node) == (HOME, "n7")
    assert found.environment.summary == "tests:1 · prefix cached · n7"
    assert found.environment.prefix_key == "k" * 64
    results = found.results
    assert [(one.path, one.size_bytes) for one in results.outputs] == [("outputs/model", 2)]
    assert (results.new_files, results.changed_files) == (("new.txt",), ("train.py",))
    assert results.notes[-2:] == ("a note", "the engine started it 2 times")
    directory = scene.runs_dir / record.id
    assert (directory / "log.txt").read_text() == "all that it said\n"
    assert (directory / "snapshot/outputs/model").read_text() == "42"
    assert not scene.cluster.directory(record.id).exists(), "nothing is left there"
    assert scene.remote.look_at(found) == found


def test_a_run_takes_as_long_as_on_a_node_whose_clock_is_behind(scene: Scene) -> None:
    record = scene.submit()
    queued = moment_text(utc_now() - timedelta(minutes=1))
    with scene.database.write():
        scene.store.set_columns(record.id, queued=queued)
    scene.cluster.node_ends(
        record.id, NodeEnd("exited", exit_code=0, began="2001-01-01T00:00:00Z", ended="2001-01-01T00:00:30Z")
    )
    found = scene.remote.peek(scene.store.existing(record.id))
    assert found.running == queued
    assert found.ended == moment_text(datetime.fromisoformat(queued) + timedelta(seconds=30))


def test_moments_of_a_wrong_clock_stay_in_order(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.node_ends(
        record.id, NodeEnd("exited", exit_code=0, began="1999-01-01T00:00:00Z", ended="2999-01-01T00:00:00Z")
    )
    found = scene.remote.look_at(scene.store.get(record.id))
    if found.is_active:  # the engine says that it waits
        scene.cluster.engine.say(handle(record), Standing("running"))
        found = scene.remote.look_at(found)
    assert found.running is not None
    assert found.ended is not None
    assert found.queued <= found.running <= found.ended <= moment_text(utc_now())


def test_links_that_lead_out_stay_there_and_are_named(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.node_ends(record.id, files={"outputs/a": "1"})
    (scene.cluster.directory(record.id) / "snapshot/outputs/data").symlink_to("/etc")
    scene.cluster.engine.say(handle(record), Standing("running"))
    found = scene.remote.look_at(record)
    assert found.state == "completed"
    assert "left behind: outputs/data: a link to /etc, which leads out of the run's directory" in found.results.notes


def test_a_target_that_cannot_be_asked_changes_nothing(scene: Scene) -> None:
    record = scene.submit()
    heard: list[Event] = []
    scene.cluster.engine.silent = True
    remote = RemoteRuns(scene.store, scene.runs_dir, lambda _: scene.cluster.way, heard.append)
    remote.look()
    remote.look()
    found = scene.store.get(record.id)
    assert (found.state, found.reason) == ("queued", "`hpc` cannot be asked: the engine does not answer")
    assert [event.kind for event in heard] == ["warning"], "it is told once"
    scene.cluster.engine.silent = False
    remote.look()
    assert scene.store.get(record.id).reason == "waiting: Resources"


def test_an_ended_run_whose_files_cannot_be_had_comes_home_later(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.node_ends(record.id, files={"outputs/a": "1"})
    scene.cluster.engine.say(handle(record), Standing("running"))
    scene.remote.look()
    ended = scene.store.get(record.id)
    assert (ended.state, ended.results.output_files) == ("completed", 0), "a list does not wait for files"
    scene.cluster.carrier.gone = True
    assert scene.remote.look_at(ended).state == "completed"
    scene.cluster.carrier.gone = False
    assert scene.remote.look_at(ended).results.output_files == 1


def test_a_kept_directory_stays(scene: Scene) -> None:
    record = scene.submit()
    place = record.place
    assert place is not None
    from wardian.run.placed import PlacedRuns

    PlacedRuns(scene.store).put(record.id, replace(place, keeps=True))
    scene.cluster.node_ends(record.id)
    scene.cluster.engine.say(handle(record), Standing("running"))
    found = scene.remote.look_at(scene.store.get(record.id))
    assert found.place is not None
    assert found.place.stage == HOME
    assert scene.cluster.directory(record.id).is_dir()
    scene.remote.forget(found)
    assert not scene.cluster.directory(record.id).exists()


def test_a_homecoming_that_was_killed_is_done_again(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.node_ends(record.id, files={"outputs/a": "1"})
    scene.cluster.engine.say(handle(record), Standing("running"))
    scene.remote.look()
    half = scene.runs_dir / record.id / "home"
    half.mkdir()
    (half / "of the killed one").touch()
    found = scene.remote.look_at(scene.store.get(record.id))
    assert [one.path for one in found.results.outputs] == ["outputs/a"]
    assert not half.exists()


def test_a_waiting_run_is_canceled(scene: Scene) -> None:
    record = scene.remote.cancel(scene.submit())
    assert (record.state, record.code, record.process_exit_code) == ("canceled", "canceled", 143)
    with pytest.raises(Conflict):
        scene.remote.cancel(record)


def test_a_running_run_is_told_and_says_how_it_ended(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.engine.say(handle(record), Standing("running"))
    record = scene.remote.cancel(record, "interrupted")
    assert record.is_active
    assert (scene.cluster.directory(record.id) / "cancel").exists()
    scene.cluster.node_ends(
        record.id, NodeEnd("stopped", signal=15, code="canceled", reason="canceled while running", began=moment_text(utc_now()))
    )
    found = scene.remote.look_at(record)
    assert (found.state, found.code, found.process_exit_code) == ("canceled", "interrupted", 130)


def test_a_run_that_was_offered_only_is_canceled_too(scene: Scene) -> None:
    scene.submit_and_die(at="after")
    (record,) = scene.store.list()
    found = scene.remote.cancel(record)
    assert found.state == "canceled"
    assert scene.cluster.engine.jobs() == [record.id]


def test_a_log_is_followed_while_it_grows(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.engine.say(handle(record), Standing("running"))
    log = scene.cluster.directory(record.id) / "log.txt"
    log.write_text("one\n")
    pieces = scene.remote.follow(record)
    assert next(pieces) == b"one\n"
    with log.open("a") as stream:
        stream.write("two\n")
    assert next(pieces) == b"two\n"
    scene.cluster.node_ends(record.id, log="three\n")
    assert b"".join(pieces) == b"three\n"
    assert scene.store.get(record.id).state == "completed"
    assert (scene.runs_dir / record.id / "log.txt").read_text() == "one\ntwo\nthree\n"


def test_who_follows_a_run_is_told_once_why_it_waits(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    record = scene.submit()
    said: list[Event] = []
    remote = RemoteRuns(scene.store, scene.runs_dir, lambda _: scene.cluster.way, said.append)

    def watch(_: RunRecord) -> Iterator[RunRecord]:
        for reason in ("waiting", "waiting: Resources", "waiting: Resources", "waiting: Priority", "waiting: Resources"):
            yield replace(record, reason=reason)
        yield replace(record, reason="waiting: Resources", state="running")

    monkeypatch.setattr(remote, "watch", watch)
    monkeypatch.setattr("wardian.run.why_waiting.AFTER_S", 0.0)
    list(remote.follow(record))
    assert [event.text for event in said] == [f"run {record.id} is waiting: Resources", f"run {record.id} is waiting: Priority"]


def test_a_reason_that_passes_is_not_told(scene: Scene) -> None:
    record, told = scene.submit(), list[str]()
    why = WhyWaiting(told.append, known="waiting: Known", after_s=2.0)
    for second, reason in enumerate(
        ("waiting: A", "waiting: B", "waiting: C", "waiting: C", "waiting: C", "`hpc` cannot be asked: why", "waiting: Known")
    ):
        for half in (0.0, 0.5):
            why.look(replace(record, reason=reason), second + half)
    assert told == [f"run {record.id} is waiting: C"]


def test_many_runs_take_one_question_and_few_looks(scene: Scene) -> None:
    """What waits costs nothing but its place in the one question."""
    first = scene.submit()
    place = first.place
    assert place is not None
    store, count = scene.store, 2000
    job = (scene.cluster.engine.directory / "1").read_text()
    with scene.database.write():
        for number in range(count):
            made = f"r{number}"
            store.add(a_configuration(scene.project, target="hpc"), supervisor=None, results=Results(),
                      place=lambda run_id, made=made: replace(place, key=run_id, handle=made, stage=TAKEN))  # type: ignore[misc]  # fmt: skip
    for number in range(count):
        (scene.cluster.engine.directory / f"r{number}").write_text(job)
    running = store.active()[7]
    scene.cluster.engine.say(handle(running), Standing("running"))
    scene.cluster.directory(running.id).mkdir(parents=True)
    scene.cluster.node_says(running.id, at=moment_text(utc_now()))
    engine, carrier = scene.cluster.engine, scene.cluster.carrier
    engine.questions.clear()
    carrier.reads = 0
    scene.remote.look()
    assert engine.questions == [("standings", count + 1)]
    assert carrier.reads <= 2
    assert store.get(running.id).state == "running"
    written = os.stat(scene.place / "workspace.db-wal").st_size  # noqa: PTH116
    engine.questions.clear()
    scene.remote.look()
    assert engine.questions == [("standings", count + 1)]
    assert os.stat(scene.place / "workspace.db-wal").st_size == written, "nothing is written that is there already"  # noqa: PTH116


def test_runs_of_several_targets_take_a_question_each(scene: Scene) -> None:
    first = scene.submit()
    place = first.place
    assert place is not None
    scene.store.add(a_configuration(scene.project, target="other"), supervisor=None, results=Results(),
                    place=lambda run_id: Place("engine", {}, place.root, run_id, TAKEN, "1"))  # fmt: skip
    scene.cluster.engine.questions.clear()
    scene.remote.look()
    assert scene.cluster.engine.questions == [("standings", 1), ("standings", 1)]


def test_a_wish_that_the_engine_did_not_hear_is_kept(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.engine.silent = True
    with pytest.raises(Unavailable):
        scene.remote.cancel(record)
    assert scene.store.get(record.id).cancel_asked
    scene.cluster.engine.silent = False
    scene.remote.look()
    scene.remote.look()
    assert scene.store.get(record.id).state == "canceled"


def test_a_record_can_be_deleted_though_its_place_is_gone(scene: Scene) -> None:
    record = scene.remote.cancel(scene.submit())
    heard: list[Event] = []
    remote = RemoteRuns(scene.store, scene.runs_dir, lambda _: scene.cluster.way, heard.append)
    place = record.place
    assert place is not None

    def refuse(path: str) -> None:
        raise Unavailable("it is not mounted")

    scene.cluster.carrier.remove = refuse  # type: ignore[method-assign]
    remote.forget(replace(record, place=replace(place, keeps=True)))
    assert [event.text for event in heard] == [f"what run {record.id} left in {place.directory} stays there: it is not mounted"]


def test_records_that_can_only_be_read_are_shown_as_they_are(scene: Scene) -> None:
    record = scene.submit()
    scene.database.read_only = True
    scene.cluster.engine.questions.clear()
    assert not scene.store.any_elsewhere()
    assert scene.remote.look_at(record) == record
    assert scene.cluster.engine.questions == []


def test_a_signal_on_the_node_is_no_end_before_the_engine_has_said_why(scene: Scene) -> None:
    record = scene.submit()
    engine = scene.cluster.engine
    engine.say(handle(record), Standing("running", node="n1"))
    scene.cluster.node_says(record.id)
    record = scene.remote.look_at(record)
    scene.cluster.node_ends(
        record.id, NodeEnd("stopped", signal=15, code="canceled", reason="canceled while running", node="n1")
    )
    assert scene.remote.peek(record).state == "running"
    engine.say(handle(record), Standing("ended", reason="TIMEOUT", cause="timeout", node="n1"))
    found = scene.remote.peek(record)
    assert (found.state, found.code, found.process_exit_code) == ("failed", "timeout", 124)


def test_a_part_of_the_engine_that_does_not_answer_leaves_its_runs_alone(scene: Scene) -> None:
    one, two = scene.submit(), scene.submit()
    engine = scene.cluster.engine
    said: list[Event] = []
    remote = RemoteRuns(scene.store, scene.runs_dir, lambda _: scene.cluster.way, said.append)
    for record in (one, two):
        engine.say(handle(record), Standing("silent", "pc2 cannot be reached", node="pc2"))
    scene.cluster.node_ends(two.id)
    remote.look()
    remote.look()
    assert remote.get(one.id).reason == "`hpc` cannot be asked: pc2 cannot be reached"
    assert [event.text for event in said] == ["`hpc` cannot be asked: pc2 cannot be reached; its runs are shown as they were"]
    assert (remote.get(one.id).state, remote.get(two.id).state) == ("queued", "completed")


def test_a_directory_that_is_gone_there_is_said(scene: Scene) -> None:
    record = scene.submit()
    scene.cluster.node_ends(record.id)
    scene.cluster.engine.say(handle(record), Standing("ended", cause="exited", exit_code=0))
    shutil.rmtree(scene.cluster.directory(record.id) / "snapshot")
    found = scene.remote.look_at(record)
    assert (found.state, found.results.outputs) == ("completed", ())
    assert found.results.notes[-1].startswith("nothing of what it left is here: there is no directory ")


def test_what_a_run_wrote_over_its_nodes_word_is_told_once(scene: Scene) -> None:
    record = scene.submit()
    said: list[Event] = []
    remote = RemoteRuns(scene.store, scene.runs_dir, lambda _: scene.cluster.way, said.append)
    scene.cluster.engine.say(handle(record), Standing("running", node="n1"))
    (scene.cluster.directory(record.id) / "ended.json").write_text("{nonsense")
    for _ in range(3):
        remote.peek(remote.look_at(record))
    assert [event.text for event in said] == [
        f"runs/{record.id}/ended.json on the nodes' side: this is no end of a run: it is no JSON"
    ]


def test_a_log_that_never_ends_is_shown_as_it_comes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    record = scene.submit()
    scene.cluster.engine.say(handle(record), Standing("running", node="n1"))
    scene.cluster.node_says(record.id)
    asked = 0

    def read(path: str, offset: int, limit: int) -> bytes | None:
        nonlocal asked
        asked += path.endswith("/log.txt")
        assert asked < 100, "it is read to an end that it has not"
        return b"x" * 1000 if path.endswith("/log.txt") else None

    monkeypatch.setattr(scene.cluster.carrier, "read", read)
    monkeypatch.setattr("wardian.run.remote_runs._LOG_PIECE_S", 0.0)
    monkeypatch.setattr("wardian.run.remote_runs._LOG_SO_FAR_S", 0.0)
    pieces = scene.remote.follow(record)
    assert [next(pieces), next(pieces)] == [b"x" * 1000] * 2
    scene.remote.log_so_far(record)


def _as_what(place: Path, what: str) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    if what == "link":
        place.symlink_to("/etc/passwd")
    elif what == "directory":
        place.mkdir()
    elif what == "socket":
        with contextlib.chdir(place.parent), socket.socket(socket.AF_UNIX) as made:
            made.bind(place.name)
    else:
        os.mkfifo(place)


@pytest.mark.parametrize("what", ["link", "pipe", "directory", "socket"])
@pytest.mark.parametrize("name", ["ended.json", "status.json", "log.txt", "engine.txt"])
def test_what_a_run_puts_in_the_place_of_its_own_files_is_its_own_matter(scene: Scene, name: str, what: str) -> None:
    hostile, other = scene.submit(), scene.submit()
    heard: list[Event] = []
    remote = RemoteRuns(scene.store, scene.runs_dir, lambda _: scene.cluster.way, heard.append)
    for record in (hostile, other):
        scene.cluster.node_says(record.id, "running")
        scene.cluster.engine.say(handle(record), Standing("running"))
    if name == "log.txt":
        scene.cluster.node_ends(hostile.id, files={"outputs/a": "1"})
    _as_what(scene.cluster.directory(hostile.id) / name, what)
    for _ in range(2):
        remote.look()
    assert scene.store.get(other.id).state == "running"
    assert len(heard) == (name in ("ended.json", "status.json")), "it is told once, and no other run is affected"
    if name not in ("ended.json", "log.txt"):
        scene.cluster.node_ends(hostile.id, files={"outputs/a": "1"})
    scene.cluster.node_ends(other.id, NodeEnd("exited", exit_code=0))
    for record in (hostile, other):
        scene.cluster.engine.say(handle(record), Standing("ended", reason="COMPLETED", cause="exited", exit_code=0))
    found = remote.look_at(scene.store.get(hostile.id))
    assert not found.is_active
    assert found.place is not None
    assert found.place.stage == HOME
    assert not os.path.lexists(scene.cluster.directory(hostile.id))
    assert remote.look_at(scene.store.get(other.id)).state == "completed"
    if name == "log.txt":
        assert any("log is not here" in note for note in found.results.notes)


def test_a_run_that_makes_its_directory_a_link_is_lost_alone(scene: Scene) -> None:
    hostile, other = scene.submit(), scene.submit()
    place = scene.cluster.directory(hostile.id)
    shutil.rmtree(place)
    place.symlink_to("/etc")
    scene.cluster.node_says(other.id, "running")
    for record in (hostile, other):
        scene.cluster.engine.say(handle(record), Standing("running"))
    scene.remote.look()
    assert scene.store.get(other.id).state == "running"
    scene.cluster.engine.say(handle(hostile), Standing("ended", reason="COMPLETED", cause="exited", exit_code=0))
    found = scene.remote.look_at(scene.store.get(hostile.id))
    assert not found.is_active
    assert found.place is not None
    assert found.place.stage == HOME
    assert any("is a link" in note for note in found.results.notes)
