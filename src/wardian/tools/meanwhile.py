"""What a thread does while this one waits: work done ahead, or a word about what is waited for."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from wardian.errors import WardianError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Call ``work`` in a thread; the block ends when both have.

    It is work that is done again, at no cost if it was done here, by who needs it: so its errors are kept silent, and told there.
    """

    def quietly() -> None:
        with contextlib.suppress(WardianError, OSError):
            work()

    thread = threading.Thread(target=quietly, name="wardian-meanwhile", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextlib.contextmanager
def said_if_slow(say: Callable[[], object], *, after_s: float = 3.0) -> Iterator[None]:
    """Call ``say``, in a thread, if the block has not ended after ``after_s`` seconds: nobody should wonder what is waited for."""
    timer = threading.Timer(after_s, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
