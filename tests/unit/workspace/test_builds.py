"""Records of builds: phases, log, cause; what becomes of one whose process is killed or that is canceled."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from wardian.errors import BuildFailed, Conflict, InvalidInput, NotFound
from wardian.events import Event, silent
from wardian.run.run_id import new_run_id
from wardian.workspace.builds import BuildCanceled, Builds
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from pathlib import Path

_KILLED = """
import sys
from pathlib import Path
from wardian.events import Event
from wardian.run.run_id import new_run_id
from wardian.workspace.builds import Builds
from wardian.workspace.database import Database
place = Path(sys.argv[1])
builds = Builds(Database.open(place / "workspace.db"), place / "builds", new_id=lambda _newest: "b9")
with builds.record("image", "sklearn:4", "k") as recorder:
    recorder(Event("phase", "fetching"))
    print("there", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    numbers = itertools.count(1)
    return Builds(Database.open(tmp_path / "workspace.db"), tmp_path / "builds", new_id=lambda _newest: f"b{next(numbers)}")


def test_a_build_that_ends_well_has_phases_log_and_outcome(builds: Builds) -> None:
    heard: list[Event] = []
    with builds.record("image", "sklearn:4", "key", heard.append) as recorder:
        assert builds.get("b1").state == "running"
        recorder(Event("phase", "layers"))
        recorder(Event("progress", "numpy", 1, 2, {"bytes": 100, "made": 1}))
        recorder(Event("progress", "scipy", 2, 2, {"bytes": 50, "cached": 1}))
        recorder(Event("phase", "push"))
        recorder(Event("warning", "slow"))
        recorder.outcome["digest"] = "abc"
    record = builds.get("latest")
    assert (record.id, record.kind, record.state, record.subject, record.key) == (
        "b1",
        "image",
        "completed",
        "sklearn:4",
        "key",
    )
    assert [(p.name, p.size_bytes, p.made, p.cached) for p in record.phases] == [("layers", 150, 1, 1), ("push", 0, 0, 0)]
    assert all(p.seconds is not None and p.seconds >= 0 for p in record.phases)
    assert record.outcome == {"digest": "abc"}
    assert record.seconds is not None
    log = builds.log_path("b1").read_text()
    assert [line.partition(" ")[2] for line in log.splitlines()] == ["layers", "push", "warning: slow"]
    assert [event.text for event in heard] == ["layers", "numpy", "scipy", "push", "slow"]


def test_the_newest_build_comes_first_although_the_clock_went_back(tmp_path: Path) -> None:
    hours = iter([10, 9000, 11])
    ids = functools.partial(new_run_id, now_ms=lambda: 1_767_225_600_000 + next(hours) * 3_600_000)
    builds = Builds(Database.open(tmp_path / "workspace.db"), tmp_path / "builds", new_id=ids)
    added = [builds.add("lock", "sklearn:4", "key") for _ in range(3)]
    assert [record.id for record in builds.list()] == added[::-1]
    assert builds.get("latest").id == added[-1]


def test_a_build_that_fails_keeps_its_cause_and_the_error_names_the_build(builds: Builds) -> None:
    with pytest.raises(BuildFailed) as caught, builds.record("lock", "x", "key"):
        raise BuildFailed("no compiler", hint="install one", code="no_compiler")
    assert caught.value.details["build_id"] == "b1"
    record = builds.get("b1")
    assert (record.state, record.code, record.reason) == ("failed", "no_compiler", "no compiler")
    assert record.error["hint"] == "install one"
    assert builds.log_path("b1").read_text().endswith("failed: no compiler\n")


def test_a_bug_is_a_failed_build_too(builds: Builds) -> None:
    with pytest.raises(ZeroDivisionError), builds.record("lock", "x", "key"):
        print(1 / 0)
    assert builds.get("b1").reason == "ZeroDivisionError: division by zero"


def test_a_builder_that_is_killed_leaves_process_ended(builds: Builds, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    assert builds.get("b9").state == "running"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    record = builds.list().items[0]
    assert (record.state, record.code, record.reason) == ("failed", "process_ended", "process ended")
    assert builds.get("b9") == record
    assert builds.log_path("b9").read_text().splitlines()[-1].endswith("Z failed: process ended")
    assert builds.log_path("b9").read_text().count("process ended") == 1


def test_a_canceled_build_stops_at_its_next_step(builds: Builds) -> None:
    def go_on() -> None:
        with builds.record("image", "x", "key") as recorder:
            assert builds.ask_cancel("b1").cancel_asked
            while True:
                recorder(Event("progress", "on and on"))

    with pytest.raises(BuildCanceled):
        go_on()
    assert builds.get("b1").state == "canceled"
    with pytest.raises(Conflict, match="ended already: canceled"):
        builds.ask_cancel("b1")


def test_builds_are_listed_newest_first_in_pages(builds: Builds) -> None:
    for number in range(5):
        with builds.record("lock" if number % 2 else "image", f"e:{number}", "key"):
            pass
    page = builds.list(limit=2)
    assert [record.id for record in page] == ["b5", "b4"]
    assert [record.id for record in builds.list(limit=9, after=page.next)] == ["b3", "b2", "b1"]
    assert [record.id for record in builds.list(kind="lock")] == ["b4", "b2"]
    assert [record.id for record in builds.list(subject="e:0", state="completed")] == ["b1"]


@pytest.mark.parametrize("text", ["", "zz", "b7", "%", "b1' OR 1=1"])
def test_what_is_no_build_is_not_found(builds: Builds, text: str) -> None:
    with builds.record("lock", "x", "key"):
        pass
    with pytest.raises(NotFound, match="there is no build"):
        builds.get(text)


def test_a_beginning_that_several_share_is_a_conflict(builds: Builds) -> None:
    for _ in range(2):
        with builds.record("lock", "x", "key", silent):
            pass
    with pytest.raises(Conflict, match="b1, b2"):
        builds.get("b")


def test_an_unknown_kind_is_refused(builds: Builds) -> None:
    with pytest.raises(InvalidInput), builds.record("cake", "x", "key"):
        pass


def test_a_build_that_was_recorded_before_is_carried_out_by_another(builds: Builds) -> None:
    build_id = builds.add("image", "sklearn:4", "key")
    assert builds.get(build_id).state == "running"
    with builds.record("image", "", "", adopt=build_id) as recorder:
        assert recorder.id == build_id
        recorder(Event("phase", "layers"))
    record = builds.get(build_id)
    assert (record.state, record.subject, [phase.name for phase in record.phases]) == ("completed", "sklearn:4", ["layers"])
    with pytest.raises(Conflict, match="has ended already"), builds.record("image", "", "", adopt=build_id):
        pytest.fail("it has ended")


def test_a_build_that_is_canceled_before_it_begins_does_nothing(builds: Builds) -> None:
    build_id = builds.add("image", "sklearn:4", "key")
    builds.ask_cancel(build_id)
    with pytest.raises(BuildCanceled), builds.record("image", "", "", adopt=build_id):
        pytest.fail("it was canceled")
    assert builds.get(build_id).state == "canceled"


def test_a_build_whose_process_did_not_start_says_so(builds: Builds) -> None:
    build_id = builds.add("image", "sklearn:4", "key")
    builds.end_unstarted(build_id, BuildFailed("no shell", code="build_not_started"))
    record = builds.get(build_id)
    assert (record.state, record.code, record.reason) == ("failed", "build_not_started", "no shell")


def test_what_turns_out_to_be_no_build_leaves_no_record(builds: Builds) -> None:
    with builds.record("image", "sklearn:4", "") as recorder:
        recorder.put_key("key")
        assert builds.get("b1").key == "key"
        recorder.kept = False
    error = BuildFailed("somebody else's build failed")
    with pytest.raises(BuildFailed, match="somebody else"):
        _given_up(builds, error)
    assert (builds.list().items, error.details) == ([], {})
    assert not builds.log_path("b1").exists()


def _given_up(builds: Builds, error: BuildFailed) -> None:
    with builds.record("image", "sklearn:4", "") as recorder:
        recorder.kept = False
        raise error
