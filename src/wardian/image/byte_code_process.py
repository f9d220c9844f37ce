"""The interpreter as a process that compiles: the program that it runs, and how it is talked to."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, NoReturn

from wardian.errors import BuildFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_SOURCE_BYTES = 2 << 20  # a longer one gets no byte-code: compiling takes 60 to 180 times its size of memory
_READ_BYTES = 1 << 16
_NUMBER = 4  # bytes of a number
_TAG_BYTES = 100

# Runs under the target's interpreter, 3.8 or newer. A request: how many sources; for each the lengths of path and source, path,
# source. An answer for each: 1, length of the byte-code, byte-code; or 0, 0 if the source does not compile. Before them all comes
# one more: the tag in the names of .pyc files.
# Before 3.11 sets are marshalled in the order of their hashes; that of None and … is an address, other bytes each time.
_PROGRAM = r"""
import sys
sys.path[:] = [place for place in sys.path if place]
import gc, importlib.util, importlib._bootstrap_external, os, signal
gc.disable()
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
    batch = []
    for _ in range(number()):
        lengths = number(), number()
        batch.append([sys.stdin.buffer.read(length) for length in lengths])
    if not batch:
        break
    child = os.fork()
    if not child:
        signal.alarm(patience)
        for path, source in batch:
            made = byte_code(path.decode("utf-8", "surrogateescape"), source)
            say(int(made is not None), made or b"")
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    if ended:
        sys.stderr.write("the compiler ended with status %d\n" % ended)
        os._exit(3)
"""


class CompilingProcess:
    """One process that compiles. Its pipes never block, so that one that hangs is noticed.

    Args:     command, timeout_s: see ``ByteCompiler``.
    Raises:   BuildFailed: code ``byte_code_failed``; whoever gets it calls ``kill``.

    Attributes:
        tag: what stands in the names of its files.
    """

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
            ((_, tag),) = self._ask(b"", [("", _TAG_BYTES)])
            self.tag = tag.decode("ascii", "replace")
            if not self.tag.replace("-", "").isalnum():
                self._fail("it answers something else than its name", "")
        except BaseException:
            self.kill()
            raise

    def compile(self, batch: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """Return the byte-code of each (path, source), which a fresh copy of the process makes; None: it does not compile."""
        small = [(path, source if len(source) <= LARGEST_SOURCE_BYTES else b"") for path, source in batch]
        parts = [_number(len(small))]
        for path, source in small:
            name = path.encode("utf-8", "surrogateescape")
            parts += [_number(len(name)), _number(len(source)), name, source]
        answers = self._ask(b"".join(parts), [(path, 64 * (len(source) + 10_000)) for path, source in small])
        kept = [
            bool(good) and len(source) <= LARGEST_SOURCE_BYTES for (good, _), (_, source) in zip(answers, batch, strict=True)
        ]
        return [content if keep else None for keep, (_, content) in zip(kept, answers, strict=True)]

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

    def _ask(self, request: bytes, wanted: Sequence[tuple[str, int]]) -> list[tuple[int, bytes]]:
        """Send ``request`` and return the answers; both at once, as pipes are short.

        Args:     wanted: for each answer the path that it is about, and the most bytes that it may have.
        """
        deadline = time.monotonic() + self._timeout_s
        pending, sent = bytearray(), 0
        answers: list[tuple[int, bytes]] = []
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        if request:
            poll.register(self._to, select.POLLOUT)
        while len(answers) < len(wanted):
            path, most = wanted[len(answers)]
            left = deadline - time.monotonic()
            events = poll.poll(max(0.0, left) * 1000)
            if not events and left <= 0:
                self._fail(f"nothing came within {self._timeout_s:g} s", path)
            for descriptor, _ in events:
                if descriptor == self._to:
                    sent += self._send(request[sent : sent + _READ_BYTES], path)
                    if sent == len(request):
                        poll.unregister(self._to)
                elif piece := os.read(self._from, _READ_BYTES):
                    pending += piece
                else:
                    self._fail(f"the process ended{self._status()}", path)
            while len(answers) < len(wanted) and len(pending) >= 2 * _NUMBER:
                path, most = wanted[len(answers)]
                size = int.from_bytes(pending[_NUMBER : 2 * _NUMBER], "big")
                if size > most:
                    self._fail("it answers something else than byte-code", path)
                if len(pending) < 2 * _NUMBER + size:
                    break
                answers.append((int.from_bytes(pending[:_NUMBER], "big"), bytes(pending[2 * _NUMBER : 2 * _NUMBER + size])))
                del pending[: 2 * _NUMBER + size]
        return answers

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


def _number(value: int) -> bytes:
    return value.to_bytes(_NUMBER, "big")
