"""What is said of a run whose job has ended."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from wardian.run.record import CANCELED, COMPLETED, FAILED

if TYPE_CHECKING:
    from wardian.run.targets.target import Ended


def verdict(ended: Ended, asked: str, timeout_s: float | None) -> tuple[str, str, str]:
    """Return state, code and reason of a run whose job ended so; ``asked``: the cause of the first request to stop it."""
    if ended.cause == "timeout":
        return FAILED, "timeout", f"stopped after {timeout_s:g} second{'' if timeout_s == 1 else 's'}: its time was up"
    if ended.cause == "stopped":
        return CANCELED, asked or "canceled", f"{asked or 'canceled'} while running"
    if ended.cause in ("not_found", "not_executable", "lost"):
        return FAILED, ended.cause, ended.detail
    if ended.signal is not None:
        why = ": as a rule, the machine ran out of memory" if ended.signal == signal.SIGKILL else ""
        return FAILED, "signal", f"ended by signal {ended.signal} ({_signal_name(ended.signal)}){why}"
    if ended.exit_code:
        return FAILED, "exited", f"exit code {ended.exit_code}"
    return COMPLETED, "exited", ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def left_over(ended: Ended) -> list[str]:
    """Return what a reader should know of what a job left running."""
    notes = []
    if ended.stragglers:
        were = "1 process was" if ended.stragglers == 1 else f"{ended.stragglers} processes were"
        notes.append(f"{were} still running when the script ended, and had to end too")
    if ended.survivors:
        notes.append(f"these processes could not be killed: {', '.join(map(str, ended.survivors))}")
    return notes
