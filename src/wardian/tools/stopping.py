"""Work in threads that ends when it is interrupted: what waits for the network breaks off, and nothing is tried again."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LONGEST_WAIT_S = 3.0
_SLICE_S = 0.1
_stopping: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_sockets: weakref.WeakKeyDictionary[threading.Thread, weakref.ref[socket.socket]] = weakref.WeakKeyDictionary()
_guard = threading.Lock()


@contextlib.contextmanager
def workers(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of ``count`` threads, which have ended afterwards; what was not begun is given up if the block fails.

    If the block is interrupted (^C), the threads are stopped: their connections are shut down. One that does not end within
    three seconds is left behind.
    """
    threads: list[threading.Thread] = []
    pool = ThreadPoolExecutor(max(1, count), name, initializer=lambda: threads.append(threading.current_thread()))
    try:
        yield pool
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop(threads)
        deadline_s = time.monotonic() + _LONGEST_WAIT_S
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        raise
    pool.shutdown()


def stop(threads: Iterable[threading.Thread]) -> None:
    """Tell ``threads`` to stop, and shut down the connections that they use now. Other threads' are left alone."""
    for thread in threads:
        with _guard:
            _stopping.add(thread)
            reference = _sockets.get(thread)
        used = reference() if reference is not None else None
        if used is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(used, socket.SHUT_RDWR)  # of the connection below TLS too


def is_stopping() -> bool:
    """Return whether this thread has been told to stop."""
    return threading.current_thread() in _stopping


def check_stopping() -> None:
    """Raise ConnectionAbortedError if this thread has been told to stop."""
    if is_stopping():
        raise ConnectionAbortedError("interrupted")


def talks_over(used: socket.socket) -> None:
    """Note which connection this thread waits on from now on.

    Raises:   ConnectionAbortedError: the thread has been told to stop.
    """
    with _guard:
        _sockets[threading.current_thread()] = weakref.ref(used)
    check_stopping()


def pause(seconds: float) -> None:
    """Sleep, but no longer than until this thread is told to stop."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0 and not is_stopping():
        time.sleep(min(left_s, _SLICE_S))
