"""The model processes: hands them requests, replaces those that end, hang or hold too much."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from . import frames
from .answers import UNEXPECTED
from .process import Job, Spoken, Worker, end, failed_frame, said, start

if TYPE_CHECKING:
    import subprocess

    from .config import Config
    from .logs import Log
    from .metrics import Metrics

_SLOWEST_RESTART_S = 30.0
_STOP_GRACE_S = 5.0
_QUICK_MS = 2.0
_AHEAD = 8  # requests in the hands of a worker that is quick


class Busy(Exception):
    """No worker can take the request, and too many wait already, or none lives."""


class Pool:
    """The workers of one server and the requests that wait for them; lives in the event loop of the front."""

    def __init__(self, config: Config, log: Log, metrics: Metrics, log_fd: int):
        self.config = config
        self.workers: list[Worker] = []
        self.waiting: deque[Job] = deque()
        self.stopping = False
        self.about: dict[str, Any] = {}
        self._log = log
        self._metrics = metrics
        self._log_fd = log_fd
        self._idle: list[Worker] = []
        self._failures = 0
        self._starting = 0
        self._first = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Can a worker take requests?"""
        return any(worker.ready and not worker.ended for worker in self.workers)

    @property
    def in_flight(self) -> int:
        """Requests that workers work on."""
        return sum(min(len(worker.jobs), self.config.threads) for worker in self.workers)

    @property
    def waiting_count(self) -> int:
        """Requests that no worker works on yet."""
        return len(self.waiting) + sum(max(0, len(worker.jobs) - self.config.threads) for worker in self.workers)

    async def start(self) -> None:
        """Start every worker.

        Raises:   WorkerFailed: the script cannot be loaded, its init() failed or took too long
        """
        self._fill(0.0)
        await self._first

    def submit(self, job: Job) -> None:
        """Hand ``job`` to a worker, now or when one is free.

        Raises:   Busy: too many wait, or no worker lives
        """
        if self._idle and not self.waiting:
            worker = self._idle[-1]
            if not worker.jobs or (len(worker.jobs) < self._capacity(worker) and self.waiting_count < self.config.max_queue):
                self._give(worker, job)
                return
        if self.waiting_count >= self.config.max_queue or not self._first.done() or (self._failures and not self.ready):
            raise Busy
        self.waiting.append(job)

    def finish(self, job: Job, frame: frames.Frame) -> None:
        """Hand over the reply; what fails there is no fault of the worker's."""
        try:
            job.done(frame)
        except Exception as error:
            self._log.failure(f"an answer failed inside the server: {type(error).__name__}: {error}", error)

    def free(self, worker: Worker) -> None:
        """``worker`` can take a request: it gets the next that waits."""
        if worker.leaving or worker.ended or not worker.ready:
            if worker.leaving and not worker.jobs and not worker.stopped_at:
                worker.stop()
            return
        capacity = self._capacity(worker)
        while self.waiting and len(worker.jobs) < capacity:
            job = self.waiting.popleft()
            if not job.gone:
                worker.send(job)
        if len(worker.jobs) >= capacity:
            self._not_idle(worker)
        elif worker not in self._idle:
            self._idle.append(worker)

    def _capacity(self, worker: Worker) -> int:
        """How many requests ``worker`` may have in its hands.

        As many as it works on; but a few ahead if it is alone and quick, which saves a switch between processes for each. Nobody
        else could take them, and it begins one only when the one before is answered: if it ends, they are handed out again.
        """
        if self.config.workers == 1 and self.config.threads == 1 and worker.mean_ms < _QUICK_MS and not worker.retiring:
            return _AHEAD
        return self.config.threads

    def became_ready(self, worker: Worker) -> None:
        """``worker`` has done its init(): it takes the place of one that retires."""
        self._failures = 0
        self.about = worker.about
        self._log.write(
            "info", "worker is ready", worker=worker.pid, init_ms=round((time.monotonic() - worker.begun_at) * 1000)
        )
        self.free(worker)
        old = next((w for w in self.workers if w.retiring and not w.leaving), None)
        if old is not None:
            old.leaving = True
            self._not_idle(old)
            self.free(old)
        if not self._first.done() and sum(w.ready for w in self.workers) >= self.config.workers:
            self._first.set_result(None)

    def retire(self, worker: Worker) -> None:
        """Replace ``worker``; it goes on until the new one is ready."""
        worker.retiring = True
        worker.reason = "limit"
        self._log.write("info", "worker has reached its limit and is replaced", worker=worker.pid)
        self._fill(0.0)

    def lost(self, worker: Worker) -> None:
        """``worker`` has ended, or does not speak to us any more: answer what it was at, and start another."""
        if worker not in self.workers:
            return
        worker.ended = True
        self.workers.remove(worker)
        self._not_idle(worker)
        worker.abandon()
        expected = bool(worker.stopped_at) or self.stopping
        status = None if expected else end(worker.process)
        if status is None:
            self._reap(worker.process, time.monotonic() + _STOP_GRACE_S)
        reason = worker.reason or ("stopped" if expected else "died")
        self._metrics.worker_ends[reason] = self._metrics.worker_ends.get(reason, 0) + 1
        if not expected:
            self._log.write("error", f"worker has ended: {reason}, {said(status)}", worker=worker.pid)
        for job in self._take_back(worker):
            self.finish(job, failed_frame(500, UNEXPECTED, frames.RUN_FAILED))
        if not self._first.done():
            self._first.set_exception(WorkerFailed(worker.error or f"the worker ended before it was ready: {said(status)}"))
        elif not self.stopping:
            self._failures = 0 if worker.was_ready else self._failures + 1
            if self._failures and not self.ready:
                self._refuse_waiting()
            self._fill(min(_SLOWEST_RESTART_S, 0.1 * 2.0**self._failures) if self._failures else 0.0)

    def look(self, now: float) -> None:
        """End what has taken too long; called every now and then."""
        for worker in list(self.workers):
            if worker.process.poll() is not None:  # a process that it forked may hold its socket open
                self.lost(worker)
            elif not worker.ready:
                if now - worker.begun_at > self.config.startup_timeout_s:
                    worker.error = f"init() has not ended after {self.config.startup_timeout_s:g} s"
                    worker.kill("startup timeout")
            elif worker.stopped_at and now - worker.stopped_at > _STOP_GRACE_S and not worker.jobs:
                worker.kill("stopped")
            for number, job in list(worker.jobs.items()):
                if job.started and now - job.started > self.config.timeout_s:
                    self._expire(worker, number, job)
                    break

    def _expire(self, worker: Worker, number: int, job: Job) -> None:
        """The request has taken too long: answer it, and end its worker, which takes along what else it was at."""
        del worker.jobs[number]
        self._not_idle(worker)
        others = self._take_back(worker)
        worker.ready = False
        worker.begun_at = time.monotonic()
        worker.kill("timeout")
        self.finish(job, failed_frame(500, f"Scoring timeout after {_ms(self.config.timeout_s)} ms", frames.RUN_FAILED))
        for other in others:
            self.finish(other, failed_frame(503, "The worker was ended because of another request. Try again."))

    def _take_back(self, worker: Worker) -> list[Job]:
        """Let ``worker`` have no jobs; those that it has not begun wait again, before all others. Return those that it has."""
        jobs, worker.jobs = list(worker.jobs.values()), {}
        self.waiting.extendleft(reversed([job for job in jobs if not job.started]))
        if self.stopping:
            self._refuse_waiting()
        return [job for job in jobs if job.started]

    async def stop(self) -> None:
        """End every worker."""
        self.stopping = True
        self._refuse_waiting()
        for worker in self.workers:
            if worker.ready and not worker.jobs:
                worker.stop()
            else:
                worker.kill("stopped")
        until = time.monotonic() + _STOP_GRACE_S
        while self.workers and time.monotonic() < until:
            await asyncio.sleep(0.005)
        for worker in self.workers:
            worker.kill("stopped")

    def _give(self, worker: Worker, job: Job) -> None:
        worker.send(job)
        if len(worker.jobs) >= self._capacity(worker):
            self._not_idle(worker)

    def _refuse_waiting(self) -> None:
        waiting, self.waiting = self.waiting, deque()
        for job in waiting:
            self.finish(job, failed_frame(503, "No worker is ready. Try again."))

    def _not_idle(self, worker: Worker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)

    def _fill(self, delay_s: float) -> None:
        """Start as many workers as are missing, ``delay_s`` from now."""
        missing = self.config.workers - self._starting - sum(not (w.retiring or w.leaving) for w in self.workers)
        loop = asyncio.get_running_loop()
        for _ in range(missing):
            self._starting += 1
            if delay_s:
                loop.call_later(delay_s, self._begin)
            else:
                self._begin()

    def _begin(self) -> None:
        task = asyncio.ensure_future(self._start_one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reap(self, process: subprocess.Popen[bytes], until: float) -> None:
        """Wait for a process that ends, and end it if it does not."""
        if process.poll() is None:
            if time.monotonic() > until:
                end(process)
            else:
                asyncio.get_running_loop().call_later(0.05, self._reap, process, until)

    async def _start_one(self) -> None:
        self._starting -= 1
        if self.stopping:
            return
        try:
            process, connection, read_fd = start(self._log_fd)
        except OSError as error:
            self._log.write("error", f"a worker cannot be started: {error}")
            if not self._first.done():
                self._first.set_exception(WorkerFailed(f"a worker cannot be started: {error}"))
            else:
                self._failures += 1
                self._fill(_SLOWEST_RESTART_S)
            return
        loop = asyncio.get_running_loop()
        worker = Worker(self, process)
        self.workers.append(worker)
        await loop.connect_read_pipe(
            lambda: Spoken(self._log, worker.pid, self.config.max_output_bytes), os.fdopen(read_fd, "rb")
        )
        await loop.create_unix_connection(lambda: worker, sock=connection)


class WorkerFailed(Exception):
    """The first workers could not be made ready; the message says why."""


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}" if milliseconds == int(milliseconds) else f"{milliseconds:g}"
