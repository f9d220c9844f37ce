"""Single flight: of several processes that want one thing made, one makes it; the others see its log and share its error."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from wardian.errors import WardianError
from wardian.events import Event
from wardian.small_file import read_small
from wardian.tools.disk import FileLock, disk_errors, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import RawIOBase
    from pathlib import Path

    from wardian.events import Listener

_SHORTEST_S, _LONGEST_S = 0.01, 0.25
_LONGEST_LOG_BYTES = 16 << 20


class SharedFailure(WardianError):
    """Another process made the same thing while this one waited, and failed: its error, with its code, hint and exit code."""

    def __init__(self, document: dict[str, Any]):
        known = {"message", "hint", "code", "exit_code", "at"}
        super().__init__(str(document.get("message", "it failed")), hint=document.get("hint"), code=document.get("code"),
                         details={key: value for key, value in document.items() if key not in known})  # fmt: skip
        self.exit_code = int(document.get("exit_code", 1))  # type: ignore[misc]  # of the class in general, of this one here


class Flight:
    """The right to make one thing on this machine. Safe across processes; it ends with the process that has it.

    Files: ``<path>.lock``, ``<path>.log`` (what the holder's listener hears, as JSON lines) and ``<path>.failed``.
    """

    def __init__(self, path: Path):
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._log = path.with_name(path.name + ".log")
        self._failed = path.with_name(path.name + ".failed")

    @classmethod
    def of(cls, directory: Path, name: str) -> Flight:
        """Return the flight called ``name`` among those of ``directory``, which is made if it is not there."""
        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        return cls(directory / name)

    @contextlib.contextmanager
    def lead(self, listener: Listener, is_made: Callable[[], bool]) -> Iterator[Listener | None]:
        """Yield the listener to make the thing with; None: it has been made, nothing is to be done.

        While another process makes it, its events are passed on to ``listener``. If it fails, its error is raised here too. If
        it ends without a word, the next one in line makes it.

        Raises:   SharedFailure: as the process that made it failed.
        """
        waited_since = None if self._lock.try_acquire() else time.time_ns()
        if waited_since is not None:
            self._follow(listener)
        try:
            if is_made():
                yield None
                return
            if waited_since is not None and (error := self._failure_since(waited_since)) is not None:
                raise error
            self._log.unlink(missing_ok=True)
            self._failed.unlink(missing_ok=True)
            with self._log.open("ab", buffering=0) as log:  # what could not be written must not come up again when it is closed
                try:
                    yield _Tee(listener, log)
                except WardianError as error:
                    document = {**error.as_document(), "at": time.time_ns(), "exit_code": error.exit_code}
                    with contextlib.suppress(OSError, WardianError):  # a full disk, perhaps: then each one finds out for itself
                        write_atomically(self._failed, json.dumps(document).encode())
                    raise
            self._log.unlink(missing_ok=True)
        finally:
            self._lock.release()

    def _follow(self, listener: Listener) -> None:
        """Pass on what the holder says until its lock is free; then have it."""
        listener(Event("phase", "waiting for another process that makes the same thing"))
        position, pause_s = 0, _SHORTEST_S
        while not self._lock.try_acquire():
            found, position = _events(self._log, position)
            for event in found:
                listener(event)
            pause_s = _SHORTEST_S if found else min(pause_s * 1.5, _LONGEST_S)
            time.sleep(pause_s)

    def _failure_since(self, moment_ns: int) -> SharedFailure | None:
        try:
            document: dict[str, Any] = json.loads(read_small(self._failed))
            return SharedFailure(document) if int(document["at"]) >= moment_ns else None
        except (OSError, ValueError, KeyError, TypeError):  # none, or it is damaged: then the thing is tried
            return None


class _Tee:
    def __init__(self, listener: Listener, log: RawIOBase):
        self._listener = listener
        self._log = log

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(OSError):
            if self._log.tell() < _LONGEST_LOG_BYTES:
                line = json.dumps([event.kind, event.text, event.done, event.total, event.data], default=str)
                self._log.write(line.encode() + b"\n")
        self._listener(event)


def _events(log: Path, position: int) -> tuple[list[Event], int]:
    """Return the whole lines behind ``position`` as events, and where the next begin."""
    try:
        with log.open("rb") as stream:
            if log.stat().st_size < position:
                position = 0  # another holder began anew
            stream.seek(position)
            content = stream.read()
    except OSError:
        return [], 0
    lines = content[: content.rfind(b"\n") + 1]
    found = []
    for line in lines.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            kind, text, done, total, data = json.loads(line)
            found.append(Event(kind, text, done, total, data))
    return found, position + len(lines)
