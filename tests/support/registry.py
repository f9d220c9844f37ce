"""Debian's docker-registry on loopback, started and ended by pid. No pytest in here."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_CONFIGURATION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: "{root}"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: x}}
{auth}"""


class DockerRegistry:
    """A registry of its own in ``directory``, on a free port, from ``with`` to its end; ``host`` is its address.

    Args:     user, password: asked for (Basic); empty: anybody may read and write.
    """

    def __init__(self, directory: Path, *, user: str = "", password: str = ""):
        self.directory = directory
        self.user, self.password = user, password
        self.host = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        auth = ""
        if self.user:
            line = subprocess.run(["htpasswd", "-Bbn", self.user, self.password], check=True, capture_output=True).stdout
            (self.directory / "htpasswd").write_bytes(line)
            auth = f'auth: {{htpasswd: {{realm: r, path: "{self.directory / "htpasswd"}"}}}}\n'
        configuration = self.directory / "registry.yml"
        configuration.write_text(_CONFIGURATION.format(root=self.directory / "data", port=port, auth=auth))
        self.host = f"127.0.0.1:{port}"
        with (self.directory / "log").open("wb") as log:
            command = ["docker-registry", "serve", str(configuration)]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _wait_for(port, self._process)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def requests(self) -> list[str]:
        """Return ``METHOD /path status`` for every request that was answered, in order."""
        lines = (self.directory / "log").read_text().splitlines()
        found = []
        for line in lines:
            if '"' in line and " /v2/" in line and line.startswith("127.0.0.1 "):
                head, _, rest = line.partition('"')[2].partition('"')
                method, path, _ = head.split(" ", 2)
                found.append(f"{method} {path} {rest.split()[0]}")
        return found

    def blob_path(self, digest: str) -> Path:
        """Return the file in which the registry keeps a blob."""
        return self.directory / "data/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"


def why_not() -> str:
    """Return what is missing for this here; empty: nothing."""
    missing = [name for name in ("docker-registry", "htpasswd") if shutil.which(name) is None]
    return f"{', '.join(missing)} missing: scripts/test-tools installs docker-registry and apache2-utils" if missing else ""


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1000):
        assert process.poll() is None, "docker-registry ended"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
        except ConnectionRefusedError:
            time.sleep(0.01)  # nothing tells when it listens
        else:
            return
        finally:
            connection.close()
    raise TimeoutError(port)
