from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.jobs import a_configuration

from wardian.run.node.sheet import NodeEnd, NodeStatus
from wardian.run.place import Place
from wardian.run.reconciling import Verdict, progress_of, verdict_of, waiting_words
from wardian.run.record import RunRecord
from wardian.run.targets.remote import Standing

QUEUED = RunRecord(
    "01", "queued", a_configuration(Path("/p")), queued="2026-01-01T00:00:00Z", place=Place("engine", {}, "/n", "01")
)
RUNNING = replace(QUEUED, state="running")
ASKED = replace(RUNNING, cancel_asked="2026-01-01T00:00:01Z")
BEGAN = "2026-01-01T00:00:05Z"


def ended(cause: str, reason: str = "WORD", **more: object) -> Standing:
    return Standing("ended", reason=reason, cause=cause, node="n1", **more)  # type: ignore[arg-type]


CASES: list[tuple[RunRecord, Standing | None, NodeEnd | None, tuple[str, str, int | None, int | None]]] = [
    # the node's word
    (RUNNING, ended("exited"), NodeEnd("exited", exit_code=0, code="exited"), ("completed", "exited", 0, None)),
    (QUEUED, None, NodeEnd("exited", exit_code=3, code="exited", reason="exit code 3"), ("failed", "exited", 3, None)),
    (RUNNING, ended("exited"), NodeEnd("exited", signal=11, code="signal", reason="SIGSEGV"), ("failed", "signal", None, 11)),
    (RUNNING, None, NodeEnd("timeout", signal=15, code="timeout", reason="its time"), ("failed", "timeout", None, 15)),
    (RUNNING, None, NodeEnd("not_found", code="not_found", reason="no program"), ("failed", "not_found", None, None)),
    (RUNNING, None, NodeEnd("failed", code="archive_not_carried", reason="no"), ("failed", "archive_not_carried", None, None)),
    (ASKED, ended("canceled"), NodeEnd("stopped", signal=15, code="canceled", began=BEGAN), ("canceled", "canceled", None, 15)),
    (ASKED, ended("canceled"), NodeEnd("exited", signal=15, code="signal", began=BEGAN), ("canceled", "canceled", None, 15)),
    (ASKED, None, NodeEnd("exited", signal=15, code="signal", began=BEGAN), ("canceled", "canceled", None, 15)),
    (RUNNING, ended("canceled"), NodeEnd("exited", signal=15, code="signal", began=BEGAN), ("canceled", "canceled", None, 15)),
    (ASKED, ended("canceled"), NodeEnd("exited", exit_code=0, code="exited"), ("completed", "exited", 0, None)),
    (ASKED, ended("canceled"), NodeEnd("exited", signal=11, code="signal"), ("failed", "signal", None, 11)),
    # it beats the engine's, which has heard less
    (RUNNING, Standing("waiting", reason="requeued"), NodeEnd("exited", exit_code=0), ("completed", "exited", 0, None)),
    (RUNNING, ended("node_lost"), NodeEnd("exited", exit_code=0), ("completed", "exited", 0, None)),
    # where a node saw no more than a signal, the engine knows why
    (RUNNING, ended("timeout"), NodeEnd("stopped", signal=15, began=BEGAN), ("failed", "timeout", None, 15)),
    (RUNNING, ended("preempted"), NodeEnd("stopped", signal=15, began=BEGAN), ("failed", "preempted", None, 15)),
    (RUNNING, ended("out_of_memory"), NodeEnd("exited", signal=9, code="signal"), ("failed", "out_of_memory", None, 9)),
    (RUNNING, ended("timeout"), NodeEnd("exited", signal=15, code="signal", began=BEGAN), ("failed", "timeout", None, 15)),
    (ASKED, ended("timeout"), NodeEnd("stopped", signal=15, began=BEGAN), ("canceled", "canceled", None, 15)),
    # nothing of the node
    (QUEUED, ended("canceled"), None, ("canceled", "canceled", None, None)),
    (ASKED, ended("canceled", signal=15), None, ("canceled", "canceled", None, None)),
    (RUNNING, ended("node_lost", "NODE_FAIL"), None, ("failed", "node_lost", None, None)),
    (RUNNING, ended("timeout"), None, ("failed", "timeout", None, None)),
    (RUNNING, ended("out_of_memory"), None, ("failed", "out_of_memory", None, 9)),
    (QUEUED, ended("not_started"), None, ("failed", "not_started", None, None)),
    (RUNNING, ended("exited", exit_code=0), None, ("failed", "lost", None, None)),
    (RUNNING, ended("exited", signal=9), None, ("failed", "lost", None, None)),
    (RUNNING, ended("exited", exit_code=126), None, ("failed", "lost", None, None)),
    (RUNNING, Standing("unknown"), None, ("failed", "lost", None, None)),
]  # fmt: skip


