"""Processes that die while conda packages are unpacked and linked, many at once, and disks that fill up."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.conda_channel import Channel, File, Package, greeter, python_package
from tests.support.conda_solving import archives_in, solved
from tests.support.jobs import still_there, wait_until

from wardian.digest import Digest
from wardian.errors import DiskFull, InstallFailed
from wardian.events import silent
from wardian.prefix.conda import conda_files, install_conda
from wardian.tools.disk import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.lock.lock import Artifact

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0


def workers(parent: int) -> list[int]:
    """Return the linking processes that ``parent`` has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == parent and b"wardian.package.conda_worker" in command and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def assert_clean(prefix: Path) -> None:
    listed = conda_files(prefix)
    actual = {os.path.relpath(Path(d) / name, prefix) for d, _, names in os.walk(prefix) for name in names}
    assert actual == set(listed)
    assert [path for path, digest in listed.items() if digest and Digest.of_file(prefix / path) != digest] == []


class Place:
    """A channel with a large package, a package that blocks while it is linked, and what an installation needs."""

    def __init__(self, root: Path):
        self.root = root
        self.cache = root / "conda-packages"
        self.gate = root / "gate"  # the blocking package writes its process id to `started`, then waits for this pipe
        os.mkfifo(self.gate)
        self.started = root / "started"
        block = (
            f'#!/bin/sh\necho $$ > "{self.started}.tmp"\nmv "{self.started}.tmp" "{self.started}"\nread line < "{self.gate}"\n'
        )
        blob = os.urandom(64) * 4096
        large = {f"share/large/{i}": blob + str(i).encode() * 50_000 for i in range(120)}
        self.channel = Channel(root / "channel").publish(
            python_package(), greeter(), Package("large", files=large),
            Package("blocks", files={"bin/.blocks-post-link.sh": File(block.encode(), executable=True)}),
        )  # fmt: skip

    def solved(self, *conda: str) -> tuple[Artifact, ...]:
        return solved(self.root, *conda, channels=[self.channel.url])

    def install(self, prefix: Path, artifacts: tuple[Artifact, ...], link_scripts: str = "refuse") -> None:
        install_conda(artifacts, archives_in(self.channel, artifacts), prefix, package_cache=self.cache,
                      link_scripts=link_scripts, listener=silent)  # fmt: skip

    def command(self, prefix: Path, *conda: str, link_scripts: str = "refuse") -> list[str]:
        """Return a command that does the same in a process of its own."""
        code = (
            "import sys; from pathlib import Path; from tests.support.conda_channel import Channel\n"
            "from tests.support.conda_solving import installed\n"
            "root = Path(sys.argv[1])\n"
            "installed(Channel(root / 'channel'), Path(sys.argv[2]), *sys.argv[4:], cache=root, link_scripts=sys.argv[3])\n"
        )
        return [sys.executable, "-c", code, str(self.root), str(prefix), link_scripts, *conda]

    def started_pid(self) -> int:
        """Wait for the blocking package's script, and return its process id."""
        return int(str(wait_until(self.started.read_text, pause_s=0.001)))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(command: list[str], processes: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    processes.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True))
    return processes[-1]


def install_in_thread(
    place: Place, prefix: Path, artifacts: tuple[Artifact, ...], link_scripts: str
) -> tuple[threading.Thread, list[InstallFailed]]:
    errors: list[InstallFailed] = []

    def work() -> None:
        try:
            place.install(prefix, artifacts, link_scripts)
        except InstallFailed as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGABRT], ids=lambda s: s.name)
def test_a_worker_that_dies_while_it_links_fails_the_installation(place: Place, how: signal.Signals) -> None:
    prefix = place.root / "prefix"
    artifacts = place.solved("greeter", "blocks")
    thread, errors = install_in_thread(place, prefix, artifacts, "run")
    script = place.started_pid()
    assert (prefix / "bin/python").exists()  # half done
    (worker,) = workers(os.getpid())
    os.kill(worker, how)
    thread.join(DEADLINE_S)
    assert [error.stable_code for error in errors] == ["linker_died"]
    assert how.name in errors[0].message
    assert not prefix.exists()
    wait_until(lambda: not still_there([script]), pause_s=0.001)
    place.install(prefix, place.solved("greeter"))
    assert_clean(prefix)


def test_a_parent_that_is_killed_takes_worker_and_link_scripts_along(
    place: Place, processes: list[subprocess.Popen[bytes]]
) -> None:
    prefix = place.root / "prefix"
    parent = start(place.command(prefix, "greeter", "blocks", link_scripts="run"), processes)
    script = place.started_pid()
    (worker,) = workers(parent.pid)
    os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not still_there([worker]), pause_s=0.001)
    wait_until(lambda: not still_there([script]), pause_s=0.001)
    assert (prefix / "conda-meta").is_dir()  # left behind, for the next installer to remove
    shutil.rmtree(prefix)
    place.install(prefix, place.solved("greeter"))
    assert_clean(prefix)


