"""How rattler's coroutines are run from synchronous code, and how an interpreter that used it comes to its end."""

from __future__ import annotations

import atexit
import contextlib
import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

T = TypeVar("T")

_THREADS = "tokio-rt-worker"  # the name that the kernel knows rattler's threads by
_TASKS = Path("/proc/self/task")
_PAUSE_S = 0.002
_LONGEST_S = 1.0


def call(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, run on an event loop in a thread of its own.

    So it can be called while another loop runs (notebooks), and the loop lives until rattler is done with it: rattler
    aborts an interpreter that ends before that. An interrupt cancels the work and waits for it.
    """
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

    _end_after_rattler()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def main() -> T:
        task = asyncio.current_task()
        if task is not None:
            started.set_result((asyncio.get_running_loop(), task))
        return await work

    with ThreadPoolExecutor(1, "rattler") as pool:
        outcome: Future[T] | None = None
        try:
            outcome = pool.submit(asyncio.run, main())
            return outcome.result()
        finally:
            if outcome is None or not outcome.done():  # an interrupt, perhaps before `submit` had returned
                with contextlib.suppress(TimeoutError):
                    loop, task = started.result(timeout=10)
                    loop.call_soon_threadsafe(task.cancel)


@functools.cache
def _end_after_rattler() -> None:
    atexit.register(wait_until_quiet)


def wait_until_quiet() -> None:
    """Wait until rattler's own threads have nothing left to do; at most one second.

    A result is handed over before the thread that made it has let go of its Python objects. Where the interpreter ends in
    between, that thread crashes the process: the exit code of work that was done would be that of a SIGSEGV.
    """
    ends = time.monotonic() + _LONGEST_S
    before = None
    while time.monotonic() < ends:
        time.sleep(_PAUSE_S)  # gives the interpreter's lock to whoever waits for it
        now = _activity()
        if now == before and not any(state == "R" for state, _ in now.values()):
            return
        before = now


def _activity() -> dict[str, tuple[str, str]]:
    """Return, for each of rattler's threads, its state and what it has used of the processor."""
    found = {}
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        with contextlib.suppress(OSError):  # a thread that has just ended
            name, _, rest = (task / "stat").read_text("utf-8", "replace").partition("(")[2].rpartition(")")
            if name.startswith(_THREADS):
                found[task.name] = (rest.split()[0], (task / "schedstat").read_text())
    return found
