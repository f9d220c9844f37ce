"""A real sshd on loopback, in the foreground, with its own host key and a user key: nothing of this machine's configuration counts.

Nothing here imports pytest.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.jobs import wait_until

from wardian.run.targets.ssh_connection import SshHosts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAMS = ("sshd", "ssh", "ssh-keygen")
_SBIN = "/usr/sbin"
_CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {place}/host_key
AuthorizedKeysFile {place}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100:30:200
MaxSessions 100
LogLevel ERROR
"""


def why_not() -> str:
    """Return why there is no sshd here; empty: there is."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}") is None]
    return f"{', '.join(missing)} not found: apt-get install openssh-server openssh-client" if missing else ""


@dataclass
class Sshd:
    """An sshd from ``with`` to its end, and what a client needs to reach it."""

    place: Path
    port: int = 0
    extra: str = ""  # lines of its configuration
    _given: list[SshHosts] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.place.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "user_key"):
            if not (self.place / name).exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.place / name], check=True)
        shutil.copy(self.place / "user_key.pub", self.place / "authorized_keys")
        self.start()
        return self

    def start(self) -> None:
        """Start it, on the port that it had before."""
        Path("/run/sshd").mkdir(exist_ok=True)
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        (self.place / "sshd_config").write_text(_CONFIGURATION.format(port=self.port, place=self.place) + self.extra)
        self.note_host_key()
        with (self.place / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [shutil.which("sshd", path=_SBIN) or "sshd", "-D", "-e", "-f", self.place / "sshd_config"], stderr=log
            )
        wait_until(self.answers, process=self.process)

    def answers(self) -> bool:
        """Return whether it takes connections."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def note_host_key(self, port: int | None = None) -> None:
        """Let the client know the host's key."""
        key = (self.place / "host_key.pub").read_text()
        names = [f"[{name}]:{port or self.port}" for name in ("127.0.0.1", "localhost")]
        with (self.place / "known_hosts").open("a") as known:
            known.writelines(f"{name} {key}" for name in names)

    def stop(self) -> None:
        """End it, and the connections that clients keep."""
        for hosts in self._given:
            hosts.close()
        self.process.terminate()
        self.process.wait()

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def options(self, **changes: str) -> dict[str, str]:
        """Return the options of a target."""
        given = {"hosts": "127.0.0.1", "port": str(self.port), "user": pwd.getpwuid(os.geteuid()).pw_name, "identity": str(self.place / "user_key"),
                 "known_hosts": str(self.place / "known_hosts"), "config": "/dev/null"}  # fmt: skip
        return given | changes

    def twice(self, place: Path) -> dict[str, str]:
        """Return the options by which this machine is two, ``a`` and ``b``; the configuration file that says so lies in ``place``."""
        place.mkdir(exist_ok=True)
        lines = (f"Host {name}\n  HostName 127.0.0.1\n  HostKeyAlias [127.0.0.1]:{self.port}\n" for name in "ab")
        (place / "ssh_config").write_text("".join(lines))
        return {"hosts": "a,b", "config": str(place / "ssh_config")}

    @contextlib.contextmanager
    def hosts(self, **changes: str) -> Iterator[SshHosts]:
        """Yield the machines of a target, and end its connections."""
        found = self.hosts_of(self.options(**changes))
        try:
            yield found
        finally:
            found.close()

    def hosts_of(self, options: Mapping[str, str]) -> SshHosts:
        """Return the machines of a target; sockets of kept connections are this server's own."""
        found = SshHosts(options, {**os.environ, "XDG_RUNTIME_DIR": self.sockets})
        self._given.append(found)
        return found

    @property
    def sockets(self) -> str:
        """A directory for sockets, with a short name."""
        if not hasattr(self, "_sockets"):
            self._sockets = tempfile.mkdtemp(prefix="wt-", dir="/tmp")
        return self._sockets
