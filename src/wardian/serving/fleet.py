"""The replicas of an endpoint: started, looked at, drained, found again; what they run from is held as long as they do."""

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
from wardian.serving.directory import CONTROL
from wardian.serving.plan import Plan
from wardian.serving.replica import DRAINING, READY, STARTING, Replica
from wardian.serving.sockets import ask
from wardian.tools import processes
from wardian.tools.disk import remove_tree
from wardian.workspace.clock import moment_text

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.serving.directory import EndpointDirectory
    from wardian.serving.doors import Doors
    from wardian.serving.log import EndpointLog
    from wardian.serving.replica import ReplicaWay


_INTRODUCTION_S = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A replica that ended unasked, and why, in words; ``once_more``: it can be started another way, which is no fault of its deployment."""

    replica: Replica
    words: str
    once_more: bool = False


class Fleet:
    """The replicas that live. For one thread.

    Args:     way: how replicas are started at a target.  hold: keeps prefixes from being removed, by their keys, while in use.
              grace_s: on top of what a server has for its start and its end, before it is killed.

    Attributes:
        token: an API key that is in no file, for the endpoint's owner.
    """

    def __init__(
        self, name: str, directory: EndpointDirectory, log: EndpointLog, doors: Doors, way: Callable[[str], ReplicaWay],
        hold: Callable[[Sequence[str]], AbstractContextManager[Any]], grace_s: float,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.log = log
        self.way = way
        self.replicas: list[Replica] = []
        self._name = name
        self._doors = doors
        self._hold = hold
        self._holds: dict[int, AbstractContextManager[Any]] = {}
        self._plans: dict[int, Plan] = {}
        self._grace_s = grace_s
        self._token = secrets.token_urlsafe(32)
        self._strangers: set[str] = set()  # replicas that know another token

    @property
    def token(self) -> str | None:
        """What all replicas accept from the owner; None: some were started by another keeper, and have not taken this one's yet."""
        for replica in self.replicas:
            self._introduce(replica)
        return None if self._strangers & {replica.id for replica in self.replicas} else self._token

    def of(self, rollout: int) -> list[Replica]:
        """Return the replicas of a rollout, without those that are to end."""
        return [replica for replica in self.replicas if replica.rollout == rollout and replica.state != DRAINING]

    def _introduce(self, replica: Replica) -> None:
        """Have a replica that another keeper started accept this one's token."""
        if replica.id in self._strangers:
            with contextlib.suppress(WardianError):
                answer, _ = ask(
                    replica.place.path / CONTROL, {"op": "owner", "sha256": self._digest}, timeout_s=_INTRODUCTION_S
                )
                if answer.get("ok") is True:
                    self._strangers.discard(replica.id)

    @property
    def _digest(self) -> str:
        return sha256(self._token.encode()).hexdigest()

    # -- start and end ------------------------------------------------------------------------------------------------------

    def start_missing(
        self, count: int, rollout: int, deployment: int, listener: socket.socket, keys: Sequence[str]
    ) -> list[Replica]:
        """Start as many replicas of a rollout as it lacks of ``count``, but only one as long as it is not known how that is done here.

        Args:     keys: digests of the API keys; empty: none is asked for.
        Raises:   NotFound: ``deployment_not_found``.  Unavailable: ``prefix_gone``.  RunFailed: it cannot be started.
        """
        mine = self.of(rollout)
        missing = count - len(mine)
        plan = self.plan(deployment)
        if plan is None:
            raise NotFound(f"the files of deployment {deployment} are gone", code="deployment_not_found")
        if not self.way(plan.target).settled:
            missing = min(missing, 1 if all(replica.state != STARTING for replica in mine) else 0)
        return [self._start(plan, rollout, deployment, listener, keys) for _ in range(missing)]

    def _start(self, plan: Plan, rollout: int, deployment: int, listener: socket.socket, keys: Sequence[str]) -> Replica:
        self._take_hold(deployment, plan)
        replica_id = new_run_id(max((replica.id for replica in self.replicas), default=""))
        place = self.directory.replica(replica_id)
        place.path.mkdir(parents=True, mode=0o700)
        if plan.image:
            self._doors.offer_listener(place.path, listener)
        accepted = [*keys, self._digest] if keys else []
        server = {**plan.server, "name": self._name, "deployment": str(deployment), "keys": accepted}
        offset = self.log.size_bytes
        try:
            pid, container = self.way(plan.target).start(replica_id, plan, place, self.log.descriptor, listener, server)
        except BaseException:
            self._forget(place.path)
            raise
        ended_already = processes.ProcessIdentity(pid, 0, "", os.uname().nodename, "")
        replica = Replica(
            id=replica_id, rollout=rollout, deployment=deployment, process=processes.identify(pid) or ended_already, place=place, target=plan.target,
            started=moment_text(datetime.now(UTC)), since=time.monotonic(), container=container, log_offset=offset,
        )  # fmt: skip
        try:
            replica.keep()
        except BaseException:  # on a full disk: the keeper after this one would know nothing of it
            self.way(replica.target).kill(replica)
            _is_reaped(replica)
            self._forget(place.path)
            raise
        self.replicas.append(replica)
        return replica

    def drain(self, replica: Replica) -> None:
        """Have a replica answer what it was asked, and end."""
        if replica.state != DRAINING:
            self._set_state(replica, DRAINING)
        self.way(replica.target).terminate(replica)

    def kill_all(self) -> None:
        """End all at once."""
        for replica in self.replicas:
            self.way(replica.target).kill(replica)

    def adopt(self, replica: Replica, listener: socket.socket) -> None:
        """Look after a replica that another keeper started."""
        self.replicas.append(replica)
        self._strangers.add(replica.id)
        self._introduce(replica)
        with contextlib.suppress(WardianError):  # it runs from what was removed: it goes on as long as it can
            self._take_hold(replica.deployment, self.plan(replica.deployment))
        if replica.container:
            self._doors.offer_listener(replica.place.path, listener)
        if replica.state == DRAINING:
            self.drain(replica)

    # -- look ----------------------------------------------------------------------------------------------------------------

    def look(self) -> Iterator[Ended]:
        """Find out which replicas have ended, which are ready, and end those whose time is over. Yields those that ended unasked."""
        now = time.monotonic()
        for replica in list(self.replicas):
            if not replica.kept:
                self._keep(replica)
            if processes.is_alive(replica.process) is False and _is_reaped(replica):
                if (ended := self._bury(replica)) is not None:
                    yield ended
            elif replica.state == STARTING:
                self._look_at_start(replica, now)
            elif replica.state == DRAINING and now - replica.since > self._longest_end_s(replica):
                self.log.tell(f"replica {replica.id} did not end in time: it is killed")
                self.way(replica.target).kill(replica)

    def _look_at_start(self, replica: Replica, now: float) -> None:
        said, plan = replica.news(), self.plan(replica.deployment)
        if said is not None and "error" not in said:
            self._set_state(replica, READY)
            replica.was_ready = self.way(replica.target).settled = True
            self.log.tell(f"replica {replica.id} of deployment {replica.deployment} is ready")
        elif said is None and now - replica.since > (plan.startup_timeout_s if plan else 0.0) + self._grace_s:
            self.log.tell(f"replica {replica.id} of deployment {replica.deployment} was not ready in time")
            self.way(replica.target).kill(replica)

    def _longest_end_s(self, replica: Replica) -> float:
        """Return how long a replica may take to end: one that never took a connection has nothing to answer."""
        plan = self.plan(replica.deployment)
        drains = replica.was_ready or replica.news() is not None
        return (plan.drain_s if plan and drains else 0.0) + self._grace_s

    def _bury(self, replica: Replica) -> Ended | None:
        said, way = replica.news(), self.way(replica.target)
        way.kill(replica)  # what it started may have outlived it
        self.replicas.remove(replica)
        self._forget(replica.place.path)
        if replica.state == DRAINING:
            return None
        written = self.log.since(replica.log_offset)
        if replica.container and not replica.was_ready and said is None and way.again(replica, written):
            return Ended(replica, "", once_more=True)
        words = self._why(replica, said, written)
        self.log.tell(f"replica {replica.id} of deployment {replica.deployment} ended: {words}")
        return Ended(replica, words)

    def _why(self, replica: Replica, said: dict[str, Any] | None, written: str) -> str:
        line = self.log.traceback_line(replica.log_offset)
        place = f" (the traceback: {self.directory.log}:{line})" if line is not None else ""
        if said is not None and "error" in said:
            words = str(said["error"])
        elif not replica.was_ready and (explained := self.way(replica.target).explained(replica, written)):
            words = explained
        elif replica.code is None:
            words = "it ended"
        elif (number := ended_by(replica)) is not None:
            words = f"ended by {number.name}"
            if (
                number == signal.SIGKILL
                and (plan := self.plan(replica.deployment)) is not None
                and plan.image
                and plan.memory_bytes
            ):
                words += f": it may have needed more than its {plan.memory_bytes:,} bytes of memory"
        else:
            words = f"it exited with {replica.code}"
        return words + place

    # -- what they have -----------------------------------------------------------------------------------------------------

    def plan(self, deployment: int) -> Plan | None:
        """Return how the replicas of a deployment are started; None: its files are gone."""
        if deployment not in self._plans and (found := Plan.read(self.directory.plan(deployment))) is not None:
            self._plans[deployment] = found
        return self._plans.get(deployment)

    def let_go(self) -> None:
        """Let go of what no replica runs from any more."""
        used = {replica.deployment for replica in self.replicas}
        for deployment in [number for number in self._holds if number not in used]:
            self._holds.pop(deployment).__exit__(None, None, None)

    def _take_hold(self, deployment: int, plan: Plan | None) -> None:
        if plan is not None and deployment not in self._holds:
            held = self._hold(plan.holds)
            held.__enter__()
            self._holds[deployment] = held

    def _set_state(self, replica: Replica, state: str) -> None:
        replica.state, replica.since, replica.kept = state, time.monotonic(), False
        self._keep(replica)

    def _keep(self, replica: Replica) -> None:
        """Write down how a replica is; what cannot be, on a full disk, is tried again at the next look."""
        with contextlib.suppress(WardianError, OSError):
            replica.keep()

    def _forget(self, place: Path) -> None:
        self._doors.close_listener(place)
        with contextlib.suppress(OSError):
            remove_tree(place, self.directory.trash)


def ended_by(replica: Replica) -> signal.Signals | None:
    """Return the signal that ended a replica; None: it was none. Engines exit with 128 and more for one that ended their container."""
    code = replica.code or 0
    number = -code if code < 0 else code - 128 if replica.container else 0
    return signal.Signals(number) if number in set(signal.Signals) else None


def _is_reaped(replica: Replica) -> bool:
    """Take leave of a process that has ended; return False if its last threads have not yet. Another keeper's is the system's to reap."""
    try:
        pid, status = os.waitpid(replica.process.pid, os.WNOHANG)
    except ChildProcessError:
        return True
    if pid:
        replica.code = os.waitstatus_to_exitcode(status)
    return bool(pid)
