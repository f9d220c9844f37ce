"""^C and its like, while a run is prepared and while it runs."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wardian.run.targets.target import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED, CANCELED = "interrupted", "canceled"

_CAUSES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: CANCELED, signal.SIGHUP: CANCELED}


class Interruptible:
    """How signals reach a run: as ``KeyboardInterrupt`` while it is prepared, as a request to stop once it may be running."""

    def __init__(self, *, takes_signals: bool, patient: bool = False) -> None:
        self.stop = Stop()
        self._patient = patient
        self.takes_signals = takes_signals
        self._is_running = False

    def from_now_to_the_job(self) -> None:
        """Send what arrives from now on to the job: nothing is raised any more."""
        self._is_running = True

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        if self._patient and self.stop.cause:
            return
        is_interrupt = number == signal.SIGINT
        self.stop.request(_CAUSES[signal.Signals(number)], signal.SIGINT if is_interrupt else signal.SIGTERM)
        if not self._is_running:
            raise KeyboardInterrupt


@contextmanager
def interruptible(*, patient: bool = False) -> Iterator[Interruptible]:
    """Take SIGINT, SIGTERM and SIGHUP for the run inside; only the main thread can.

    Args:     patient: a signal after the first request to stop counts for nothing: engines say the same several times.
    """
    is_main = threading.current_thread() is threading.main_thread()
    state = Interruptible(takes_signals=is_main, patient=patient)
    # an ignored SIGHUP stays so: that is what nohup is for
    numbers = [n for n in _CAUSES if not (n == signal.SIGHUP and signal.getsignal(n) == signal.SIG_IGN)] if is_main else []
    before = {number: signal.signal(number, state.handle) for number in numbers}
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        state.stop.close()
