"""Who may run a run: an engine may start it twice, and yet it runs once (ADR 0029)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput
from wardian.run.node.sheet import ENDED, RELEASED, NodeStatus
from wardian.small_file import read_small
from wardian.tools import processes
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from wardian.run.node.place import NodePlace
    from wardian.run.node.sheet import NodeEnd

BEATS_MISSED = 12  # after so many without a sign of life, an attempt is given up
_LOOK_S = 0.5
_DYING_S = 6.0  # the keeper of a killed agent ends its job within this time
_NAME = re.compile(r"([1-9]\d{0,5})")


class Canceled(Exception):
    """The run was canceled while this start waited for another one."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run: no start with a lower ``attempt`` has it any more.

    Attributes:
        attempt: from 1.
        before: which attempts there were; secrets that they have read may be gone.
    """

    place: NodePlace
    attempt: int
    before: int = 0

    def is_lost(self) -> bool:
        """Return whether a higher attempt has taken the run over, or it has ended without this one, or its directory was removed."""
        if highest(self.place) > self.attempt or (self.place.directory / ENDED).exists():
            return True
        try:
            _file(self.place, self.attempt).lstat()
        except FileNotFoundError:  # the run was brought home while this node was at it
            return True
        except OSError:  # a file server that does not answer says nothing
            return False
        return False

    def is_lost_for_good(self) -> bool:
        """The same, asked of the file server, not of what this machine remembers of it: making a file makes it ask."""
        with contextlib.suppress(OSError):
            (self.place.claims / f".looked.{os.uname().nodename}.{os.getpid()}").touch()
            (self.place.claims / f".looked.{os.uname().nodename}.{os.getpid()}").unlink()
        return self.is_lost()


def take(place: NodePlace, *, attempt: int, heartbeat_s: float, on_wait: Callable[[str], None]) -> Claim | NodeEnd:
    """Return the claim to the run, or how it has ended already, or ended while this waited for another start of it.

    Another start is waited for while it gives signs of life. That is measured by this machine's clock: its file has not changed for
    so long. On the same machine a start that was killed is known to be gone at once, its job too.

    Args:     attempt: as the engine counts.  on_wait: is told once who is waited for.
    Raises:   Canceled.  DiskFull.  Denied.
    """
    seen: tuple[int, bytes] | None = None
    since = time.monotonic()
    told = False
    with disk_errors(place.directory):
        place.claims.mkdir(exist_ok=True)
    while True:
        if (end := place.of(0).read_end()) is not None:
            return end
        if place.rank and (end := place.read_end()) is not None and end.attempt >= attempt:
            return end
        last = highest(place)
        if (
            last == 0
            or _is_released(place, last)
            or _is_gone(place, last)
            or time.monotonic() - since > BEATS_MISSED * heartbeat_s
        ):
            number = max(last + 1, attempt)
            if _claim(place, number):
                return Claim(place, number, before=last)
            continue
        if place.cancel.exists():
            raise Canceled
        if not told:
            told = True
            on_wait(f"attempt {last} on {_owner(place, last).get('host', 'another node')}")
        if (now := (last, _status(place))) != seen:
            seen, since = now, time.monotonic()
        time.sleep(min(_LOOK_S, heartbeat_s / 2))


def highest(place: NodePlace) -> int:
    """Return the highest attempt that has claimed the run; 0: none has."""
    try:
        names = os.listdir(place.claims)  # noqa: PTH208 - every second
    except FileNotFoundError:
        return 0
    suffix = f".{place.rank}" if place.rank else ""
    found = (_NAME.fullmatch(name.removesuffix(suffix)) for name in names if name.endswith(suffix))
    return max((int(match[1]) for match in found if match), default=0)


def _claim(place: NodePlace, number: int) -> bool:
    """Make the claim: of all that try, on all machines, one succeeds."""
    me = processes.identify()
    with disk_errors(place.claims):
        try:
            descriptor = os.open(_file(place, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, json.dumps(me.as_document() if me else {}).encode())
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return True


def _file(place: NodePlace, number: int) -> Path:
    return place.claims / (f"{number}.{place.rank}" if place.rank else str(number))


def _owner(place: NodePlace, number: int) -> dict[str, Any]:
    try:
        document = json.loads(read_small(_file(place, number), 1 << 16))
    except (OSError, ValueError):  # it is written a moment after it was made
        return {}
    return document if isinstance(document, dict) else {}


def _is_gone(place: NodePlace, number: int) -> bool:
    """Return whether the attempt was one of this machine, and its agent and all of its job have ended."""
    try:
        agent = processes.ProcessIdentity.from_document(_owner(place, number))
        if processes.is_alive(agent) is not False:
            return False
    except (TypeError, ValueError):
        return False
    if agent.boot_id != (processes.identify() or agent).boot_id:
        return True
    deadline = time.monotonic() + _DYING_S
    while left := processes.with_variable("WARDIAN_OUTPUT_DIR", str(place.outputs)):  # which only a job is told
        if time.monotonic() > deadline:
            for pid in left:
                processes.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return True


def _is_released(place: NodePlace, number: int) -> bool:
    """Return whether the attempt has said itself that it is over, and the run is not."""
    try:
        status = NodeStatus.from_json(_status(place))
    except InvalidInput:
        return False
    return (status.state, status.attempt) == (RELEASED, number)


def _status(place: NodePlace) -> bytes:
    try:
        return read_small(place.status, 1 << 16)
    except OSError:
        return b""


class Beat:
    """The sign of life of a claim: ``status.json``, written over in place, so that other machines see it as soon as they look.

    Args:     now: gives the time.
    """

    def __init__(self, claim: Claim, heartbeat_s: float, now: Callable[[], datetime]) -> None:
        self._claim = claim
        self._heartbeat_s = heartbeat_s
        self._now = now
        self._state = "preparing"
        self._beat = 0
        self._due = 0.0
        me = processes.identify()
        self._process = me.as_document() if me else None
        with disk_errors(claim.place.directory):
            self._descriptor = os.open(claim.place.status, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.say("preparing")

    def say(self, state: str) -> None:
        """Say at once how far it is."""
        self._state, self._due = state, 0.0
        self.tick()

    def tick(self) -> None:
        """Give the sign, if it is time."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._heartbeat_s
        self._beat += 1
        moment = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        status = NodeStatus(self._state, self._claim.attempt, self._beat, moment, os.uname().nodename, self._process)
        with contextlib.suppress(OSError):  # else others take it for dead, and it finds their claim
            os.pwrite(self._descriptor, status.to_json(), 0)
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give no more."""
        os.close(self._descriptor)
