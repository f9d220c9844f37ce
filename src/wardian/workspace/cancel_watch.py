"""Sees to it that a canceled build stops even while nothing is heard of what it does."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_S = 0.5
_GRACE_S = 1.0  # for a build that notices by itself, at its next step
_SIGNAL = signal.SIGUSR1  # not SIGINT: ^C has a meaning of its own for a run that waits for its build


class CancelWatch:
    """Interrupts this process's main thread, as ^C would, when the build that it carries out is canceled.

    A solver or a step of a Dockerfile may be silent for minutes. Only for processes that are nothing but this build: a command, or a
    build of its own. Elsewhere than in the main thread it does nothing. It takes SIGUSR1 for as long as it lasts.

    Args:     is_canceled: asked twice a second, from another thread.
    """

    def __init__(self, is_canceled: Callable[[], bool]):
        self._is_canceled = is_canceled
        self._ended = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._before: Any = None
        self.fired = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(_SIGNAL, _interrupt)
            self._thread = threading.Thread(target=self._watch, name="wardian-cancel", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._ended.set()
        if self._thread is not None:
            self._thread.join()
            signal.signal(_SIGNAL, self._before if self._before is not None else signal.SIG_DFL)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_S):
            try:
                canceled = self._is_canceled()
            except Exception:  # noqa: BLE001 - the build itself will say what is wrong with the records
                return
            if canceled:
                self._ended.wait(_GRACE_S)
                with self._guard:
                    if not self._ended.is_set():
                        self.fired = True
                        signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
                return


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
