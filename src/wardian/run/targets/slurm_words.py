"""What Slurm's commands print, read: rows of squeue and sacct."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.run.targets.remote import ENDED, RUNNING, WAITING, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# nothing that a user may have written is among these: `|` is in none of them
FIELDS = "JobID:|,State:|,Reason:|,exit_code:|,NodeList:|,RestartCnt:|,StartTime:|"
DIRECTORY = "WorkDir:|"
_COLUMNS = 7
_NOT_LAUNCHED = 53  # Slurm's own: no log could be opened, no directory entered
_WAITING = (
    "PENDING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
    "SPECIAL_EXIT",
    "RESV_DEL_HOLD",
    "CONFIGURING",
    "POWER_UP_NODE",
)
_RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
# what may be added to a state, and tells more than it
FLAGS_FIRST = ("COMPLETING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "STOPPED",
               "SIGNALING", "STAGE_OUT", "RESIZING", "REVOKED")  # fmt: skip
_CAUSES = {
    "COMPLETED": "exited", "FAILED": "exited", "CANCELLED": "canceled", "REVOKED": "canceled", "TIMEOUT": "timeout", "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "out_of_memory", "NODE_FAIL": "node_lost", "BOOT_FAIL": "node_lost", "PREEMPTED": "preempted",
}  # fmt: skip

# why a job waits: what Slurm calls it, for people
_REASONS = {
    "Resources": "others use what it asks for", "Priority": "others come before it", "Dependency": "another job has to end first",
    "BeginTime": "its time has not come yet", "JobHeldUser": "held by its owner: `scontrol release` lets it go",
    "JobHeldAdmin": "held by an administrator", "Licenses": "all licenses of a kind are taken", "Reservation": "its reservation has not begun",
    "ReqNodeNotAvail": "nodes that it needs are down, drained or reserved", "NodeDown": "a node that it needs is down",
    "BadConstraints": "no node has what it asks for", "PartitionDown": "its partition is closed", "PartitionInactive": "its partition is closed",
    "PartitionConfig": "its partition has no node with what it asks for", "PartitionNodeLimit": "its partition gives no job so many nodes", "PartitionTimeLimit": "its partition gives no job so much time",
    "JobHoldMaxRequeue": "held: it was started again too often", "InvalidAccount": "its account is not known", "InvalidQOS": "its qos is not known",
    "AccountNotAllowed": "its account may not use the partition", "QOSNotAllowed": "its qos may not be used",
}  # fmt: skip
_LIMITS = (
    (re.compile(r"Assoc\w+"), "your account has reached a limit"), (re.compile(r"QOS\w+"), "your qos has reached a limit"),
    (re.compile(r"(?i)launch[ _]failed[ _]requeued[ _]held"), "held: it could not be launched"),
)  # fmt: skip


def asked(out: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each job's number and its row of ``FIELDS``; lines that are no such row are skipped."""
    for line in out.splitlines():
        row = [text.strip() for text in line.split("|")]
        if len(row) > _COLUMNS - 1 and row[0].isdigit():
            yield row[0], row


def standing_of(row: Sequence[str]) -> Standing:
    """Return how a job stands by its row."""
    state, reason, code, nodes, restarts, start = row[1:_COLUMNS]
    state = state.split(" ", 1)[0].upper()
    times = int(restarts) if restarts.isdigit() else 0
    if state in _WAITING:
        return Standing(WAITING, reason=why_waiting(reason), node=nodes, attempts=times)
    if state in _RUNNING:
        return Standing(RUNNING, reason="" if state == "RUNNING" else state, node=nodes, attempts=times + 1)
    exit_code, signal = wait_status(code)
    ran = bool(nodes) and start not in ("N/A", "Unknown", "")
    cause = _CAUSES.get(state, "exited")
    words = state if reason in ("None", "", "NonZeroExitCode") else f"{state} ({reason})"
    if state == "FAILED" and (not ran or signal == _NOT_LAUNCHED):
        cause, signal = "not_started", None
    return Standing(
        ENDED, reason=words, cause=cause, exit_code=exit_code, signal=signal, node=nodes, attempts=times + 1 if ran else times
    )


def why_waiting(reason: str) -> str:
    """Return Slurm's reason with what it means beside it, where that is known; empty: there is none."""
    if reason in ("None", ""):
        return ""
    code = re.split(r"[,(]", reason, maxsplit=1)[0].strip()
    words = _REASONS.get(code) or next((words for pattern, words in _LIMITS if pattern.fullmatch(code)), "")
    return f"{reason} ({words})" if words else reason


def ended_of(out: str) -> Mapping[str, Standing]:
    """Return what accounting says of ended jobs: rows of number, state, exit code and nodes."""
    found = {}
    for line in out.splitlines():
        row = line.split("|")
        if len(row) == 4 and row[0].isdigit():  # noqa: PLR2004
            state = row[1].split(" ", 1)[0].upper()
            nodes = "" if row[3] == "None assigned" else row[3]
            found[row[0]] = standing_of((row[0], state, "None", row[2], nodes, "0", "then" if nodes else "N/A"))
    return found


def wait_status(text: str) -> tuple[int | None, int | None]:
    """Return exit code and signal from what Slurm shows of them: ``7:0``, ``0:9``, or the system's number (1792, 9)."""
    if match := re.fullmatch(r"(\d+):(\d+)", text):
        code, signal = int(match[1]), int(match[2]) & 0x7F
    elif text.isdigit():
        code, signal = int(text) >> 8, int(text) & 0x7F
    else:
        return None, None
    return (None, signal) if signal else (code, None)


def directory_of(out: str) -> str | None:
    """Return a job's directory from what squeue prints of ``DIRECTORY`` alone, as it may hold anything; None: it prints no job."""
    return out.removesuffix("\n").removesuffix("|") or None