def test_an_interrupt_leaves_nothing_behind(place: Place, processes: list[subprocess.Popen[bytes]]) -> None:
    prefix = place.root / "prefix"
    parent = start(place.command(prefix, "greeter", "blocks", link_scripts="run"), processes)
    script = place.started_pid()
    os.kill(parent.pid, signal.SIGINT)
    assert parent.wait(DEADLINE_S) != 0
    assert not prefix.exists()
    wait_until(lambda: not still_there([script]), pause_s=0.001)


@pytest.mark.parametrize("victim", ["worker", "group"])
def test_a_kill_while_packages_are_unpacked_does_no_harm(
    place: Place, processes: list[subprocess.Popen[bytes]], victim: str
) -> None:
    unpacked = place.cache / "unpacked"

    def half_unpacked() -> bool:
        return unpacked.is_dir() and any(entry.name.startswith(".large") for entry in unpacked.iterdir())

    killed = 0
    for attempt in range(30):
        prefix = place.root / f"prefix{attempt}"
        parent = start(place.command(prefix, "greeter", "large"), processes)
        wait_until(lambda parent=parent: half_unpacked() or parent.poll() is not None, pause_s=0.001)  # type: ignore[misc]
        with contextlib.suppress(ProcessLookupError):
            for worker in workers(parent.pid):
                os.kill(worker, signal.SIGKILL)
            if victim == "group":
                os.killpg(parent.pid, signal.SIGKILL)
        if parent.wait(DEADLINE_S) == 0:  # on a busy machine it may be faster than we are: once more, from the beginning
            remove_tree(unpacked, place.root / "trash")
            continue
        killed += 1
        assert victim == "group" or not prefix.exists()
        assert any(entry.name.startswith(".large") for entry in unpacked.iterdir())
        place.install(place.root / f"small{attempt}", place.solved("greeter"))
        assert not half_unpacked()  # the next worker that is alone removes what was left
        if killed == 3:
            break
    assert killed == 3
    prefix = place.root / "prefix"
    place.install(prefix, place.solved("greeter", "large"))
    assert_clean(prefix)


def test_ten_at_once_with_a_cold_cache(place: Place, processes: list[subprocess.Popen[bytes]]) -> None:
    prefixes = [place.root / f"prefix{i}" for i in range(10)]
    for prefix in prefixes:
        start(place.command(prefix, "greeter", "large"), processes)
    assert [process.wait(120) for process in processes] == [0] * 10
    for prefix in prefixes:
        assert_clean(prefix)
        greeting = subprocess.run(
            [prefix / "bin/greet"], capture_output=True, text=True, check=True, env={"PYTHONDONTWRITEBYTECODE": "1"}
        )
        assert greeting.stdout == "hello from greeter 1.0\n"
    inodes = {(prefix / "share/large/0").stat().st_ino for prefix in prefixes}
    assert len(inodes) == 1  # unpacked once


def test_two_archives_of_one_name_do_not_disturb_each_other(place: Place, processes: list[subprocess.Popen[bytes]]) -> None:
    roots = []
    for text in ("one", "two"):
        root = place.root / text
        Channel(root / "channel").publish(
            Package("same", files={f"share/same/{i}": f"{text} {i}\n" * 1000 for i in range(200)})
        )
        (root / "conda-packages").symlink_to(place.root / "shared")
        roots.append(root)
    (place.root / "shared").mkdir()
    code = place.command(place.root, "x")[2]
    for attempt in range(4):
        for root in roots:
            start([sys.executable, "-c", code, str(root), str(root / f"prefix{attempt}"), "refuse", "same"], processes)
    assert [process.wait(120) for process in processes] == [0] * 8
    for root in roots:
        for attempt in range(4):
            assert (root / f"prefix{attempt}/share/same/199").read_text().startswith(root.name)
            assert_clean(root / f"prefix{attempt}")


@pytest.mark.root
@pytest.mark.parametrize("full", ["cache", "prefix"])
def test_a_full_disk_is_named_and_nothing_is_left(place: Place, full: str) -> None:
    small = place.root / "small"
    small.mkdir()
    if (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True, check=False).returncode
        != 0
    ):
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        artifacts = place.solved("large")
        cache = small if full == "cache" else place.cache
        prefix = small / "prefix" if full == "prefix" else place.root / "prefix"
        with pytest.raises(DiskFull) as caught:
            install_conda(
                artifacts,
                archives_in(place.channel, artifacts),
                prefix,
                package_cache=cache,
                link_scripts="refuse",
                listener=silent,
            )
        assert str(small) in caught.value.message
        assert not prefix.exists()
    finally:
        subprocess.run(["umount", small], check=True)
    prefix = place.root / "again"
    place.install(prefix, artifacts)
    assert_clean(prefix)