@pytest.mark.parametrize("record", [QUEUED, replace(QUEUED, state="preparing")])
def test_an_agent_that_may_not_be_executed_is_said(record: RunRecord) -> None:
    words = "sh: 14: /n/agents/7/libraries/loader: Permission denied"
    found = verdict_of(record, ended("exited", exit_code=126), None, words)
    assert found is not None
    assert found.code == "not_started"
    assert found.reason.startswith(f"its agent could not be started on n1: {words}; ")
    other = verdict_of(record, ended("exited", exit_code=127), None, "error: the disk is full")
    assert other is not None
    assert other.code == "lost"


@pytest.mark.parametrize(("record", "standing", "end", "expected"), CASES)
def test_how_it_ended(
    record: RunRecord, standing: Standing | None, end: NodeEnd | None, expected: tuple[str, str, int | None, int | None]
) -> None:
    found = verdict_of(record, standing, end)
    assert found is not None
    assert (found.state, found.code, found.exit_code, found.signal) == expected
    assert found.reason or found.state == "completed"


@pytest.mark.parametrize("standing", [None, Standing("waiting"), Standing("running")])
def test_without_a_word_it_has_not_ended(standing: Standing | None) -> None:
    assert verdict_of(RUNNING, standing, None) is None


def test_a_lost_node_is_told_from_a_failure_in_words() -> None:
    found = verdict_of(RUNNING, ended("node_lost", "NODE_FAIL"), None)
    assert found == Verdict("failed", "node_lost", "its node was lost (NODE_FAIL, n1)")


def test_the_last_words_are_in_the_reason() -> None:
    found = verdict_of(RUNNING, ended("exited", "FAILED", exit_code=127), None, "no such loader")
    assert found is not None
    assert "the engine says FAILED, exit code 127: no such loader" in found.reason


def test_somebody_elses_cancellation_is_told() -> None:
    found = verdict_of(RUNNING, ended("canceled", "CANCELLED by 0"), None)
    assert found is not None
    assert found.reason == "canceled at the engine: CANCELLED by 0"


def test_an_interrupted_run_says_so() -> None:
    place = QUEUED.place
    assert place is not None
    record = replace(ASKED, place=replace(place, asked="interrupted"))
    for standing, end in ((ended("canceled"), None), (None, NodeEnd("stopped", code="canceled", began=BEGAN))):
        found = verdict_of(record, standing, end)
        assert found is not None
        assert found.code == "interrupted"


def test_a_node_cannot_make_codes_of_its_own() -> None:
    found = verdict_of(RUNNING, None, NodeEnd("failed", code="<b>\x1b[31m", reason="x"))
    assert found is not None
    assert found.code == "failed"


def test_how_far_it_is() -> None:
    assert progress_of(QUEUED, Standing("running"), None) == ("preparing", None)
    assert progress_of(QUEUED, None, NodeStatus("preparing", at=BEGAN)) == ("preparing", BEGAN)
    assert progress_of(QUEUED, None, NodeStatus("running", at=BEGAN)) == ("running", BEGAN)
    assert progress_of(RUNNING, Standing("running"), NodeStatus("ending")) == ("", None)
    assert progress_of(RUNNING, Standing("running"), None) == ("", None)
    assert progress_of(QUEUED, None, NodeStatus("dancing")) == ("", "")


def test_why_it_waits() -> None:
    assert waiting_words(QUEUED, Standing("waiting", reason="Priority")) == "waiting: Priority"
    assert waiting_words(RUNNING, Standing("waiting", reason="BeginTime")) == "waiting, to be started again: BeginTime"
    assert waiting_words(RUNNING, Standing("running")) == ""


@pytest.mark.parametrize(
    ("cause", "reason"),
    [("canceled", "canceled at the engine while running"), ("exited", "canceled on its node while running")],
)
def test_who_ended_it_is_said(cause: str, reason: str) -> None:
    end = NodeEnd("stopped", signal=15, code="canceled", reason="canceled while running", began=BEGAN)
    verdict = verdict_of(RUNNING, ended(cause), end)
    assert verdict is not None
    assert (verdict.state, verdict.reason) == ("canceled", reason)
    mine = verdict_of(ASKED, ended(cause), end)
    assert mine is not None
    assert mine.reason == "canceled while running"


@pytest.mark.parametrize("end", [NodeEnd("stopped", signal=15), NodeEnd("exited", signal=9), NodeEnd("exited", signal=15)])
def test_a_signal_that_nobody_here_sent_is_the_engines_to_explain(end: NodeEnd) -> None:
    assert verdict_of(RUNNING, Standing("running"), end) is None
    assert verdict_of(ASKED, Standing("running"), end) is not None
    assert verdict_of(RUNNING, Standing("unknown"), end) is not None
