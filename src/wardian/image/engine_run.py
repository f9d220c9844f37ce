"""Runs a container to its end: output as it comes, exit code, stop; nothing left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.image.engine import OWNER_LABEL, RUN_LABEL, STOP_GRACE_S, Command, ContainerFailed
from wardian.image.engine_cli import words
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardian.image.engine import Container, ContainerEngine

ENGINE_CODES = (125, 126, 127)  # what the engines exit with when they fail themselves; a program may too
_STARTED = ("running", "exited", "stopped", "dead", "removing", "paused")
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How a container ended: the program's own exit code (128+n: signal n), and whether it was stopped on request."""

    code: int
    stopped: bool = False


def run_container(
    engine: ContainerEngine,
    container: Container,
    output: Callable[[int, bytes], None],
    *,
    stop: int | None = None,
    timeout_s: float | None = None,
    grace_s: float = STOP_GRACE_S,
) -> ContainerEnd:
    """Run ``container`` to its end and remove it.

    ``output`` gets what comes, with 1 (stdout) or 2 (stderr). What the program exits with is told apart from what the engine
    exits with when it fails itself.

    Args:     stop: a descriptor; when it can be read, the program gets SIGTERM, and after ``grace_s`` seconds SIGKILL.
              timeout_s: the same after so many seconds.
    Raises:   ContainerFailed: the engine could not start it: ``program_not_found``, ``program_not_executable``.
              EngineUnavailable, InvalidInput.
    """
    failed = ""
    with tempfile.TemporaryDirectory(prefix="wardian-container-") as directory:
        variables = Path(directory, "variables")
        while (command := engine.command(_staying(container), failed=failed, variables_path=str(variables))) is not None:
            if command.variables_file:
                variables.touch(mode=0o600)
                variables.write_text(command.variables_file)
            attempt = _Attempt(command, output, grace_s)
            try:
                code = attempt.run(stop, timeout_s)
                if code not in ENGINE_CODES or _was_started(command):
                    attempt.flush()
                    return ContainerEnd(code, attempt.stopping)
            finally:
                _quietly(command.remove, command.environ)
            failed = attempt.kept.decode(errors="replace")
    raise start_failure(failed, container)


def start_failure(said: str, container: Container) -> ContainerFailed:
    """Return the error for a container that the engine could not start."""
    text = words(said)
    program = container.command[0]
    low = text.lower()
    if "not found" in low or "no such file" in low:
        return ContainerFailed(f"`{program}` was not found in the image {container.image}: {text}", code="program_not_found")
    if "permission denied" in low or "exec format error" in low or "is a directory" in low:
        return ContainerFailed(
            f"`{program}` cannot be executed in the image {container.image}: {text}", code="program_not_executable"
        )
    return ContainerFailed(f"the container could not be started: {text}", hint="`wardian doctor` tries the engine out")


def owner_labels(run_id: str, owner: processes.ProcessIdentity | None = None) -> dict[str, str]:
    """Return the labels of a container that belongs to the run ``run_id`` and the process ``owner`` (None: this one)."""
    import json

    who = owner or processes.identify()
    return {RUN_LABEL: run_id, OWNER_LABEL: json.dumps(who.as_document(), separators=(",", ":")) if who else "{}"}


def sweep(engine: ContainerEngine) -> list[str]:
    """Remove the containers whose owners have ended without doing so; return their names.

    Raises:   EngineUnavailable.
    """
    return engine.remove(is_orphan)


def is_orphan(labels: Mapping[str, str]) -> bool:
    """Return whether the owner that ``labels`` name is known to have ended."""
    import json

    try:
        owner = processes.ProcessIdentity.from_document(json.loads(labels.get(OWNER_LABEL, "")))
    except (ValueError, TypeError):
        return False
    return processes.is_alive(owner) is False


class _Attempt:
    """One execution of the engine's command. stderr is held back until it is clear whose it is."""

    def __init__(self, command: Command, output: Callable[[int, bytes], None], grace_s: float) -> None:
        self._command = command
        self._output = output
        self._grace_s = grace_s
        self.kept = b""
        self.stopping = False
        self._holds = True

    def run(self, stop: int | None, timeout_s: float | None) -> int:
        process = subprocess.Popen(
            self._command.start, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(self._command.environ), cwd="/", start_new_session=True,
        )  # fmt: skip
        try:
            self._pump(process, stop, None if timeout_s is None else time.monotonic() + timeout_s)
        except BaseException:
            process.kill()
            raise
        finally:
            with process:
                pass
        return process.returncode

    def flush(self) -> None:
        """Hand over what was held back: it is the program's."""
        if self._holds and self.kept:
            self._output(2, self.kept)
        self._holds, self.kept = False, b""

    def _pump(self, process: subprocess.Popen[bytes], stop: int | None, deadline: float | None) -> None:
        poll = select.poll()
        streams = {pipe.fileno(): number for number, pipe in ((1, process.stdout), (2, process.stderr)) if pipe}
        for descriptor in (*streams, *(() if stop is None else (stop,))):
            poll.register(descriptor, select.POLLIN)
        due: list[tuple[float, int]] = [] if deadline is None else [(deadline, signal.SIGTERM)]
        while streams:
            now = time.monotonic()
            while due and due[0][0] <= now:
                number = due.pop(0)[1]
                due = self._send(number, now)
            for descriptor, _ in poll.poll((due[0][0] - now) * 1000 + 1 if due else None):
                if descriptor == stop:
                    poll.unregister(stop)
                    due = self._send(signal.SIGTERM, time.monotonic())
                elif chunk := os.read(descriptor, _PIECE_BYTES):
                    self._take(streams[descriptor], chunk)
                else:
                    poll.unregister(descriptor)
                    del streams[descriptor]

    def _send(self, number: int, now: float) -> list[tuple[float, int]]:
        """Pass a signal on, by asking the engine: its command line forwards some, but not in its first moments. Return what is due."""
        self.stopping = True
        if number == signal.SIGTERM:
            _quietly(self._command.terminate, self._command.environ)
            return [(now + self._grace_s, signal.SIGKILL)]
        _quietly(self._command.remove, self._command.environ)
        return []

    def _take(self, stream: int, chunk: bytes) -> None:
        if stream == 2 and self._holds:  # noqa: PLR2004
            self.kept += chunk
            if _was_started(self._command):  # else it is the engine that speaks, as far as one can tell
                self.flush()
            return
        self._output(stream, chunk)


def _staying(container: Container) -> Container:
    from dataclasses import replace

    return replace(container, removes_itself=False)  # so that it can be asked how it ended


def _was_started(command: Command) -> bool:
    done = subprocess.run(command.inspect, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          env=dict(command.environ), cwd="/", check=False)  # fmt: skip
    status, _, code = done.stdout.strip().partition(" ")
    return done.returncode == 0 and status in _STARTED and code.isdecimal()


def _quietly(argv: tuple[str, ...], environ: Mapping[str, str]) -> None:
    with contextlib.suppress(OSError):
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=dict(environ), cwd="/", check=False)
