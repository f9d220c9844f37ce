"""Container engines for tests: their storage in a directory of its own, small images, and nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.accounts import NOBODY
from tests.support.mounts import remove_with_mounts

from wardian.image.engine_docker import DockerEngine
from wardian.image.engine_podman import PodmanEngine
from wardian.run.targets.target import JobImage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wardian.image.engine import LocalImage
    from wardian.run.configuration import Resources
    from wardian.run.targets.container import ContainerTarget
    from wardian.run.targets.target import Ended, Job, Observer, Stop

BUSYBOX, PYTHON, R, STATIC = "busybox", "python", "r", "static"  # the images; the last holds one program, and no shell
PYTHONS = Path(tempfile.gettempdir(), f"wardian-tests-pythons-{os.geteuid()}")  # the launcher's, made once
IN_IMAGE = "/usr/bin/python3"  # the interpreter of the second
_DEBIAN = {
    BUSYBOX: "busybox-static",
    STATIC: "busybox-static",
    PYTHON: "busybox-static,python3,coreutils,libc-bin,ca-certificates",
    R: "r-base-core,dash,bash,coreutils,debianutils,grep,sed,gzip,libc-bin",
}
# what Debian's scripts do when r-base-core is installed, as far as Rscript needs it
_R_HOOK = (
    '; cp "$1/usr/lib/R/etc/Renviron.ucf" "$1/etc/R/Renviron"; for name in blas lapack; do '
    'ln -sf $name/lib$name.so.3 "$1/usr/lib/x86_64-linux-gnu/lib$name.so.3"; done; ln -sf which.debianutils "$1/usr/bin/which"; rm -rf "$1/usr/share/doc" "$1/usr/share/man" "$1/usr/share/locale"'
)
_APPLETS = (
    "sh",
    "cat",
    "ls",
    "env",
    "echo",
    "id",
    "sleep",
    "stat",
    "test",
    "touch",
    "mkdir",
    "true",
    "false",
    "kill",
    "pwd",
    "rm",
    "cp",
    "wc",
)
_CREATED = "2024-01-01T00:00:00Z"
IMAGE_VARIABLES = ("PATH=/usr/local/bin:/usr/bin:/bin", "FROM_IMAGE=yes")


def needs(*programs: str) -> None:
    """Skip the test if a program is missing that scripts/test-tools installs where it may."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: scripts/test-tools installs it as root where apt-get is")


def archive(which: str, shared: Path) -> Path:
    """Return a docker archive of the image ``which``, made once per test session, for all of its processes.

    Args:     shared: a directory that all processes of the session see.
    """
    path = shared / f"image-{which}.tar"
    with (shared / f"image-{which}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            root = shared / f"root-{which}.tar"
            _debian_root(which, root)
            _write_archive(root.read_bytes(), f"localhost/wardian-tests/{which}:1", path)
            root.unlink()
    return path


def _debian_root(which: str, target: Path) -> None:
    needs("mmdebstrap")
    links = "; ".join(f'[ -e "$1/bin/{name}" ] || ln -s busybox "$1/bin/{name}"' for name in _APPLETS)
    hook = (
        'mkdir -p "$1/bin" "$1/tmp" "$1/etc"; chmod 1777 "$1/tmp"; printf "root:x:0:0::/root:/bin/sh\\n" > "$1/etc/passwd"; '
        f'printf "root:x:0:\\n" > "$1/etc/group"; {links}'
    )
    if which == STATIC:
        hook = "true"
    elif which == R:
        hook = hook.removesuffix(f"; {links}") + _R_HOOK
    elif which == PYTHON:
        hook += '; mkdir -p "$1/etc/ssl/certs"; rm -rf "$1/usr/share/doc" "$1/usr/share/man" "$1/usr/share/locale"'
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=extract", f"--include={_DEBIAN[which]}", f"--extract-hook={hook}", "bookworm", str(target)],
        capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "TMPDIR": "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp", "HOME": "/root"},
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"no Debian packages for an image can be had here: {done.stderr.strip().splitlines()[-1:]}")


