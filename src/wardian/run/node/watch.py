"""What an agent sees and does while its job is prepared and runs: the log, the sign of life, and whether it is to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wardian.run.log_file import LogFile
from wardian.run.node.claim import Beat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wardian.run.node.claim import Claim
    from wardian.run.node.sheet import NodeEnd
    from wardian.run.targets.target import Stop
    from wardian.run.write_faults import WriteFaults

TICK_S = 1.0
_GAP_TICKS = 3


class NodeWatch:
    """Looks after one attempt, and observes its job. See ``wardian.run.targets.target.Observer``.

    Attributes:
        fenced: another attempt has the run, or it has ended without this one: nothing more is written.
        failed_rank: of another node of the run, which failed; None: none has.
        began: when the job started; None: it has not.
    """

    def __init__(
        self, claim: Claim, stop: Stop, heartbeat_s: float, faults: WriteFaults | None = None, *, echo: int | None = None,
        on_start: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._claim = claim
        self._stop = stop
        self.faults = faults
        self._echo, self._on_start = echo, on_start
        self._beat = Beat(claim, heartbeat_s, lambda: datetime.now(UTC))
        self._tick_s = min(TICK_S, heartbeat_s)
        self._looked = time.monotonic()
        self.log = LogFile(claim.place.log)
        self.fenced = False
        self.failed_rank: tuple[int, NodeEnd] | None = None
        self.others: Callable[[], tuple[int, NodeEnd] | None] = lambda: None
        self.on_tick: Callable[[], None] = lambda: None
        self.began: datetime | None = None

    # -- while the job runs --------------------------------------------------------------------------------------------

    def started(self, _pid: int) -> None:
        """Take note that the job runs."""
        self.began = datetime.now(UTC)
        self._beat.say("running")
        self._on_start()

    def output(self, stream: int, chunk: bytes) -> None:
        """Keep what it writes."""
        if (
            time.monotonic() - self._looked > _GAP_TICKS * self._tick_s
        ):  # this process was stopped: the run may be another's now
            self.tick()
        if not self.fenced:
            self.log.write(chunk)
            self._repeat(chunk)
        if self.faults is not None:
            self.faults.look(stream, chunk)

    def _repeat(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        try:
            while self._echo is not None and view:
                view = view[os.write(self._echo, view) :]
        except OSError:  # nobody listens: the log has all
            self._echo = None

    def tick(self) -> None:
        """See whether it is to end; say that it is alive."""
        if cause := self.look():
            number = signal.SIGKILL if self.fenced else signal.SIGTERM
            if not self._stop.cause or self.fenced:
                self._stop.request(cause, number)

    def look(self) -> str:
        """Return why the run is to end here; empty: it is not. Say that it is alive."""
        self._looked = time.monotonic()
        if self.fenced or self._claim.is_lost():
            self.fenced = True
            return "fenced"
        self._beat.tick()
        self.on_tick()
        if self._claim.place.cancel.exists():
            return "canceled"
        if self.failed_rank is None:
            self.failed_rank = self.others()
        return "failed elsewhere" if self.failed_rank is not None else ""

    # -- before and after ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Look after the attempt from a thread while the block does something that takes its time.

        A reason to end interrupts the block as SIGTERM does.
        """
        over = threading.Event()

        def look() -> None:
            while not over.wait(self._tick_s):
                if self.look():
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

        thread = threading.Thread(target=look, name="wardian-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def ending(self) -> None:
        """Say that the job is gone."""
        self._beat.say("ending")

    def close(self, said: str = "") -> None:
        """See to it that what the job wrote is on the disk. ``said``: how far the run is, for others."""
        self.log.close(durable=True)
        if said:
            self._beat.say(said)
        self._beat.close()
