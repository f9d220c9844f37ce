"""What became of a run elsewhere: from its node's word and its engine's word to the state of its record. Pure."""

from __future__ import annotations

import re
import signal as signals
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.run.record import CANCELED, COMPLETED, FAILED, PREPARING, RUNNING
from wardian.run.targets import remote

if TYPE_CHECKING:
    from wardian.run.node.sheet import NodeEnd, NodeStatus
    from wardian.run.record import RunRecord
    from wardian.run.targets.remote import Standing

_NOT_EXECUTED = (126, 127)  # what a shell says of a program
_NO_PROGRAM = re.compile(r"(?i)permission denied|not found|no such file|cannot execute|exec format")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_WORDS = {
    "timeout": (FAILED, "timeout", "its time was up: the engine ended it"),
    "out_of_memory": (FAILED, "out_of_memory", "it used more memory than it was given: the engine ended it; ask for more with `--memory`"),
    "node_lost": (FAILED, "node_lost", "its node was lost"),
    "preempted": (FAILED, "preempted", "the engine ended it in favour of others"),
    "not_started": (FAILED, "not_started", "the engine could not start it"),
}  # fmt: skip
_OF_THE_ENGINE = (
    "timeout",
    "out_of_memory",
    "node_lost",
    "preempted",
)  # causes that a node takes for somebody's wish, or a signal
_CANCELING = (signals.SIGTERM, signals.SIGKILL, signals.SIGINT)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended, for its record."""

    state: str
    code: str
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None


def is_doubtful(record: RunRecord, end: NodeEnd) -> bool:
    """Return whether the node's word alone does not say why the run ended: it saw a signal that nobody here had asked for."""
    return not record.cancel_asked and (end.cause == "stopped" or (end.cause == "exited" and end.signal in _CANCELING))


def verdict_of(record: RunRecord, standing: Standing | None, end: NodeEnd | None, last_words: str = "") -> Verdict | None:
    """Return how the run ended; None: it has not, as far as is known.

    The node's word counts, except where it cannot know: it only saw a signal when the engine's time was up or its memory gone.

    Args:     standing: the engine's word; None: it was not asked.  last_words: what engine and agent said at last, where the node's word is missing.
    """
    ended = standing is not None and standing.state == remote.ENDED
    if (
        end is not None
        and standing is not None
        and standing.state in (remote.RUNNING, remote.SILENT)
        and is_doubtful(record, end)
    ):
        return None  # whoever sent the signal is about to say why
    if end is not None:
        return _of_node(record, standing if ended else None, end)
    if standing is None or (not ended and standing.state != remote.UNKNOWN):
        return None
    said = f": {last_words}" if last_words else ""
    if standing.state == remote.UNKNOWN and record.cancel_asked:  # engines that delete what they end
        return _canceled(record, standing)
    if standing.state == remote.UNKNOWN:
        return Verdict(FAILED, "lost", f"the engine knows nothing of it any more, and its node left no word{said}")
    if standing.cause == "canceled":
        return _canceled(record, standing)
    if standing.cause in _WORDS:
        state, code, words = _WORDS[standing.cause]
        is_killed = standing.cause == "out_of_memory"
        return Verdict(
            state, code, f"{words} ({standing.reason}{_on(standing)})", None, int(signals.SIGKILL) if is_killed else None
        )
    if record.state != RUNNING and standing.exit_code in _NOT_EXECUTED and _NO_PROGRAM.search(last_words):
        on = f" on {standing.node}" if standing.node else ""
        why = "the directory must be there on nodes, and programs in it may be executed (not mounted `noexec`)"
        return Verdict(FAILED, "not_started", f"its agent could not be started{on}: {last_words}; {why}")
    how = "" if standing.exit_code is None else f", exit code {standing.exit_code}"
    if standing.signal:
        how = f", signal {standing.signal}"
    return Verdict(FAILED, "lost", f"its node left no word of how it ended; the engine says {standing.reason}{how}{said}")


def progress_of(record: RunRecord, standing: Standing | None, status: NodeStatus | None) -> tuple[str, str | None]:
    """Return the state that a run has come to, and since when by the node's clock; empty: it is where it was."""
    if status is not None:
        state = {"preparing": PREPARING, "running": RUNNING, "ending": RUNNING}.get(status.state, "")
        return ("", None) if state == record.state else (state, status.at)
    if standing is not None and standing.state == remote.RUNNING and record.state == "queued":
        return PREPARING, None
    return "", None


def waiting_words(record: RunRecord, standing: Standing) -> str:
    """Return why an active run waits, in a few words; empty: it does not."""
    if standing.state == remote.WAITING:
        again = ", to be started again" if record.state != "queued" else ""
        return f"waiting{again}: {standing.reason}" if standing.reason else f"waiting{again}"
    return standing.reason if standing.state == remote.RUNNING else ""


def _of_node(record: RunRecord, standing: Standing | None, end: NodeEnd) -> Verdict:
    code = end.code if _CODE.fullmatch(end.code) else end.cause if _CODE.fullmatch(end.cause) else "lost"
    stopped = end.cause == "stopped"
    was_killed = end.cause == "exited" and end.signal in (signals.SIGKILL, signals.SIGTERM)
    if standing is not None and not record.cancel_asked and standing.cause in _OF_THE_ENGINE and (stopped or was_killed):
        state, code, words = _WORDS[standing.cause]
        return Verdict(state, code, f"{words} ({standing.reason}{_on(standing)})", end.exit_code, end.signal)
    # engines that cancel signal the job itself, too, which may end of it before its agent has looked
    asked = bool(record.cancel_asked) or (standing is not None and standing.cause == "canceled")
    if stopped or (asked and end.cause == "exited" and end.signal in _CANCELING):
        state = "running" if end.began else "preparing"
        there = (
            ""
            if record.cancel_asked or standing is None
            else " at the engine"
            if standing.cause == "canceled"
            else " on its node"
        )
        reason = end.reason if stopped and end.reason and not there else f"{_asked(record)}{there} while {state}"
        return Verdict(CANCELED, _asked(record), reason, end.exit_code, end.signal)
    if end.cause == "exited" and end.exit_code == 0 and end.signal is None:
        return Verdict(COMPLETED, "exited", "", 0)
    return Verdict(FAILED, code, _whole(end), end.exit_code, end.signal)


def _whole(end: NodeEnd) -> str:
    where = f" (on {end.node})" if end.node and end.cause == "failed" else ""
    if end.reason:
        return f"{end.reason}{where}"
    return f"exit code {end.exit_code}" if end.exit_code is not None else f"{end.cause}{where}"


def _canceled(record: RunRecord, standing: Standing) -> Verdict:
    if record.cancel_asked:
        return Verdict(CANCELED, _asked(record), f"{_asked(record)} while {record.state}")
    return Verdict(CANCELED, "canceled", f"canceled at the engine: {standing.reason}")


def _on(standing: Standing) -> str:
    return f", {standing.node}" if standing.node else ""


def _asked(record: RunRecord) -> str:
    return (record.place.asked if record.place else "") or "canceled"
