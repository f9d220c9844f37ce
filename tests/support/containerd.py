"""A containerd of its own, with everything below one directory, and its `ctr`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.containers import needs
from tests.support.jobs import wait_until
from tests.support.mounts import remove_with_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Containerd:
    """A containerd that answers."""

    place: Path

    def ctr(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Call `ctr`."""
        done = subprocess.run(
            ["ctr", "--address", self.place / "s", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def run(self, image: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of the image ``image``, which is gone afterwards."""
        return self.ctr("run", "--rm", "--snapshotter", "native", image, "wardian-test", *command, check=False)


@contextlib.contextmanager
def containerd() -> Iterator[Containerd]:
    """A containerd, started here and ended here."""
    needs("containerd", "ctr", "runc")
    if os.geteuid() != 0:
        pytest.skip("needs to be root: a containerd")
    place = Path(tempfile.mkdtemp(prefix="wtc-", dir="/tmp"))  # a socket's path is short
    (place / "config.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            ["containerd", "--config", place / "config.toml", "--root", place / "root", "--state", place / "state", "--address", place / "s"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        daemon = Containerd(place)

        def answers() -> bool:
            assert process.poll() is None, (place / "log").read_text()[-2000:]
            return daemon.ctr("version", check=False).returncode == 0

        wait_until(answers, timeout_s=60)
        yield daemon
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        remove_with_mounts(place)
