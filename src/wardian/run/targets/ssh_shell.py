"""One ``sh`` of another machine that answers many questions: the login shell's start-up files, and the handshake, cost their time once."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_ANSWER_BYTES = 256 << 20
_PIECE_BYTES = 1 << 18

# For each question a line with two sizes and a token, then the script, then what it is to read. What the script says comes between two
# marks; behind the second stands what it complained about, and its exit code. What it has not read is read for it; nothing that it
# leaves running holds the line.
LOOP = """
exec 3>&1
while read -r size given token; do
    script=$(dd bs=1 count=$size 2>/dev/null)
    echo "--$token--"
    said=$({ dd bs=1 count=$given 2>/dev/null | { ( eval "$script" ) >&3 3>&-; code=$?; cat >/dev/null; exit $code; }; echo "$?"; } 2>&1)
    printf '\\n--%s--\\n%s\\n--%s--\\n' "$token" "$said" "$token"
done
"""


class LostShell(Exception):
    """The connection is gone; ``words`` is what the client said at last."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class RemoteShell:
    """A shell at work on another machine, which executes ``LOOP``. One question at a time; a shell that was lost stays lost.

    Args:     command: of the client; its first input is ``first``.
    """

    def __init__(self, command: Sequence[str], first: bytes, environ: Mapping[str, str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the shell
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=dict(environ),
                                         start_new_session=True)  # fmt: skip
        self._first = first
        self._come = bytearray()

    def ask(self, script: bytes, given: bytes, timeout_s: float) -> tuple[int, bytes, str]:
        """Have ``script`` executed with ``given`` to read; return its exit code, what it says, and what it complains about.

        Raises:   LostShell.  TimeoutError.
        """
        token = secrets.token_hex(16)
        mark = f"--{token}--\n".encode()
        deadline = time.monotonic() + timeout_s
        whole = b"{ " + script + b"\n}"  # of which a part is no script
        self._write(self._first + f"{len(whole)} {len(given)} {token}\n".encode() + whole + given, deadline)
        self._first = b""
        self._until(mark, deadline)
        out = self._until(b"\n" + mark, deadline)
        complaints, _, code = self._until(b"\n" + mark, deadline).decode(errors="replace").rpartition("\n")
        if not code.isdecimal():
            raise LostShell(complaints or code)
        return int(code), out, complaints.strip()

    @property
    def is_fresh(self) -> bool:
        """Whether it has not been asked anything yet."""
        return bool(self._first)

    def close(self) -> None:
        """End it: the other side's loop ends with its input."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _write(self, content: bytes, deadline: float) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            raise LostShell("")
        view = memoryview(content)
        os.set_blocking(stdin.fileno(), False)
        while view:
            if not select.select([], [stdin], [], max(0.0, deadline - time.monotonic()))[1]:
                raise TimeoutError
            try:
                view = view[os.write(stdin.fileno(), view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise LostShell(self._words()) from error

    def _until(self, mark: bytes, deadline: float) -> bytes:
        """Return what comes before ``mark``."""
        stdout = self._process.stdout
        if stdout is None or stdout.closed:
            raise LostShell("")
        looked = 0
        while (at := self._come.find(mark, max(0, looked - len(mark)))) < 0:
            looked = len(self._come)
            if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            piece = os.read(stdout.fileno(), _PIECE_BYTES)
            if not piece or looked > _LONGEST_ANSWER_BYTES:
                raise LostShell(self._words())
            self._come += piece
        found = bytes(self._come[:at])
        del self._come[: at + len(mark)]
        return found

    def _words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        with contextlib.suppress(OSError, ValueError):
            self._said.seek(0)
            return self._said.read(1 << 16).decode(errors="replace").strip()
        return ""
