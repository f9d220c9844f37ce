from __future__ import annotations

import itertools
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.jobs import a_configuration

from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.run.configuration import RunConfiguration, RunEnvironment
from wardian.run.record import ACTIVE, ENDED, InputRecord, OutputFile, Results, RunRecord
from wardian.run.records import CancelAsked, RunStore
from wardian.run.run_id import new_run_id
from wardian.tools.processes import ProcessIdentity, identify
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = a_configuration(Path("/project"))
MS_2026 = 1_767_225_600_000
LEGAL = {
    "queued": {"preparing", "failed", "canceled"},
    "preparing": {"running", "failed", "canceled"},
    "running": {"completed", "failed", "canceled"},
    "completed": set(),
    "failed": set(),
    "canceled": set(),
}


def a_clock() -> Iterator[datetime]:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in itertools.count())


@pytest.fixture
def store() -> RunStore:
    clock, ids = a_clock(), itertools.count()
    return RunStore(Database.in_memory(), now=lambda: next(clock), new_id=lambda _newest: f"{next(ids):012d}")


def add(store: RunStore, supervisor: ProcessIdentity | None = None, **changes: Any) -> RunRecord:
    return store.add(a_configuration(Path("/project"), **changes), supervisor=supervisor or identify(), results=Results())


def change(store: RunStore, run_id: str, state: str) -> RunRecord:
    if state in ("preparing", "running"):
        return store.advance(run_id, state)
    return store.end(run_id, state, code="exited")


class States(RuleBasedStateMachine):
    """Any sequence of changes: only the legal ones happen, and each state's time is written once."""

    def __init__(self) -> None:
        super().__init__()
        clock = a_clock()
        self.database = Database.in_memory()
        self.store = RunStore(self.database, now=lambda: next(clock))
        self.record = add(self.store)

    @rule(state=st.sampled_from([*ACTIVE, *ENDED, "nonsense"]))
    def change(self, state: str) -> None:
        before = self.record
        if state not in LEGAL[before.state]:
            with pytest.raises(Conflict, match="cannot become") as caught:
                change(self.store, before.id, state)
            assert caught.value.stable_code == "illegal_state_change"
        elif before.cancel_asked and state in ACTIVE:
            with pytest.raises(CancelAsked):
                change(self.store, before.id, state)
        else:
            self.record = change(self.store, before.id, state)
            assert self.record.state == state

    @rule()
    def ask_cancel(self) -> None:
        if self.record.is_active:
            self.record = self.store.ask_cancel(self.record.id)
        else:
            with pytest.raises(Conflict, match="has ended already"):
                self.store.ask_cancel(self.record.id)

    @invariant()
    def what_is_stored_is_what_was_returned(self) -> None:
        assert self.store.get(self.record.id) == self.record

    @invariant()
    def times_are_those_of_the_states_gone_through(self) -> None:
        record = self.record
        times = [t for t in (record.queued, record.preparing, record.running, record.ended) if t]
        assert times == sorted(times)
        assert (record.ended is not None) == (record.state in ENDED)
        assert (record.process_exit_code is None) == record.is_active
        if record.state == "completed":
            assert record.running

    def teardown(self) -> None:
        self.database.close()


TestStates = States.TestCase
TestStates.settings = settings(max_examples=50, stateful_step_count=12)


def test_a_record_holds_what_was_found_out(store: RunStore) -> None:
    results = Results(
        environment=RunEnvironment(
            "sklearn", "4", None, "d" * 64, "l" * 64, prefix_key="p" * 64, summary="sklearn:4", observed={"python": "3.11.7"}
        ),
        variables={"EPOCHS": "3", "TOKEN": None},
        snapshot_files=2,
        snapshot_bytes=10,
        inputs={"data": InputRecord("/d", 5, "2026-01-01T00:00:00.000000Z", 1, is_partial=False, digest="e" * 64)},
        outputs=(OutputFile("outputs/\udcff", 3),),
        output_files=1,
        output_bytes=3,
        new_files=("n",),
        changed_files=("c",),
        notes=("n1", "n2"),
    )
    record = add(store)
    store.advance(record.id, "preparing", results=results, snapshot_digest="5" * 64)
    store.advance(record.id, "running")
    ended = store.end(record.id, "failed", code="exited", reason="exit code 3", exit_code=3)
    assert store.get(record.id) == ended
    assert ended.results == results
    assert (ended.code, ended.reason, ended.exit_code, ended.snapshot_digest) == ("exited", "exit code 3", 3, "5" * 64)
    assert ended.supervisor == identify()
    assert RunRecord.from_document(ended.as_document()).as_document() == ended.as_document()
    assert "supervisor" not in ended.as_document()


