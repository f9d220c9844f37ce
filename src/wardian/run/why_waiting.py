"""Tells those who follow a run why it has not begun, in its engine's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.run.record import PREPARING, QUEUED

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.run.record import RunRecord

AFTER_S = 2.0
_NOTHING_NEW = ("", "waiting")


class WhyWaiting:
    """Tells each reason once, and only one that has been the same for ``after_s`` seconds: most runs begin before that.

    Args:     known: what was told before.
    """

    def __init__(self, tell: Callable[[str], None], known: str = "", after_s: float | None = None) -> None:
        self._tell = tell
        self._after_s = AFTER_S if after_s is None else after_s
        self._told = {known, *_NOTHING_NEW}
        self._reason, self._since = "", 0.0

    def look(self, record: RunRecord, now_s: float) -> None:
        """Take note of a record as it is at ``now_s``, seconds of a clock that never goes back."""
        reason = record.reason if record.state in (QUEUED, PREPARING) else ""
        if reason != self._reason:
            self._reason, self._since = reason, now_s
        is_told = reason in self._told or reason.startswith(f"`{record.configuration.target}` cannot be asked")
        if not is_told and now_s - self._since >= self._after_s:
            self._told.add(reason)
            self._tell(f"run {record.id} is {reason}" if reason.startswith("waiting") else f"run {record.id}: {reason}")
