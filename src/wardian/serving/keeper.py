"""The keeper of an endpoint: owns its socket, starts and ends its replicas, and makes of the records what is wanted there.

It may be killed at any moment. Replicas are nobody's children and hold the socket themselves, so they go on; the next keeper finds
them by what lies in the endpoint's directory, and gets the socket from one of them.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.errors import WardianError
from wardian.serving.adoption import adopt
from wardian.serving.doors import Doors
from wardian.serving.fleet import Fleet
from wardian.serving.log import EndpointLog
from wardian.serving.replica import DRAINING, READY
from wardian.serving.sockets import listen
from wardian.tools import processes
from wardian.tools.disk import FileLock, remove_tree
from wardian.workspace.endpoint_record import STARTING as ROLLOUT_STARTING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from wardian.serving.directory import EndpointDirectory
    from wardian.serving.fleet import Ended
    from wardian.serving.replica import ReplicaWay
    from wardian.workspace.endpoint_record import EndpointRecord
    from wardian.workspace.endpoints import Endpoints

WAKE = signal.SIGUSR1  # tells the keeper that something else is wanted now


@dataclass(frozen=True, slots=True)
class Pace:
    """How a keeper takes its time, seconds.

    Attributes:
        look_s: between looks at what starts or ends.  idle_s: between looks at the records when all is well.
        first_pause_s, longest_pause_s: before a replica that ended is started again; doubled each time.
        deaths: so many without one that lived ``healthy_s``, and none is started any more.
        grace_s: on top of what a server has for its start and its end, before it is killed.
    """

    look_s: float = 0.02
    idle_s: float = 2.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 30.0
    deaths: int = 6
    healthy_s: float = 60.0
    grace_s: float = 5.0


class Keeper:
    """Looks after one endpoint until it is deleted.

    Args:     way: how replicas are started at a target.  hold: keeps prefixes from being removed, by their keys, while in use.
    """

    def __init__(
        self, name: str, store: Endpoints, directory: EndpointDirectory, way: Callable[[str], ReplicaWay],
        hold: Callable[[Sequence[str]], AbstractContextManager[Any]], pace: Pace | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._store = store
        self._directory = directory
        self._way = way
        self._hold = hold
        self._pace = pace or Pace()
        self._listener: socket.socket | None = None
        self._deaths = 0
        self._not_before = 0.0
        self._over = False

    def run(self) -> None:
        """Look after the endpoint until it is deleted, or this process is asked to end; at once, if another keeper does."""
        lock = FileLock(self._directory.keeper_lock)
        if not lock.try_acquire():
            return
        self._log = EndpointLog(self._directory)
        doors = Doors(self._answer)
        self._fleet = Fleet(self._name, self._directory, self._log, doors, self._way, self._hold, self._pace.grace_s)
        try:
            self._store.hand_over(self._name, processes.identify())
            self._listener = adopt(self._fleet)
            doors.open_to_owner(self._directory.path)
            while not self._over:
                doors.wait(self._step(), [replica.process for replica in self._fleet.replicas])
                if doors.asked_to_end:
                    return
        finally:
            doors.close()
            lock.release()

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer its owner, who asks through the socket in the endpoint's directory."""
        return {"token": self._fleet.token} if question.get("op") == "token" else {"error": "nothing is known of that"}

    # -- one look -----------------------------------------------------------------------------------------------------------

    def _step(self) -> float:
        """Do what is to be done now; return how long to wait at most, seconds."""
        if not self._directory.path.is_dir():  # the workspace was removed: nobody can ask for anything any more
            self._fleet.kill_all()
            self._over = True
            return 0.0
        try:
            record = self._store.find(self._name)
            for ended in self._fleet.look():
                self._take_note(ended, record)
            if record is None or record.deleting:
                return self._delete(record)
            record = self._store.find(self._name) or record
            if self._is_idle(record):
                self._close_socket()
                return self._pace.idle_s
            listener = self._socket(record)
            if listener is None:
                return self._pace.idle_s
            self._advance(record, listener)
            record = self._store.find(self._name) or record
            self._maintain(record, listener)
            self._drain_others(record)
        except (WardianError, OSError) as error:  # the records are busy, or the disk is full: next time
            self._log.tell(f"{error}; tried again")
            return self._pace.idle_s
        self._log.shorten()
        changing = any(replica.state != READY for replica in self._fleet.replicas) or record.wanted != record.current
        left_s = self._not_before - time.monotonic()
        return self._pace.look_s if changing else min(self._pace.idle_s, left_s) if left_s > 0 else self._pace.idle_s

    def _take_note(self, ended: Ended, record: EndpointRecord | None) -> None:
        """Take note of what the end of a replica means for its rollout."""
        replica = ended.replica
        if record is None or record.deleting or ended.once_more:
            return
        if replica.rollout == record.wanted != record.current:
            self._fail(replica.rollout, "replica_ended" if replica.was_ready else "init_failed", ended.words)
        elif replica.rollout == record.current:
            if replica.was_ready and time.monotonic() - replica.since >= self._pace.healthy_s:
                self._deaths = 0
            self._died(ended.words)

    # -- what is wanted -------------------------------------------------------------------------------------------------------

    def _advance(self, record: EndpointRecord, listener: socket.socket) -> None:
        """Bring the wanted rollout nearer to serving, unless it does already."""
        if record.wanted is None or record.wanted == record.current:
            return
        rollout = self._store.rollout(self._name, record.wanted)
        if rollout.state != ROLLOUT_STARTING:
            return
        count = rollout.replicas or record.replicas
        try:
            self._fleet.start_missing(count, rollout.number, rollout.deployment, listener, _digests(record))
        except WardianError as error:
            self._fail(rollout.number, error.stable_code, error.message)
            return
        mine = self._fleet.of(rollout.number)
        if len(mine) < count or any(replica.state != READY for replica in mine):
            return
        if self._store.begin_serving(self._name, rollout.number):
            self._deaths, self._not_before = 0, 0.0
            self._log.tell(f"deployment {rollout.deployment} serves on port {record.port}")

    def _maintain(self, record: EndpointRecord, listener: socket.socket) -> None:
        """Have as many replicas of what serves as are wanted."""
        if record.current is None or record.trouble is not None:
            return
        mine = self._fleet.of(record.current)
        for replica in mine[record.replicas :]:
            self._fleet.drain(replica)
        if len(mine) >= record.replicas or time.monotonic() < self._not_before:
            return
        deployment = self._store.rollout(self._name, record.current).deployment
        try:
            self._fleet.start_missing(record.replicas, record.current, deployment, listener, _digests(record))
        except WardianError as error:
            self._died(f"a replica cannot be started: {error.message}")

    def _drain_others(self, record: EndpointRecord) -> None:
        wanted = {record.current, record.wanted}
        for replica in self._fleet.replicas:
            if replica.rollout not in wanted and replica.state != DRAINING:
                self._fleet.drain(replica)
        self._fleet.let_go()

    def _delete(self, record: EndpointRecord | None) -> float:
        for replica in self._fleet.replicas:
            if replica.state != DRAINING:
                self._fleet.drain(replica)
        if self._fleet.replicas:
            return self._pace.look_s
        self._over = True
        self._close_socket()
        remove_tree(self._directory.path, self._directory.trash)
        if record is not None:
            self._store.delete(self._name)
        return 0.0

    # -- what goes wrong --------------------------------------------------------------------------------------------------------

    def _fail(self, number: int, code: str, reason: str) -> None:
        """Give a rollout up; what served before serves on."""
        if self._store.fail(self._name, number, code, reason):
            self._log.tell(f"rollout {number} failed: {reason}")
        for replica in self._fleet.of(number):
            self._fleet.drain(replica)

    def _died(self, words: str) -> None:
        """Wait a little longer with each death before the next replica is started, and give up after several."""
        self._deaths += 1
        if self._deaths >= self._pace.deaths:
            reason = f"replicas ended {self._deaths} times in a row: {words}"
            self._store.put_trouble(self._name, {"code": "crash_loop", "reason": reason})
            self._log.tell(f"replicas ended {self._deaths} times in a row: none is started any more")
            self._deaths = 0
            return
        pause_s = self._pace.first_pause_s * 2 ** (self._deaths - 2) if self._deaths > 1 else 0.0
        self._not_before = time.monotonic() + min(pause_s, self._pace.longest_pause_s)

    # -- the socket -----------------------------------------------------------------------------------------------------------------

    def _is_idle(self, record: EndpointRecord) -> bool:
        """Whether nothing serves and nothing is to be started: who asks is refused then, and does not wait for nobody."""
        starts = record.wanted is not None and record.wanted != record.current
        return not self._fleet.replicas and not starts and (record.current is None or record.trouble is not None)

    def _close_socket(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _socket(self, record: EndpointRecord) -> socket.socket | None:
        """Return the endpoint's socket, bound if need be; None: it cannot be."""
        if self._listener is None:
            try:
                self._listener = listen(record.port)
            except WardianError as error:
                if record.wanted is not None and record.wanted != record.current:
                    self._fail(record.wanted, error.stable_code, error.message)
                elif record.trouble is None:
                    self._store.put_trouble(self._name, {"code": error.stable_code, "reason": error.message})
                return None
            if record.port is None:
                self._store.put_port(self._name, self._listener.getsockname()[1])
        return self._listener


def _digests(record: EndpointRecord) -> list[str]:
    return [key.sha256 for key in record.keys]
