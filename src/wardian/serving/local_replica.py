"""Replicas as processes of this machine."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from wardian.errors import RunFailed
from wardian.serving.directory import CONTROL
from wardian.serving.replica import DIRECTORY_FD, LISTENER_FD, MARKER, NUMBER
from wardian.tools import isolation, processes
from wardian.tools.disk import write_atomically

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from wardian.serving.directory import ReplicaDirectory
    from wardian.serving.plan import Plan
    from wardian.serving.replica import Replica


class LocalWay:
    """Starts servers as processes in sessions of their own, which inherit the endpoint's socket. See ``ReplicaWay``."""

    def __init__(self) -> None:
        self.settled = True

    def start(
        self,
        replica_id: str,
        plan: Plan,
        place: ReplicaDirectory,
        log: int,
        listener: socket.socket,
        server: Mapping[str, object],
    ) -> tuple[int, str]:
        """See ``ReplicaWay.start``."""
        told = {
            **server, "listen": {"fd": LISTENER_FD}, "control": f"/proc/self/fd/{DIRECTORY_FD}/{CONTROL}", "ready": str(place.ready),
        }  # fmt: skip
        write_atomically(place.configuration, json.dumps(told).encode(), 0o600)
        directory = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            pid = _spawn(
                (*plan.argv, "--config", str(place.configuration)), plan.directory, {**plan.variables, MARKER: replica_id, NUMBER: str(server["deployment"])},
                {0: None, 1: log, 2: log, LISTENER_FD: listener.fileno(), DIRECTORY_FD: directory},
                read_only=[Path(path) for path in plan.read_only], writable=[place.path],
            )  # fmt: skip
        finally:
            os.close(directory)
        return pid, ""

    def again(self, replica: Replica, said: str) -> bool:
        """See ``ReplicaWay.again``: there is one way only."""
        del replica, said
        return False

    def explained(self, replica: Replica, said: str) -> str | None:
        """See ``ReplicaWay.explained``."""
        del replica, said
        return None

    def terminate(self, replica: Replica) -> None:
        """See ``ReplicaWay.terminate``."""
        processes.send(replica.process, signal.SIGTERM)

    def kill(self, replica: Replica) -> None:
        """See ``ReplicaWay.kill``."""
        processes.send(replica.process, signal.SIGKILL)
        self.clear(replica.id)

    def clear(self, replica_id: str) -> None:
        """See ``ReplicaWay.clear``."""
        for pid in processes.with_variable(MARKER, replica_id):
            processes.kill(pid, signal.SIGKILL)


def _spawn(
    argv: Sequence[str], directory: str, variables: Mapping[str, str], descriptors: Mapping[int, int | None], *, read_only: Sequence[Path], writable: Sequence[Path]
) -> int:  # fmt: skip
    """Start a program in a session of its own; return its number once it is executed.

    Args:     descriptors: number there → descriptor here; None: it reads nothing.  read_only: must be so for root, too.
    Raises:   RunFailed: ``server_not_started``, ``isolation_refused``.
    """
    report, reporter = os.pipe()
    child = os.fork()
    if child == 0:
        _become(argv, directory, variables, descriptors, reporter, read_only, writable)
    os.close(reporter)
    trouble = b"".join(iter(lambda: os.read(report, 65536), b"")).decode(errors="replace")
    os.close(report)
    if trouble:
        os.waitpid(child, 0)
        kind, _, said = trouble.partition(":")
        if kind == "isolation":
            raise RunFailed(f"the environment cannot be made read-only for root here: {said}", code="isolation_refused",
                            hint="let an ordinary user deploy, or allow mount namespaces")  # fmt: skip
        raise RunFailed(f"`{argv[0]}` could not be started: {said}", code="server_not_started")
    return child


def _become(
    argv: Sequence[str], directory: str, variables: Mapping[str, str], descriptors: Mapping[int, int | None], reporter: int,
    read_only: Sequence[Path], writable: Sequence[Path],
) -> NoReturn:  # fmt: skip
    stage = "isolation"
    try:
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGCHLD,
            signal.SIGPIPE,
            signal.SIGUSR1,
            signal.SIGXFSZ,
        ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.setsid()
        if read_only and isolation.is_needed():
            isolation.bind_read_only(read_only, writable=writable)
        stage = "exec"
        os.chdir(directory)
        # copied first, above all targets, so that none is overwritten before its turn
        highest = max(descriptors) + 1
        copies = {
            there: _copied(os.open(os.devnull, os.O_RDONLY) if here is None else here, highest)
            for there, here in descriptors.items()
        }
        report = _copied(reporter, highest)
        for there, here in copies.items():
            os.dup2(here, there, inheritable=True)
        reporter = report
        os.execvpe(argv[0], list(argv), dict(variables))  # noqa: S606 - the interpreter of the environment
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        os.write(reporter, f"{stage}:{said}".encode())
    finally:
        os._exit(127)


def _copied(descriptor: int, lowest: int) -> int:
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
