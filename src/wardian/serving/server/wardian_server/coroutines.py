"""``async def`` in scripts: one event loop for all that a worker calls, which turns between requests, too."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, Callable, Coroutine

if TYPE_CHECKING:
    import asyncio

_loop: asyncio.AbstractEventLoop | None = None


def awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function``; if it is an ``async`` one, a plain one that waits for it and returns or raises what it does.

    Connections that an ``async def init()`` opens serve ``async def run()``: both are carried out on one loop, in a thread of its own.
    """
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))):  # noqa: B004 - objects
        return function

    import asyncio  # it costs time at the start, and most scripts need none

    @functools.wraps(function)
    def waiting(*arguments: Any, **named: Any) -> Any:
        # the context goes along: what is printed there has the request's id
        loop = _turning(asyncio.new_event_loop)
        result, error = asyncio.run_coroutine_threadsafe(_outcome(function(*arguments, **named)), loop).result()
        if error is not None:
            raise error
        return result

    return waiting


async def _outcome(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return what ``coroutine`` returns and what it raises: ``SystemExit`` would end the loop instead."""
    try:
        return await coroutine, None
    except BaseException as error:
        return None, error


def _turning(new: Callable[[], asyncio.AbstractEventLoop]) -> asyncio.AbstractEventLoop:
    global _loop  # noqa: PLW0603 - one for each worker process; init(), which comes first, is alone
    if _loop is None:
        _loop = new()
        threading.Thread(target=_loop.run_forever, name="async", daemon=True).start()
    return _loop