def _write_archive(layer: bytes, tag: str, path: Path) -> None:
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": list(IMAGE_VARIABLES)}, "created": _CREATED, "history": [{"created": _CREATED, "created_by": "tests"}],
              "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}}  # fmt: skip
    text = json.dumps(config).encode()
    name = hashlib.sha256(text).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode()
    half = path.with_suffix(".half")
    with tarfile.open(half, "w") as tar:
        for member, content in ((name, text), ("layer.tar", layer), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    half.replace(path)


@dataclass
class PodmanSpace:
    """podman's storage and configuration below one directory."""

    place: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        place = self.place
        (place / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/graph"\nrunroot = "{place}/run"\n'
            '[storage.options.overlay]\nignore_chown_errors = "true"\n'  # an account without subordinate ids has one user only
        )
        (place / "registries.conf").write_text("unqualified-search-registries = []\n")
        (place / "containers.conf").write_text(
            f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\ntmp_dir = "{place}/tmp"\n'
        )
        (place / "home").mkdir()
        self.environ = {
            "PATH": os.environ["PATH"], "HOME": str(place / "home"), "LANG": "C.UTF-8",
            "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"), "CONTAINERS_REGISTRIES_CONF": str(place / "registries.conf"),
            "CONTAINERS_CONF": str(place / "containers.conf"), "XDG_RUNTIME_DIR": str(place / "runtime"), "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        (place / "runtime").mkdir(mode=0o700)
        (place / "environ.json").write_text(json.dumps({"engine": "podman", **self.environ}))

    def engine(self, memory: Path | None = None) -> PodmanEngine:
        """Return podman over this storage; ``memory``: default is this space's own."""
        return PodmanEngine(self.environ, memory=memory or self.place / "memory")

    def names(self) -> list[str]:
        """Return the names of all containers that are here, running or not."""
        return self.engine().call("ps", "--all", "--format", "{{.Names}}").stdout.split()

    def close(self) -> None:
        """Remove everything."""
        self.engine().call("rm", "--all", "--force", "--time", "0")
        for pause in self.place.glob("**/pause.pid"):  # a process that rootless podman leaves, for its user namespace
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pause.read_text()), signal.SIGKILL)
        remove_with_mounts(self.place)


@contextlib.contextmanager
def podman_space() -> Iterator[PodmanSpace]:
    """podman with nothing in it."""
    needs("podman", "runc")
    space = PodmanSpace(Path(tempfile.mkdtemp(prefix="wt-podman-")))
    try:
        yield space
    finally:
        space.close()


@dataclass
class Dockerd:
    """A docker daemon of its own."""

    place: Path
    environ: Mapping[str, str]
    process: subprocess.Popen[bytes]

    def engine(self, memory: Path | None = None) -> DockerEngine:
        """Return docker on this daemon."""
        return DockerEngine(self.environ, memory=memory or self.place / "memory")

    def names(self) -> list[str]:
        """Return the names of all containers that are here, running or not."""
        return self.engine().call("ps", "--all", "--format", "{{.Names}}").stdout.split()


@contextlib.contextmanager
def dockerd() -> Iterator[Dockerd]:
    """A docker daemon whose files are all in one directory, without bridges and firewall rules."""
    needs("dockerd", "docker")
    if os.geteuid() != 0:
        pytest.skip("needs to be root: a docker daemon")
    place = Path(tempfile.mkdtemp(prefix="wtd-", dir="/tmp"))  # a socket's path is short
    (place / "daemon.json").write_text("{}")
    host = f"unix://{place}/s"
    log = (place / "log").open("wb")
    process = subprocess.Popen(
        ["dockerd", "--config-file", str(place / "daemon.json"), "--host", host, "--data-root", str(place / "d"), "--exec-root",
         str(place / "e"), "--pidfile", str(place / "p"), "--iptables=false", "--ip6tables=false", "--bridge=none"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    environ = {"PATH": os.environ["PATH"], "HOME": str(place), "DOCKER_HOST": host, "LANG": "C.UTF-8"}
    try:
        (place / "environ.json").write_text(json.dumps({"engine": "docker", **environ}))
        daemon = Dockerd(place, environ, process)
        _wait_for(daemon)
        yield daemon
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        log.close()
        remove_with_mounts(place)


def _wait_for(daemon: Dockerd) -> None:
    from tests.support.jobs import wait_until

    def answers() -> bool:
        assert daemon.process.poll() is None, (daemon.place / "log").read_text()[-2000:]
        return daemon.engine().call("version").returncode == 0

    wait_until(answers, timeout_s=60)


@dataclass
class InImage:
    """A target for jobs of this machine's Python: it runs them by the one in an image."""

    target: ContainerTarget
    image: LocalImage
    name: str = "in an image"

    def check(self, resources: Resources) -> None:
        """See ``Target.check``."""
        self.target.check(resources)

    def run(self, job: Job, observer: Observer, stop: Stop) -> Ended:
        """See ``Target.run``."""
        argv = (IN_IMAGE, *job.argv[1:]) if job.argv[0] == sys.executable else job.argv
        return self.target.run(replace(job, argv=argv, image=JobImage(self.image.id)), observer, stop)


def give_to_nobody(place: Path) -> None:
    """Let the account of ``tests.support.accounts`` own all below ``place``."""
    for path in [place, *place.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