@pytest.mark.parametrize(("end", "expected"), [
    ({"state": "completed", "code": "exited", "exit_code": 0}, 0),
    ({"state": "failed", "code": "exited", "exit_code": 3}, 3),
    ({"state": "failed", "code": "exited", "exit_code": 125}, 125),
    ({"state": "failed", "code": "signal", "signal": 9}, 137),
    ({"state": "failed", "code": "timeout", "signal": 15}, 124),
    ({"state": "failed", "code": "timeout", "exit_code": 0}, 124),
    ({"state": "failed", "code": "not_executable"}, 126),
    ({"state": "failed", "code": "not_found"}, 127),
    ({"state": "failed", "code": "solve_failed"}, 125),
    ({"state": "failed", "code": "lost"}, 125),
    ({"state": "canceled", "code": "interrupted", "exit_code": 0}, 130),
    ({"state": "canceled", "code": "canceled", "signal": 15}, 143),
])  # fmt: skip
def test_the_exit_code_of_wardian_run(store: RunStore, end: dict[str, Any], expected: int) -> None:
    record = add(store)
    store.advance(record.id, "preparing")
    store.advance(record.id, "running")
    assert store.end(record.id, **end).process_exit_code == expected


def test_a_run_is_found_by_the_beginning_of_its_id(store: RunStore) -> None:
    for _ in range(3):
        add(store)
    assert store.get("000000000001").id == "000000000001"
    with pytest.raises(Conflict, match="000000000000, 000000000001") as caught:
        store.get("0000")
    assert caught.value.stable_code == "ambiguous_run"
    for wrong in ("9", "", "%", "x'; --", "0000000000011"):
        with pytest.raises(NotFound) as missing:
            store.get(wrong)
        assert missing.value.stable_code == "run_not_found"


def test_pages_follow_the_key(store: RunStore) -> None:
    ids = [add(store, experiment="even" if n % 2 == 0 else "odd").id for n in range(7)]
    seen: list[str] = []
    after = None
    while True:
        page = store.list(limit=2, after=after)
        seen += [record.id for record in page]
        if not seen[2:]:
            add(store)  # a newer one neither repeats nor hides another
        after = page.next
        if after is None:
            break
    assert seen == ids[::-1]
    assert [record.id for record in store.list(experiment="odd")] == ids[1::2][::-1]
    assert len(store.list(state="running")) == 0
    assert len(store.list(state="queued", experiment="even", target=None)) == 4


def test_lists_refuse_what_they_do_not_know(store: RunStore) -> None:
    with pytest.raises(InvalidInput, match="`done`"):
        store.list(state="done")
    with pytest.raises(InvalidInput, match="color"):
        store.list(color="red")
    with pytest.raises(InvalidInput, match="1 to 1000"):
        store.list(limit=0)


def test_the_newest_run_comes_first_although_the_clock_went_back() -> None:
    hours = iter([10, 9000, 11, 11, 12])
    store = RunStore(Database.in_memory(), new_id=lambda newest: new_run_id(newest, lambda: MS_2026 + next(hours) * 3_600_000))
    added = [add(store).id for _ in range(5)]
    assert [record.id for record in store.list()] == added[::-1]
    assert [record.id for record in store.list(limit=2, after=added[3])] == [added[2], added[1]]


def ended_process() -> ProcessIdentity:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = identify(process.pid)
    assert identity is not None
    process.communicate(b"\n")
    return identity


def test_a_run_whose_process_is_gone_has_failed(store: RunStore) -> None:
    gone = ended_process()
    record = add(store, gone)
    ended = store.get(record.id)
    assert (ended.state, ended.code) == ("failed", "supervisor_gone")
    assert f"process {gone.pid}" in ended.reason
    assert "queued" in ended.reason
    assert ended.process_exit_code == 125


