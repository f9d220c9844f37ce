"""Byte-code for an image, made by the interpreter that will read it, from sources that never touch a disk here.

A file's byte-code depends on the interpreter, the source and the path in the image alone: every file is compiled by a fresh
copy of one process. Marshalled code also shows which strings the process had in use already, so a process that has compiled
something before would write other bytes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Self

from wardian.errors import BuildFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from wardian.image.entry import Entry
    from wardian.image.spool import Spool, Spooled

LARGEST_SOURCE_BYTES = 16 << 20  # a longer one gets no byte-code: compiling takes 50 times its size of memory
TIMEOUT_S = 300.0
_READ = 1 << 16
_PARTS = 4  # a request or an answer begins with two numbers of four bytes
_TAG_BYTES = 100

# Runs under the target's interpreter, 3.8 or newer. A request: lengths of path and source, path, source. An answer: 1, length
# of the byte-code, byte-code; or 0, 0 if the source does not compile. The first answer is the tag in the names of .pyc files.
# Before 3.11 sets are marshalled in the order of their hashes; that of None and … is an address, other bytes each time.
_PROGRAM = r"""
import sys
sys.path[:] = [place for place in sys.path if place]
import importlib.util, importlib._bootstrap_external, os, signal
to_hash_pyc, source_hash = importlib._bootstrap_external._code_to_hash_pyc, importlib.util.source_hash
patience, answers = int(sys.argv[1]), os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
def say(kind, data):
    answers.write(kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data)
    answers.flush()
def is_stable(value, in_set=False):
    if isinstance(value, type(say.__code__)):
        return all(is_stable(constant) for constant in value.co_consts)
    if isinstance(value, (tuple, frozenset)):
        return all(is_stable(item, in_set or isinstance(value, frozenset)) for item in value)
    return not in_set or not (value is None or value is Ellipsis)
def byte_code(path, source):
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError, SystemError):
        return None
    if sys.version_info < (3, 11) and not is_stable(code):
        return None
    return bytes(to_hash_pyc(code, source_hash(source), False))
def number():
    return int.from_bytes(sys.stdin.buffer.read(4), "big")
say(1, sys.implementation.cache_tag.encode())
while True:
    lengths = number(), number()
    if not lengths[0]:
        break
    path, source = [sys.stdin.buffer.read(length) for length in lengths]
    child = os.fork()
    if not child:
        signal.alarm(patience)
        made = byte_code(path.decode("utf-8", "surrogateescape"), source)
        say(int(made is not None), made or b"")
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    if ended:
        sys.stderr.write("the compiler ended with status %d\n" % ended)
        os._exit(3)
"""


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
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
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

        Few sources are held at once. The bytes are those of an unchecked-hash ``.pyc``, optimisation level 0.

        Raises:   BuildFailed: code ``byte_code_failed``: a process died, hung or did not answer as it should.
        Source:   PEP 552
        """
        line: deque[Future[bytes | None]] = deque()
        try:
            for path, source in sources:
                line.append(self._threads.submit(self._compile_one, path, source))
                if len(line) > 2 * self._jobs:
                    yield line.popleft().result()
            while line:
                yield line.popleft().result()
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

    def _compile_one(self, path: str, source: bytes) -> bytes | None:
        if len(source) > LARGEST_SOURCE_BYTES:
            return None
        with self._worker() as worker:
            return worker.compile(path, source)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[_Worker]:
        """Lend an idle worker, or a new one; it comes back only if all went well."""
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = _Worker(self._command, self._timeout_s)
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
        while left and (piece := stream.read(min(left, _READ))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)


class _Worker:
    """One process that compiles. Its pipes never block, so that one that hangs is noticed."""

    def __init__(self, command: Sequence[str], timeout_s: float):
        self._shown = " ".join(command)
        self._timeout_s = timeout_s
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        # no -I: it also ignores PYTHONHASHSEED, which the order of sets depends on before 3.11. The rest of it is done here:
        # a clean environment, no user site, and the program drops the working directory from its path.
        switches = ["-s", "-S", "-B", "-W", "ignore", "-c", _PROGRAM, str(int(timeout_s) + 10)]
        try:
            self._process = subprocess.Popen(
                [*command, *switches], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0, cwd="/",
                env={"PYTHONHASHSEED": "0"}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise BuildFailed(f"byte-code cannot be made: {self._shown} does not run: {error.strerror}", code="byte_code_failed",
                              hint="choose to leave byte-code out, or build on the image's own platform") from error  # fmt: skip
        if self._process.stdin is None or self._process.stdout is None:  # what the two PIPEs above are there for
            raise BuildFailed("a process without pipes", code="byte_code_failed")
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        try:
            _, tag = self._answer("", b"", _TAG_BYTES)
            self.tag = tag.decode("ascii", "replace")
            if not self.tag.replace("-", "").isalnum():
                self._fail("it answers something else than its name", "")
        except BaseException:
            self.kill()
            raise

    def compile(self, path: str, source: bytes) -> bytes | None:
        name = path.encode("utf-8", "surrogateescape")
        request = len(name).to_bytes(4, "big") + len(source).to_bytes(4, "big") + name + source
        good, content = self._answer(path, request, 64 * (len(source) + 10_000))
        return content if good else None

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self.kill()

    def kill(self) -> None:
        """End it, and what it forked, whatever they do."""
        if self._process.poll() is None:  # else its number may be another's by now; what it forked ends by its alarm
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()

    def _answer(self, path: str, request: bytes, most: int) -> tuple[int, bytes]:
        """Send ``request`` and return the whole answer; both at once, as pipes are short."""
        deadline = time.monotonic() + self._timeout_s
        answer, sent, head = bytearray(), 0, 2 * _PARTS
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        if request:
            poll.register(self._to, select.POLLOUT)
        while len(answer) < head or len(answer) < head + int.from_bytes(answer[_PARTS:head], "big"):
            left = deadline - time.monotonic()
            events = poll.poll(max(0.0, left) * 1000)
            if not events and left <= 0:
                self._fail(f"nothing came within {self._timeout_s:g} s", path)
            for descriptor, _ in events:
                if descriptor == self._to:
                    sent += self._send(request[sent : sent + _READ], path)
                    if sent == len(request):
                        poll.unregister(self._to)
                elif piece := os.read(self._from, _READ):
                    answer += piece
                else:
                    self._fail(f"the process ended{self._status()}", path)
            if len(answer) >= head and int.from_bytes(answer[_PARTS:head], "big") > most:
                self._fail("it answers something else than byte-code", path)
        return int.from_bytes(answer[:_PARTS], "big"), bytes(answer[head:])

    def _send(self, piece: bytes, path: str) -> int:
        try:
            return os.write(self._to, piece)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self._fail(f"the process ended{self._status()}", path)

    def _status(self) -> str:
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return ""
        return f" by signal {-status}" if status < 0 else f" with status {status}"

    def _fail(self, what: str, path: str) -> NoReturn:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        said = self._log.read().decode("utf-8", "replace").strip().splitlines()
        where = f" of {path}" if path else ""
        because = f": {said[-1][:300]}" if said else ""
        raise BuildFailed(f"the byte-code{where} could not be made by {self._shown}: {what}{because}", code="byte_code_failed",
                          hint="try again; if it stays so, leave byte-code out")  # fmt: skip
