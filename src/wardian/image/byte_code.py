"""Byte-code for an image, made by the interpreter that will read it, from sources that never touch a disk here.

It depends on the interpreter and on the sources with their paths in the image, in their order, alone. Marshalled code also
shows which strings the process had in use already, so a process that has compiled something before may write other bytes:
sources are compiled in batches that only the sources decide about, each by a fresh copy of one process.
"""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from wardian.image.byte_code_process import LARGEST_SOURCE_BYTES, CompilingProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from wardian.image.entry import Entry
    from wardian.image.spool import Spool, Spooled

TIMEOUT_S = 300.0
_BATCH_BYTES = 512 << 10  # a batch ends with the source that reaches this; a fresh process for each source takes twice the time
_BATCH_FILES = 64
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ByteCode:
    """The ``.pyc`` of one file, and its digest."""

    entry: Entry
    sha256: str


class ByteCompiler:
    """Compiles sources with ``command`` in up to ``jobs`` processes, which start when the first source comes. Thread-safe.

    Nothing of the caller's environment reaches them, and they write no files. Leaving ``with`` ends them all.

    Args:     command: starts the interpreter: ``["/…/bin/python3.11"]``, or ``["/…/ld.so", "--library-path", …]``.
              timeout_s: seconds that one source may take.
    """

    def __init__(self, command: Sequence[str], *, jobs: int, timeout_s: float = TIMEOUT_S):
        self._command = tuple(command)
        self._jobs = max(1, jobs)
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(self._jobs, "byte-code")
        self._idle: queue.SimpleQueue[CompilingProcess] = queue.SimpleQueue()
        self._tag = ""

    @property
    def tag(self) -> str:
        """What stands in the names of its files: ``cpython-311``.

        Raises:   BuildFailed: code ``byte_code_failed``: the interpreter does not run.
        """
        if not self._tag:
            with self._worker() as worker:
                self._tag = worker.tag
        return self._tag

    def compile(self, sources: Iterable[tuple[str, bytes]]) -> Iterator[bytes | None]:
        """Yield the byte-code of each (path in the image, source), in that order; None for a source that does not compile.

        The same sources in the same order give the same bytes, whatever the number of jobs. Few of them are held at once. The bytes
        are those of an unchecked-hash ``.pyc``, optimisation level 0.

        Raises:   BuildFailed: code ``byte_code_failed``: a process died, hung or did not answer as it should.
        Source:   PEP 552
        """
        line: deque[Future[list[bytes | None]]] = deque()
        try:
            for batch in _batches(sources):
                line.append(self._threads.submit(self._compile_batch, batch))
                if len(line) > self._jobs:
                    yield from line.popleft().result()
            while line:
                yield from line.popleft().result()
        finally:
            for future in line:
                future.cancel()

    def close(self) -> None:
        """End the processes; what is being compiled is waited for."""
        self._threads.shutdown(cancel_futures=True)
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _compile_batch(self, batch: list[tuple[str, bytes]]) -> list[bytes | None]:
        with self._worker() as worker:
            return worker.compile(batch)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[CompilingProcess]:
        """Lend an idle worker, or a new one; it comes back only if all went well."""
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = CompilingProcess(self._command, self._timeout_s)
        try:
            yield worker
        except BaseException:
            worker.kill()
            raise
        self._idle.put(worker)


def compile_entries(entries: Iterable[Entry], compiler: ByteCompiler, spool: Spool) -> list[ByteCode]:
    """Return the byte-code of each ``.py`` file of ``entries`` that compiles, as further files; their bytes lie in ``spool``.

    Raises:   BuildFailed: as ``ByteCompiler.compile`` does.
    """
    sources = [entry for entry in entries if entry.kind == "file" and entry.path.endswith(".py")]
    if not sources:
        return []
    compiled = compiler.compile((f"/{entry.path}", _read(entry)) for entry in sources)
    made = []
    for entry, content in zip(sources, compiled, strict=True):
        if content is not None:
            kept: Spooled = spool.add(content)
            made.append(ByteCode(kept.entry(path_of_byte_code(entry.path, compiler.tag)), kept.sha256))
    return made


def _batches(sources: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for path, source in sources:
        batch.append((path, source))
        size += len(source)
        if size >= _BATCH_BYTES or len(batch) == _BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def path_of_byte_code(path: str, tag: str) -> str:
    """Return where Python looks for the byte-code of the module at ``path``.

    Source:   PEP 3147
    """
    directory, _, name = path.rpartition("/")
    return f"{directory}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc".removeprefix("/")


def _read(entry: Entry) -> bytes:
    if entry.open_content is None:
        return b""
    with entry.open_content() as stream:
        pieces, left = [], LARGEST_SOURCE_BYTES + 1
        while left and (piece := stream.read(min(left, _READ_BYTES))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
