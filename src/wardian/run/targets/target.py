"""The target port: a place that runs one job to its end."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.run.configuration import Resources


@dataclass(frozen=True, slots=True)
class JobImage:
    """The image that a job runs in, on targets that have engines.

    Attributes:
        id: as the engine of this machine has it.
    """

    id: str


@dataclass(frozen=True, slots=True)
class Job:
    """What a target is to run, with nothing left to decide.

    Attributes:
        argv: program and arguments; a program without ``/`` is found on the ``PATH`` of ``variables``.
        directory: the working directory, absolute; it stays writable.
        variables: the whole environment of the process; nothing is added.
        read_only: must be read-only for the job even if it is root.
        read_only_if_possible: the same where the machine allows it.
        timeout_s: seconds from its start after which it is stopped; None: never.
        grace_s: seconds between a request to stop and the kill.
        merged: stdout and stderr are one stream, so that their order is exact.
        marker: NAME of the variable that no other job has with this value.
        image: what it runs in; None: this machine as it is.
        resources: limits, where the target can set them.
        python: the environment's interpreter, absolute; empty: it has none.
        prefix: the environment's directory on this machine; None: it has none, or the job runs in an image.
        class_path: jars for the JVM of a job that has one.
    """

    argv: tuple[str, ...]
    directory: Path
    variables: Mapping[str, str]
    read_only: tuple[Path, ...] = ()
    read_only_if_possible: tuple[Path, ...] = ()
    timeout_s: float | None = None
    grace_s: float = 5.0
    merged: bool = False
    marker: str = "WARDIAN_RUN_ID"
    image: JobImage | None = None
    resources: Resources | None = None
    python: str = ""
    prefix: Path | None = None
    class_path: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended.

    Attributes:
        cause: ``exited`` by itself (or by somebody's signal) | ``timeout`` | ``stopped`` on request | ``not_found`` and
            ``not_executable``: its program could not be started | ``lost``: what watched over it was killed.
        exit_code: of the program itself; None: a signal ended it, or it never ran.
        signal: the one that ended it.
        stragglers: processes it had left running, which were then stopped.
        survivors: processes that even SIGKILL has not ended yet.
        detail: the system's words, where there are any.
    """

    cause: str
    exit_code: int | None = None
    signal: int | None = None
    stragglers: int = 0
    survivors: tuple[int, ...] = ()
    detail: str = ""


class Observer(Protocol):
    """What a target tells while a job runs. All calls come from one thread."""

    def started(self, pid: int) -> None:
        """Take note that the program runs, as process ``pid`` where that means something."""
        ...

    def output(self, stream: int, chunk: bytes) -> None:
        """Take what was written: ``stream`` is 1 (stdout) or 2 (stderr)."""
        ...

    def tick(self) -> None:
        """Use the occasion, which comes every few seconds, output or not."""
        ...


class Stop:
    """A request to stop, made from a signal handler or another thread, and seen by the target through a pipe.

    ``cause`` is what the first request said; a second one means: at once.
    """

    def __init__(self) -> None:
        self.cause = ""
        self._read_end, self._write_end = os.pipe()

    def request(self, cause: str, number: int = signal.SIGTERM) -> None:
        """Ask the job to stop: with the signal ``number`` first, with SIGKILL if asked again or after the grace time."""
        first = not self.cause
        self.cause = self.cause or cause
        if self._write_end >= 0:
            os.write(self._write_end, bytes([number if first else signal.SIGKILL]))

    @property
    def descriptor(self) -> int:
        """Where a byte arrives for each request: the number of the signal."""
        return self._read_end

    def close(self) -> None:
        """Free the pipe; later requests are only noted."""
        ends = (self._read_end, self._write_end)
        self._read_end = self._write_end = -1
        for end in ends:
            if end >= 0:
                os.close(end)


class Target(Protocol):
    """A place to run. Contract: tests/contracts/test_target.py.

    Guarantees: when ``run`` returns, nothing of the job is left but ``Ended.survivors``; all output was handed over, in the order
    of each stream; a job whose caller is killed is killed too.
    """

    name: str

    def check(self, resources: Resources) -> None:
        """Check that the place can give ``resources``.

        Raises:   InvalidInput: it never can; the message says what it has.
        """
        ...

    def run(self, job: Job, observer: Observer, stop: Stop) -> Ended:
        """Run ``job`` to its end.

        Raises:   RunFailed: it could not be started for a reason that is not the program's.
        """
        ...