def test_a_run_whose_process_is_gone_ended_when_it_was_last_known_to_be_alive(tmp_path: Path) -> None:
    clock = iter(datetime(2026, 1, 1, hour=hour, tzinfo=UTC) for hour in range(24))
    store = RunStore(Database.in_memory(), now=lambda: next(clock), runs_dir=tmp_path)
    never, silent, written, from_the_future = [add(store, ended_process()).id for _ in range(4)]
    for run_id, log in ((silent, 1), (written, 9), (from_the_future, 999)):
        store.advance(run_id, "preparing")
        store.advance(run_id, "running")  # the last one at 9 o'clock
        (tmp_path / run_id).mkdir()
        (tmp_path / run_id / "log.txt").touch()
        moment = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=log)).timestamp()
        os.utime(tmp_path / run_id / "log.txt", (moment, moment))
    ended = {run_id: store.get(run_id) for run_id in (never, silent, written, from_the_future)}
    hours = {run_id: datetime.fromisoformat(record.ended or "").hour for run_id, record in ended.items()}
    assert hours[never] == 0  # since it was queued
    assert hours[silent] == 5  # since it was running: its log is older
    assert hours[written] == 9
    assert hours[from_the_future] > 9  # not later than now
    assert "last known to be alive at 2026-01-01T09:00:00Z" in ended[written].reason
    assert not any(record.end_is_known for record in ended.values())
    assert store.end(add(store).id, "failed", code="exited").end_is_known


def test_a_run_whose_process_went_after_a_request_is_canceled(store: RunStore) -> None:
    record = add(store, ended_process())
    store.ask_cancel(record.id)
    assert store.get(record.id).state == "canceled"


def test_lists_show_no_dead_run_as_running(store: RunStore) -> None:
    gone = ended_process()
    dead, alive = add(store, gone), add(store)
    for record in (dead, alive):
        store.advance(record.id, "preparing")
        store.advance(record.id, "running")
    assert [record.id for record in store.list(state="running")] == [alive.id]
    assert [record.id for record in store.active()] == [alive.id]
    assert [record.id for record in store.list(state="failed")] == [dead.id]


def test_the_number_of_a_process_is_not_enough(store: RunStore) -> None:
    here = identify()
    assert here is not None
    another = ProcessIdentity(here.pid, here.start_ticks - 1, here.boot_id, here.host, here.pid_namespace)
    before_boot = ProcessIdentity(here.pid, here.start_ticks, "other", here.host, here.pid_namespace)
    elsewhere = ProcessIdentity(1, 1, "other", "another-machine", here.pid_namespace)
    other_container = ProcessIdentity(1, 1, here.boot_id, here.host, "pid:[1]")
    states = [store.get(add(store, process).id).state for process in (here, another, before_boot, elsewhere, other_container)]
    assert states == ["queued", "failed", "failed", "queued", "queued"]  # what cannot be seen from here is left alone


def test_a_last_word_counts_more_than_a_gone_process(store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / "workspace.db"
    ours = RunStore(Database.open(path, journal="wal"))
    record = add(ours, ended_process())
    stale = RunStore(Database.open(path)).get  # reads, then finds that the process is gone
    ours.end(record.id, "failed", code="exited", exit_code=3)
    assert stale(record.id).exit_code == 3


def test_only_a_queued_run_changes_hands(store: RunStore) -> None:
    record = add(store)
    other = ProcessIdentity(os.getppid(), 1, "other", "another-machine", "pid:[1]")
    assert store.hand_over(record.id, other, takes_signals=True).takes_signals
    store.advance(record.id, "preparing")
    with pytest.raises(Conflict) as caught:
        store.hand_over(record.id, identify())
    assert caught.value.stable_code == "illegal_state_change"


def test_only_what_has_ended_is_deleted(store: RunStore) -> None:
    record = add(store)
    with pytest.raises(Conflict, match="has not ended"):
        store.delete(record.id)
    store.end(record.id, "canceled", code="canceled")
    store.delete(record.id)
    with pytest.raises(NotFound):
        store.get(record.id)


def test_secrets_do_not_reach_the_database(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "workspace.db", journal="delete")
    configuration = RunConfiguration(CONFIGURATION.command, variables={"MY_TOKEN": "hunter2"})
    RunStore(database).add(configuration, supervisor=identify(), results=Results())
    database.close()
    assert b"hunter2" not in (tmp_path / "workspace.db").read_bytes()
    assert b"MY_TOKEN" in (tmp_path / "workspace.db").read_bytes()
