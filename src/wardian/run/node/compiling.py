"""Compiles the modules of a prefix beside a job, at the lowest priority, and no longer than the job (ADR 0011)."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from wardian.prefix.bytecode import compile_prefix
from wardian.prefix.cache import BYTE_CODE

if TYPE_CHECKING:
    import subprocess

    from wardian.prefix.cache import PrefixCache


class Compiling:
    """A compilation from ``with`` to its end, if there is anything to compile. What it has written when it is ended is whole, and the next one goes on.

    An engine ends all processes of a job with it, so nothing is left to run on: neither there nor on a machine without an engine.
    """

    def __init__(self, cache: PrefixCache, name: str) -> None:
        self._cache, self._name = cache, name
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._is_over = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if not (self._cache.root / self._name / BYTE_CODE).exists():
            self._thread = threading.Thread(target=self._compile, daemon=True)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over = True
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
        if self._thread is not None:
            self._thread.join()

    def _compile(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the job is what matters
            compile_prefix(self._cache, self._name, on_started=self._started, gently=True)

    def _started(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._process = process
            if self._is_over:
                process.kill()
