"""azureml-inference-server-http as it is on PyPI, running on loopback: the peer of our scoring server."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from tests.support.scoring import Client

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_LAUNCH = """
import azureml_inference_server_http.amlserver as server
server.DEFAULT_HOST = "127.0.0.1"  # else all addresses
server.run()
"""
_PATIENCE_S = 120.0


class AzureServer:
    """Serves one script until the end of the block."""

    def __init__(self, python: Path, directory: Path, script: Path, variables: Mapping[str, str] | None = None):
        directory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("AZUREML", "AML_"))}
        with (directory / "peer.log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(python), "-c", _LAUNCH, "--entry_script", str(script), "--port", str(self.port)],
                cwd=directory, env={**environ, **(variables or {})}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        until = time.monotonic() + _PATIENCE_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise AssertionError((directory / "peer.log").read_text())
            time.sleep(0.05)

    def client(self) -> Client:
        """Open a connection."""
        return Client(("127.0.0.1", self.port))

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return client.ask("GET", "/").status == 200
        except ConnectionError:
            return False
