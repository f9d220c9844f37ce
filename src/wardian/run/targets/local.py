"""The local target: a job as processes of this machine, under a keeper."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.run.targets.keeper import Order, keep
from wardian.run.targets.pump import TICK_S, Pump, ended, keeper_process, not_started, null, pipe, standard_input
from wardian.run.targets.target import Ended
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.run.configuration import Resources
    from wardian.run.targets.target import Job, Observer, Stop


class LocalTarget:
    """Runs jobs on this machine.

    A job has a session and process group of its own, and reads this process's standard input. If this process is killed, so
    is the job, with all that descends from it.
    """

    name = "local"

    def __init__(self, *, tick_s: float = TICK_S, standard_input: bool = True) -> None:
        """Make the target.

        Args:     tick_s: seconds between calls of ``Observer.tick``.
                  standard_input: False: jobs read nothing.
        """
        self._tick_s = tick_s
        self._standard_input = standard_input

    def check(self, resources: Resources) -> None:
        """Check ``resources`` against this machine: they are a demand, not a limit that is enforced.

        Raises:   InvalidInput: this machine has less.
        """
        has_cpus = len(os.sched_getaffinity(0))
        has_memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        has_gpus = sum(1 for path in Path("/dev").glob("nvidia[0-9]*"))
        faults = []
        if (resources.nodes or 1) > 1:
            faults.append(f"{resources.nodes} nodes are asked for, the local target is one")
        if (resources.cpus or 0) > has_cpus:
            faults.append(f"{resources.cpus:g} cpus are asked for, {has_cpus} are here")
        if (resources.memory_bytes or 0) > has_memory_bytes:
            faults.append(f"{resources.memory_bytes:,} bytes of memory are asked for, {has_memory_bytes:,} are here")
        if (resources.gpus or 0) > has_gpus:
            faults.append(f"{resources.gpus} gpus are asked for, {has_gpus} are here")
        if faults:
            raise InvalidInput(
                "; ".join(faults), hint="ask for less, or name another target with `-t`", code="resources_missing"
            )

    def run(self, job: Job, observer: Observer, stop: Stop) -> Ended:
        """Run ``job`` to its end and hand over its output. See ``Target.run``.

        Raises:   RunFailed: ``isolation_refused``: what must be read-only for root cannot be made so here.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            output, status = pipe(ours, theirs), pipe(ours, theirs)
            errors = output if job.merged else pipe(ours, theirs)
            stdin = standard_input(theirs) if self._standard_input else null(theirs)
            order = Order(
                argv=job.argv, directory=str(job.directory), variables=dict(job.variables),
                read_only=tuple(map(str, job.read_only)), read_only_if_possible=tuple(map(str, job.read_only_if_possible)),
                timeout_s=job.timeout_s, grace_s=job.grace_s, parent=os.getpid(), control=stop.descriptor,
                status=status[1], stdin=stdin, stdout=output[1], stderr=errors[1],
            )  # fmt: skip
            with _keeper(order):
                theirs.close()  # so that the end of the job is the end of its output
                pump = Pump(output[0], errors[0], status[0], observer, self._tick_s)
                try:
                    pump.run()
                except BaseException:
                    stop.request("failed", signal.SIGKILL)  # nobody takes the output any more
                    raise
        if pump.refused:
            return not_started(pump.refused, job)
        if pump.ended is None:
            _sweep(job, pump.pid)
            return Ended("lost", detail="the process that watched over it was killed")
        return ended(pump.ended)


@contextlib.contextmanager
def _keeper(order: Order) -> Iterator[None]:
    """Start the keeper, and take leave of it at the end."""
    if processes.thread_count() == 1:
        child = os.fork()
        if child == 0:
            keep(order)
        try:
            yield
        finally:
            with contextlib.suppress(ChildProcessError):  # the caller ignores SIGCHLD: nothing is left to take leave of
                os.waitpid(child, 0)
        return
    # a copy of one thread of many may wait for ever for a lock that another one held: start a fresh interpreter
    with keeper_process("wardian.run.targets.keeper", order):
        yield


def _sweep(job: Job, main: int) -> None:
    """End what a killed keeper has left: its job died with it, the job's children may not have."""
    value = job.variables.get(job.marker)
    for pid in processes.with_variable(job.marker, value) if value else []:
        if pid != os.getpid():
            processes.kill(pid, signal.SIGKILL)
    if main and os.getpgid(0) != main:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(main, signal.SIGKILL)
