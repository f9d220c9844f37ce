"""Mounts that nobody else sees: a mount namespace of a test's own, and commands that are executed in it. Needs root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.accounts import REPOSITORY

if TYPE_CHECKING:
    from tests.support.accounts import CliAs

# it ends when the test does, however that ends: its input is closed then; and with the last process in it the namespace goes
_KEEPER = "mount --make-rslave / && echo ready && cat"


def remove_with_mounts(place: Path) -> None:
    """Remove ``place`` with the mounts that container tools left in it."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{place}/")]):
        subprocess.run(["umount", mount], capture_output=True, check=False)
    shutil.rmtree(place, ignore_errors=True)


class Namespace:
    """A private mount namespace, from ``with`` to its end."""

    def __enter__(self) -> Self:
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == b"ready\n"
        self._servers: list[subprocess.Popen[bytes]] = []
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.kill()
            server.communicate()
        self._keeper.communicate()

    def wrapper(self, directory: Path) -> list[str]:
        """Return what a command begins with that is to be executed here, in ``directory``."""
        enter = ["nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt", "--"]
        return [*enter, "sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(directory)]

    def run(self, *command: str) -> str:
        """Execute a command here that must succeed, and return what it wrote."""
        return subprocess.run([*self.wrapper(REPOSITORY), *command], check=True, capture_output=True, text=True).stdout

    def see(self, path: Path) -> Path:
        """Return where this process finds ``path`` as it is here."""
        return Path(f"/proc/{self._keeper.pid}/root{path}")

    def mount(self, *arguments: str) -> None:
        """Call mount(8)."""
        self.run("mount", *arguments)

    def tmpfs(self, target: Path, size_bytes: int, *, inodes: int = 0) -> None:
        """Mount an empty file system in memory of this size, rounded up to pages."""
        self.run("mkdir", "-p", str(target))
        self.mount("-t", "tmpfs", "-o", f"size={size_bytes},nr_inodes={inodes},mode=755", "tmpfs", str(target))

    def resize(self, target: Path, size_bytes: int) -> None:
        """Change the size of a ``tmpfs``."""
        self.mount("-o", f"remount,size={size_bytes}", str(target))

    def fuse(self, target: Path, store: Path, kind: str = "fuse") -> None:
        """Mount a file system without hard links that calls itself ``kind`` (``fuse.sshfs``: a network's); it keeps its files in ``store``."""
        store.mkdir(parents=True, exist_ok=True)
        self.run("mkdir", "-p", str(target))
        command = [*self.wrapper(REPOSITORY), sys.executable, "-m", "tests.support.fuse", str(store), str(target), kind]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == b"mounted\n"

    def move_in(self, cli: CliAs) -> CliAs:
        """Let ``cli`` make its calls here; its settings are copied into the home as it is here."""
        text = (cli.home / "config.toml").read_text()
        cli.wrapper = self.wrapper(cli.directory)
        (self.see(cli.home) / "config.toml").write_text(text)
        return cli


def why_not() -> str:
    """Return what is missing for this here; empty: nothing."""
    missing = [name for name in ("unshare", "nsenter", "mount") if shutil.which(name) is None]
    return f"{', '.join(missing)} missing: install util-linux" if missing else ""
