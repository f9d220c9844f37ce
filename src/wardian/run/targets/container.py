"""The targets `podman` and `docker`: a job in a container of this machine."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from wardian.errors import Bug, RunFailed
from wardian.image.engine_cli import words
from wardian.image.engine_run import ENGINE_CODES, start_failure, sweep
from wardian.run.targets.container_keeper import ContainerOrder
from wardian.run.targets.container_options import ContainerOptions
from wardian.run.targets.container_place import Place, orphans
from wardian.run.targets.launcher_python import launcher_python
from wardian.run.targets.local import LocalTarget
from wardian.run.targets.pump import TICK_S, Pump, ended, keeper_process, not_started, null, pipe, standard_input
from wardian.run.targets.target import Ended

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.image.engine import Command, Container, ContainerEngine
    from wardian.run.configuration import Resources
    from wardian.run.targets.target import Job, Observer, Stop


class ContainerTarget:
    """Runs jobs in containers of an engine of this machine.

    The job's directory is ``/wardian/run`` in the container, its inputs are below ``/wardian/inputs``, read-only; variables that hold
    their paths say so. The files that it makes are the caller's. It shares the machine's network. Output does not pass through the
    engine: nothing of it is kept there, and the order is exact. Exit codes and signals are the program's own.

    A copy of Wardian's own Python, mounted read-only, looks after the job: it takes 30 ms, and tells what engines cannot tell apart. Nothing is
    asked of the image but that it has the job's program.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        *,
        pythons: Path,
        options: ContainerOptions | None = None,
        tick_s: float = TICK_S,
        standard_input: bool = True,
    ) -> None:
        """Make the target.

        Args:     pythons: where the launcher's Python is kept; see ``launcher_python``.
                  tick_s: seconds between calls of ``Observer.tick``.
                  standard_input: False: jobs read nothing. True: what this process would; the engine reads ahead, so what a job
                  leaves of it is lost, and a terminal is read only while this process is in its foreground.
        """
        self.name = engine.name
        self._engine = engine
        self._pythons = pythons
        self._options = options or ContainerOptions()
        self._tick_s = tick_s
        self._standard_input = standard_input

    def check(self, resources: Resources) -> None:
        """Check ``resources`` against this machine; memory and cpus become limits.

        Raises:   InvalidInput: this machine has less.
        """
        LocalTarget().check(resources)

    def run(self, job: Job, observer: Observer, stop: Stop) -> Ended:
        """Run ``job`` to its end, in its image, which the engine has. See ``Target.run``.

        Raises:   RunFailed: ``container_failed``: the engine's own words. ``launcher_unavailable``.  EngineUnavailable.  InvalidInput: an argument that the engine cannot be told.
        """
        image = job.image
        if image is None:
            raise Bug(f"the target `{self.name}` got a job without an image")
        if left := orphans():
            sweep(self._engine)
        for each in left:
            each.remove()
        python = launcher_python(self._pythons)
        takes_input = self._standard_input and _input_is_ours()
        failed = ""
        while True:
            place = Place.make(job)
            try:
                container = place.container(job, image, self._options, python, takes_input=takes_input)
                command = self._engine.command(container, failed=failed)
                if command is None:
                    raise _failure(failed, container)
                pump = self._attempt(job, place, command, observer, stop, takes_input=takes_input)
                if pump.refused:
                    return not_started(pump.refused, job)
                if pump.ended and pump.ended["event"] == "ended":
                    return ended(pump.ended)
                if pump.ended is None:  # the keeper is gone: the launcher has seen it, and ends the job
                    self._remove(command)
                    return Ended("lost", detail="the process that watched over it was killed")
                if pump.pid or stop.cause:
                    return _killed(pump.ended, stop)
                failed = pump.ended["said"] or f"it ends with {pump.ended['code']} at once, and says nothing"
                if container.memory_bytes is not None and _ran_out_of_memory(pump.ended["code"], failed):
                    raise _too_little_memory(container.memory_bytes, failed)
                if pump.ended["code"] not in ENGINE_CODES:
                    raise RunFailed(
                        f"the launcher in the container ended with {pump.ended['code']}: {words(failed)}",
                        code="container_failed",
                    )
            finally:
                place.remove()

    def _attempt(self, job: Job, place: Place, command: Command, observer: Observer, stop: Stop, *, takes_input: bool) -> Pump:
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            status = pipe(ours, theirs)
            out, err = _fifo(place.path / "out", ours, theirs), _fifo(place.path / "err", ours, theirs)
            order = ContainerOrder(
                start=command.start, remove=command.remove, environ=dict(command.environ), place=str(place.path), grace_s=job.grace_s,
                parent=os.getpid(), control=stop.descriptor, status=status[1],
                stdin=standard_input(theirs) if takes_input else null(theirs), held=(out[1], err[1]),
            )  # fmt: skip
            with keeper_process("wardian.run.targets.container_keeper", order):
                theirs.close()
                pump = Pump(out[0], err[0], status[0], observer, self._tick_s)
                try:
                    pump.run()
                except BaseException:
                    stop.request("failed", signal.SIGKILL)  # nobody takes the output any more
                    raise
            return pump

    def _remove(self, command: Command) -> None:
        with contextlib.suppress(OSError):
            subprocess.run(
                command.remove, stdin=subprocess.DEVNULL, capture_output=True, env=dict(command.environ), cwd="/", check=False
            )


def _input_is_ours() -> bool:
    """Return whether standard input may be read ahead, as engines do: it is no terminal, or this process is in its foreground."""
    try:
        return not os.isatty(0) or os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # another session's terminal
        return False


def _killed(news: dict[str, Any], stop: Stop) -> Ended:
    """Return how a job ended whose container ended before its launcher could tell: somebody killed all of it."""
    return Ended(
        "stopped" if stop.cause else "exited", signal=signal.SIGKILL, detail=words(news["said"]) if news["said"] else ""
    )


def _ran_out_of_memory(code: int, said: str) -> bool:
    """Whether a container with a limit was killed by the system before the job began, or its engine says that of it."""
    return code == 128 + signal.SIGKILL or bool(
        re.search(r"(?i)out of memory|\boom\b|memory limit|cannot allocate memory", said)
    )


def _too_little_memory(limit_bytes: int, said: str) -> RunFailed:
    return RunFailed(
        f"the job's memory limit of {limit_bytes:,} bytes is too small: the container ended before the job began: {words(said)}",
        hint="give it more with --memory: an interpreter alone takes about 20M",
        code="memory_limit_too_small",
    )


def _failure(said: str, container: Container) -> RunFailed:
    error = start_failure(said, container)
    return RunFailed(error.message, hint=error.hint, code="container_failed")


def _fifo(path: Path, ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    read_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    ours.callback(os.close, read_end)
    write_end = os.open(path, os.O_WRONLY)  # held by the keeper: the pipe does not end before the container does
    theirs.callback(os.close, write_end)
    return read_end, write_end
