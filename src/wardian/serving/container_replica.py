"""Replicas in containers of an engine of this machine. They take connections from the endpoint's own socket, too: nothing is in between."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import RunFailed, WardianError
from wardian.image.engine import RUN_LABEL, Container, Mount
from wardian.image.engine_cli import words
from wardian.image.engine_run import ENGINE_CODES
from wardian.serving.directory import CONTROL, LISTENER
from wardian.serving.replica import LISTENER_FD, MARKER, NUMBER
from wardian.tools.disk import write_atomically

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from wardian.image.engine import Command, ContainerEngine
    from wardian.serving.directory import ReplicaDirectory
    from wardian.serving.plan import Plan
    from wardian.serving.replica import Replica

INSIDE = "/wardian/serve"  # a replica's directory, in its container
_ENGINE_S = 60.0
_ODD = re.compile(r"[^A-Za-z0-9/._+@%=-]")  # what the grammar of command lines may take for something else
# the interpreter of the image fetches the endpoint's socket, which no engine passes on, and becomes the server
_FETCH = f"""
import os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
came = socket.recv_fds(line, 1, 1)[1]
os.dup2(came[0], {LISTENER_FD})
os.set_inheritable({LISTENER_FD}, True)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ContainerWay:
    """Starts servers in containers. See ``ReplicaWay``.

    A container gets the endpoint's listening socket through a socket in its replica's directory, which is mounted: engines that are
    daemons pass no descriptors on, the kernel does.
    """

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine
        self.settled = False

    def start(
        self,
        replica_id: str,
        plan: Plan,
        place: ReplicaDirectory,
        log: int,
        listener: socket.socket,
        server: Mapping[str, object],
    ) -> tuple[int, str]:
        """See ``ReplicaWay.start``. Who offers ``listener`` at ``place`` is the keeper."""
        del listener
        told = {
            **server, "listen": {"fd": LISTENER_FD}, "control": f"{INSIDE}/{CONTROL}", "ready": f"{INSIDE}/{place.ready.name}",
        }  # fmt: skip
        write_atomically(place.configuration, json.dumps(told).encode(), 0o600)
        container = self._container(replica_id, plan, place, str(server["deployment"]))
        variables = _plain(place.path, place.path, 0) / "variables"
        command = self._engine.command(container, variables_path=str(variables))
        if command is None:
            raise RunFailed(
                f"{self._engine.name} cannot start a container here", code="container_failed", hint="`wardian doctor`"
            )
        if command.variables_file:
            variables.touch(mode=0o600)
            variables.write_text(command.variables_file)
        try:
            process = subprocess.Popen(
                command.start,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(command.environ),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise RunFailed(f"{self._engine.name} cannot be executed: {error.strerror}", code="container_failed") from error
        process.returncode = 0  # the keeper waits for it; no warning when this object goes
        return process.pid, container.name

    def again(self, replica: Replica, said: str) -> bool:
        """See ``ReplicaWay.again``: engines have several ways, of which one may be refused by this machine."""
        if replica.code not in ENGINE_CODES:
            return False
        with contextlib.suppress(WardianError):
            if self._engine.command(_bare(replica.container), failed=said) is not None:
                return True
        return False

    def explained(self, replica: Replica, said: str) -> str | None:
        """See ``ReplicaWay.explained``: the engine's own words, where it is the engine that failed."""
        return f"the container could not be started: {words(said)}" if replica.code in ENGINE_CODES and said.strip() else None

    def terminate(self, replica: Replica) -> None:
        """See ``ReplicaWay.terminate``."""
        self._call(replica, "terminate")

    def kill(self, replica: Replica) -> None:
        """See ``ReplicaWay.kill``."""
        self._call(replica, "remove")
        for link in _links().glob(f"{replica.id}-*"):
            link.unlink(missing_ok=True)

    def clear(self, replica_id: str) -> None:
        """See ``ReplicaWay.clear``."""
        with contextlib.suppress(WardianError):
            self._engine.remove(lambda labels: labels.get(RUN_LABEL) == replica_id)

    def _call(self, replica: Replica, what: str) -> None:
        with contextlib.suppress(WardianError, OSError, subprocess.TimeoutExpired):
            command: Command | None = self._engine.command(_bare(replica.container))
            if command is not None:
                subprocess.run(getattr(command, what), stdin=subprocess.DEVNULL, capture_output=True, env=dict(command.environ), cwd="/",
                               check=False, timeout=_ENGINE_S)  # fmt: skip

    def _container(self, replica_id: str, plan: Plan, place: ReplicaDirectory, deployment: str) -> Container:
        sources = [_plain(Path(source), place.path, number) for number, (source, _) in enumerate(plan.mounts, 1)]
        mounts = [Mount(_plain(place.path, place.path, 0), INSIDE)]
        mounts += [Mount(source, inside, read_only=True) for source, (_, inside) in zip(sources, plan.mounts, strict=True)]
        python = plan.argv[0]
        return Container(
            name=f"wardian-replica-{replica_id}", image=plan.image,
            command=(python, "-I", "-c", _FETCH, f"{INSIDE}/{LISTENER}", *plan.argv, "--config", f"{INSIDE}/{place.configuration.name}"),
            mounts=tuple(mounts), variables={**plan.variables, MARKER: replica_id, NUMBER: deployment}, directory=plan.directory, cpus=plan.cpus,
            memory_bytes=plan.memory_bytes, gpus=plan.gpus, labels={RUN_LABEL: replica_id},
        )  # fmt: skip


def _bare(name: str) -> Container:
    return Container(name=name, image="", command=("",))


def _plain(path: Path, place: Path, number: int) -> Path:
    """Return a name for ``path`` that every command line can say: its own, or a link's outside of odd directories."""
    if not _ODD.search(str(path)):
        return path
    links = _links()
    links.mkdir(mode=0o700, exist_ok=True)
    if links.is_symlink() or links.stat().st_uid != os.geteuid():
        raise RunFailed(f"{links} belongs to somebody else", code="container_failed", hint="remove it")
    link = links / f"{place.name}-{number}"
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(path)
    return link


def _links() -> Path:
    return Path(tempfile.gettempdir()) / f"wardian-links-{os.geteuid()}"
