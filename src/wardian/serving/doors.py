"""What a keeper waits for: signals, ends of replicas, questions of its owner, and containers that fetch the endpoint's socket."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from typing import TYPE_CHECKING, Any

from wardian.serving.directory import LISTENER
from wardian.serving.sockets import offer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardian.tools.processes import ProcessIdentity

OWNER = "keeper"  # the socket through which an endpoint's owner asks its keeper
_QUESTION_BYTES = 1 << 16
_QUESTION_S = 2.0


class Doors:
    """The one place where a keeper sleeps.

    Args:     answer: what the owner is told.

    Attributes:
        asked_to_end: whether SIGTERM, SIGINT or SIGHUP came: the keeper goes, its replicas stay.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.asked_to_end = False
        self._answer = answer
        self._owner: socket.socket | None = None
        self._offers: dict[Path, tuple[socket.socket, socket.socket]] = {}
        self._wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ends = (self._wake, woken)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)

    def _end(self, *_: object) -> None:
        self.asked_to_end = True

    def open_to_owner(self, directory: Path) -> None:
        """Let the owner ask, through a socket in ``directory``."""
        self._owner = offer(directory / OWNER)

    def offer_listener(self, place: Path, listener: socket.socket) -> None:
        """Give ``listener`` to whoever connects to the socket in ``place``, once."""
        self.close_listener(place)
        self._offers[place] = offer(place / LISTENER), listener

    def close_listener(self, place: Path) -> None:
        """Give it to nobody any more."""
        if place in self._offers:
            self._offers.pop(place)[0].close()

    def wait(self, timeout_s: float, watched: Sequence[ProcessIdentity]) -> None:
        """Wait until something happens, at most ``timeout_s`` seconds, and serve who knocks."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        knocks: dict[int, Callable[[], None]] = {}
        if self._owner is not None:
            knocks[self._owner.fileno()] = self._hear_owner
        for place, (offered, _) in self._offers.items():
            knocks[offered.fileno()] = lambda place=place: self._hand_over(place)  # type: ignore[misc]
        for descriptor in knocks:
            poll.register(descriptor, select.POLLIN)
        with contextlib.ExitStack() as handles:
            for process in watched:
                with contextlib.suppress(OSError):  # it has ended, or the kernel is an old one: the next look sees it
                    handle = os.pidfd_open(process.pid)
                    handles.callback(os.close, handle)
                    poll.register(handle, select.POLLIN)
            for descriptor, _ in poll.poll(max(timeout_s, 0.0) * 1000):
                if descriptor == self._wake:
                    with contextlib.suppress(BlockingIOError):
                        while os.read(self._wake, 1024):
                            pass
                elif descriptor in knocks:
                    knocks[descriptor]()

    def _hand_over(self, place: Path) -> None:
        offered, listener = self._offers[place]
        with contextlib.suppress(OSError):
            line, _ = offered.accept()
            with line:
                line.settimeout(_QUESTION_S)
                socket.send_fds(line, [b"\n"], [listener.fileno()])

    def _hear_owner(self) -> None:
        assert self._owner is not None  # noqa: S101 - registered only then
        with contextlib.suppress(OSError, ValueError):
            line, _ = self._owner.accept()
            with line:
                line.settimeout(_QUESTION_S)
                said = b""
                while b"\n" not in said and len(said) < _QUESTION_BYTES and (piece := line.recv(4096)):
                    said += piece
                question = json.loads(said)
                line.sendall(json.dumps(self._answer(question if isinstance(question, dict) else {})).encode() + b"\n")

    def close(self) -> None:
        """Close all."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        for end in self._ends:
            os.close(end)
        for offered, _ in self._offers.values():
            offered.close()
        if self._owner is not None:
            self._owner.close()
