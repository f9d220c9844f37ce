"""The keeper of an endpoint: owns its socket, starts and ends its replicas, and makes of the records what is wanted there.

It may be killed at any moment. Replicas are nobody's children and hold the socket themselves, so they go on; the next keeper finds
them by what lies in the endpoint's directory, and gets the socket from one of them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from wardian.errors import NotFound, WardianError
from wardian.run.run_id import new_run_id
from wardian.serving.adoption import adopt
from wardian.serving.doors import Doors
from wardian.serving.log import EndpointLog
from wardian.serving.plan import Plan
from wardian.serving.replica import DRAINING, READY, STARTING, Replica
from wardian.serving.sockets import listen
from wardian.tools import processes
from wardian.tools.disk import FileLock, remove_tree
from wardian.workspace.clock import moment_text
from wardian.workspace.endpoint_record import STARTING as ROLLOUT_STARTING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.serving.directory import EndpointDirectory
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
        self.name = name
        self.store = store
        self.directory = directory
        self.way = way
        self.pace = pace or Pace()
        self.replicas: list[Replica] = []
        self.listener: socket.socket | None = None
        self._hold = hold
        self._holds: dict[int, AbstractContextManager[Any]] = {}
        self._plans: dict[int, Plan] = {}
        self._token = secrets.token_urlsafe(32)
        self._deaths = 0
        self._not_before = 0.0
        self._strangers: set[str] = set()  # replicas that know another token
        self._over = False

    def run(self) -> None:
        """Look after the endpoint until it is deleted, or this process is asked to end; at once, if another keeper does."""
        lock = FileLock(self.directory.keeper_lock)
        if not lock.try_acquire():
            return
        self.log = EndpointLog(self.directory)
        self.doors = Doors(self._answer)
        try:
            self.store.hand_over(self.name, processes.identify())
            adopt(self)
            self.doors.open_to_owner(self.directory.path)
            while not self._over:
                self.doors.wait(self._step(), [replica.process for replica in self.replicas])
                if self.doors.asked_to_end:
                    return
        finally:
            self.doors.close()
            lock.release()

    # -- one look -----------------------------------------------------------------------------------------------------------

    def _step(self) -> float:
        """Do what is to be done now; return how long to wait at most, seconds."""
        if not self.directory.path.is_dir():  # the workspace was removed: nobody can ask for anything any more
            self._end_all()
            return 0.0
        try:
            record = self.store.find(self.name)
            self._look(record)
            if record is None or record.deleting:
                return self._delete(record)
            if self._is_idle(record):
                self._close_socket()
                return self.pace.idle_s
            if not self._has_socket(record):
                return self.pace.idle_s
            self._advance(record)
            record = self.store.find(self.name) or record
            self._maintain(record)
            self._drain_others(record)
        except WardianError as error:  # the records are busy, or the disk is full: next time
            self.log.tell(f"{error.message}; tried again")
            return self.pace.idle_s
        self.log.shorten()
        changing = any(replica.state != READY for replica in self.replicas) or record.wanted != record.current
        left_s = self._not_before - time.monotonic()
        return self.pace.look_s if changing else min(self.pace.idle_s, left_s) if left_s > 0 else self.pace.idle_s

    def _look(self, record: EndpointRecord | None) -> None:
        """Find out which replicas have ended, which are ready, and end those whose time is over."""
        now = time.monotonic()
        for replica in list(self.replicas):
            if processes.is_alive(replica.process) is False and _is_reaped(replica):
                self._ended(replica, record)
            elif replica.state == STARTING:
                said = replica.news()
                plan = self._plan(replica.deployment)
                if said is not None and "error" not in said:
                    self._set_state(replica, READY)
                    replica.was_ready = self.way(replica.target).settled = True
                    self.log.tell(f"replica {replica.id} of deployment {replica.deployment} is ready")
                elif said is None and now - replica.since > (plan.startup_timeout_s if plan else 0.0) + self.pace.grace_s:
                    self.log.tell(f"replica {replica.id} of deployment {replica.deployment} was not ready in time")
                    self.way(replica.target).kill(replica)
            elif replica.state == DRAINING:
                plan = self._plan(replica.deployment)
                if now - replica.since > (plan.drain_s if plan else 0.0) + self.pace.grace_s:
                    self.log.tell(f"replica {replica.id} did not end in time: it is killed")
                    self.way(replica.target).kill(replica)

    # -- what is wanted -------------------------------------------------------------------------------------------------------

    def _advance(self, record: EndpointRecord) -> None:
        """Bring the wanted rollout nearer to serving, unless it does already."""
        if record.wanted is None or record.wanted == record.current:
            return
        rollout = self.store.rollout(self.name, record.wanted)
        if rollout.state != ROLLOUT_STARTING:
            return
        mine = [replica for replica in self.replicas if replica.rollout == rollout.number and replica.state != DRAINING]
        try:
            mine += self._start_missing(record, rollout.number, rollout.deployment, mine)
        except WardianError as error:
            self._fail(rollout.number, error.stable_code, error.message)
            return
        if (
            len(mine) >= record.replicas
            and all(replica.state == READY for replica in mine)
            and self.store.begin_serving(self.name, rollout.number)
        ):
            self._deaths, self._not_before = 0, 0.0
            self.log.tell(f"deployment {rollout.deployment} serves on port {record.port}")

    def _maintain(self, record: EndpointRecord) -> None:
        """Have as many replicas of what serves as are wanted."""
        if record.current is None or record.trouble is not None:
            return
        mine = [replica for replica in self.replicas if replica.rollout == record.current and replica.state != DRAINING]
        for replica in mine[record.replicas :]:
            self._drain(replica)
        if len(mine) >= record.replicas or time.monotonic() < self._not_before:
            return
        try:
            self._start_missing(record, record.current, self.store.rollout(self.name, record.current).deployment, mine)
        except WardianError as error:
            self._died(f"a replica cannot be started: {error.message}")

    def _start_missing(self, record: EndpointRecord, rollout: int, deployment: int, mine: Sequence[Replica]) -> list[Replica]:
        """Start what is missing of a rollout: one, as long as it is not known how that is done here."""
        missing = record.replicas - len(mine)
        plan = self._plan(deployment)
        if plan is not None and not self.way(plan.target).settled:
            missing = min(missing, 1 if all(replica.state != STARTING for replica in mine) else 0)
        return [self._start(record, rollout, deployment) for _ in range(missing)]

    def _drain_others(self, record: EndpointRecord) -> None:
        wanted = {record.current, record.wanted}
        for replica in self.replicas:
            if replica.rollout not in wanted and replica.state != DRAINING:
                self._drain(replica)
        self._let_go()

    def _delete(self, record: EndpointRecord | None) -> float:
        for replica in self.replicas:
            if replica.state != DRAINING:
                self._drain(replica)
        if self.replicas:
            return self.pace.look_s
        self._over = True
        self._close_socket()
        remove_tree(self.directory.path, self.directory.trash)
        if record is not None:
            self.store.delete(self.name)
        return 0.0

    def _end_all(self) -> None:
        for replica in self.replicas:
            self.way(replica.target).kill(replica)
        self._over = True

    # -- replicas ---------------------------------------------------------------------------------------------------------------

    def _start(self, record: EndpointRecord, rollout: int, deployment: int) -> Replica:
        plan = self._plan(deployment)
        if plan is None:
            raise NotFound(f"the files of deployment {deployment} are gone", code="deployment_not_found")
        self._take_hold(deployment, plan)
        replica_id = new_run_id(max((replica.id for replica in self.replicas), default=""))
        place = self.directory.replica(replica_id)
        place.path.mkdir(parents=True, mode=0o700)
        assert self.listener is not None  # noqa: S101 - `_has_socket` came before
        if plan.image:
            self.doors.offer_listener(place.path, self.listener)
        keys = [key.sha256 for key in record.keys]
        server = {
            **plan.server, "name": self.name, "deployment": str(deployment),
            "keys": [*keys, sha256(self._token.encode()).hexdigest()] if keys else [],
        }  # fmt: skip
        offset = self.log.size_bytes
        try:
            pid, container = self.way(plan.target).start(replica_id, plan, place, self.log.descriptor, self.listener, server)
        except BaseException:
            self._forget(place.path)
            raise
        process = processes.identify(pid) or processes.ProcessIdentity(
            pid, 0, "", os.uname().nodename, ""
        )  # it has ended already
        started = moment_text(datetime.now(UTC))
        replica = Replica(
            replica_id,
            rollout,
            deployment,
            process,
            place,
            plan.target,
            started,
            time.monotonic(),
            container=container,
            log_offset=offset,
        )
        replica.keep()
        self.replicas.append(replica)
        return replica

    def _drain(self, replica: Replica) -> None:
        self._set_state(replica, DRAINING)
        self.way(replica.target).terminate(replica)

    def _set_state(self, replica: Replica, state: str) -> None:
        replica.state, replica.since = state, time.monotonic()
        replica.keep()

    def _ended(self, replica: Replica, record: EndpointRecord | None) -> None:
        """Take note of the end of a replica, and of what that means for its rollout."""
        said, way = replica.news(), self.way(replica.target)
        way.kill(replica)  # what it started may have outlived it
        self.replicas.remove(replica)
        self._forget(replica.place.path)
        if replica.state == DRAINING or record is None or record.deleting:
            return
        words = self._why(replica, said)
        if (
            not replica.was_ready
            and said is None
            and replica.container
            and way.again(replica, self.log.since(replica.log_offset))
        ):
            return  # another way of starting containers is tried
        self.log.tell(f"replica {replica.id} of deployment {replica.deployment} ended: {words}")
        if replica.rollout == record.wanted != record.current:
            self._fail(replica.rollout, "init_failed" if not replica.was_ready else "replica_ended", words)
        elif replica.rollout == record.current:
            healthy = replica.was_ready and time.monotonic() - replica.since >= self.pace.healthy_s
            self._deaths = 0 if healthy else self._deaths
            self._died(words)

    def _died(self, words: str) -> None:
        self._deaths += 1
        if self._deaths >= self.pace.deaths:
            self.store.put_trouble(
                self.name, {"code": "crash_loop", "reason": f"replicas ended {self._deaths} times in a row: {words}"}
            )
            self.log.tell(f"replicas ended {self._deaths} times in a row: none is started any more")
            self._deaths = 0
            return
        pause_s = (
            0.0 if self._deaths == 1 else min(self.pace.first_pause_s * 2 ** (self._deaths - 2), self.pace.longest_pause_s)
        )
        self._not_before = time.monotonic() + pause_s

    def _why(self, replica: Replica, said: dict[str, Any] | None) -> str:
        line = self.log.traceback_line(replica.log_offset)
        place = f" (the traceback: {self.directory.log}:{line})" if line is not None else ""
        if said is not None and "error" in said:
            return f"{said['error']}{place}"
        if not replica.was_ready and (
            explained := self.way(replica.target).explained(replica, self.log.since(replica.log_offset))
        ):
            return f"{explained}{place}"
        if replica.code is None:
            return f"it ended{place}"
        if replica.code < 0:
            return f"ended by {signal.Signals(-replica.code).name}{place}"
        return f"it exited with {replica.code}{place}"

    def _fail(self, number: int, code: str, reason: str) -> None:
        if self.store.fail(self.name, number, code, reason):
            self.log.tell(f"rollout {number} failed: {reason}")
        for replica in self.replicas:
            if replica.rollout == number and replica.state != DRAINING:
                self._drain(replica)

    def _forget(self, place: Path) -> None:
        self.doors.close_listener(place)
        with contextlib.suppress(OSError):
            remove_tree(place, self.directory.trash)

    def adopted(self, replica: Replica) -> None:
        """Look after a replica that another keeper started."""
        self.replicas.append(replica)
        self._strangers.add(replica.id)
        self._take_hold(replica.deployment, self._plan(replica.deployment))
        if replica.container and self.listener is not None:
            self.doors.offer_listener(replica.place.path, self.listener)
        if replica.state == DRAINING:
            self._drain(replica)

    # -- what it holds --------------------------------------------------------------------------------------------------------------

    def _is_idle(self, record: EndpointRecord) -> bool:
        """Whether nothing serves and nothing is to be started: who asks is refused then, and does not wait for nobody."""
        starts = record.wanted is not None and record.wanted != record.current
        return not self.replicas and not starts and (record.current is None or record.trouble is not None)

    def _close_socket(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def _has_socket(self, record: EndpointRecord) -> bool:
        if self.listener is None:
            try:
                self.listener = listen(record.port)
            except WardianError as error:
                if record.wanted is not None and record.wanted != record.current:
                    self._fail(record.wanted, error.stable_code, error.message)
                elif record.trouble is None:
                    self.store.put_trouble(self.name, {"code": error.stable_code, "reason": error.message})
                return False
            if record.port is None:
                self.store.put_port(self.name, self.listener.getsockname()[1])
        return True

    def _plan(self, deployment: int) -> Plan | None:
        if deployment not in self._plans and (found := Plan.read(self.directory.plan(deployment))) is not None:
            self._plans[deployment] = found
        return self._plans.get(deployment)

    def _take_hold(self, deployment: int, plan: Plan | None) -> None:
        if plan is not None and deployment not in self._holds:
            held = self._hold(plan.holds)
            held.__enter__()
            self._holds[deployment] = held

    def _let_go(self) -> None:
        used = {replica.deployment for replica in self.replicas}
        for deployment in [number for number in self._holds if number not in used]:
            self._holds.pop(deployment).__exit__(None, None, None)

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer its owner, who asks through the socket in the endpoint's directory."""
        if question.get("op") == "token":
            return {"token": None if self._strangers & {replica.id for replica in self.replicas} else self._token}
        return {"error": "nothing is known of that"}


def _is_reaped(replica: Replica) -> bool:
    """Take leave of a process that has ended; return False if its last threads have not yet. Another keeper's is the system's to reap."""
    try:
        pid, status = os.waitpid(replica.process.pid, os.WNOHANG)
    except ChildProcessError:
        return True
    if pid:
        replica.code = os.waitstatus_to_exitcode(status)
    return bool(pid)
