"""Homes and caches on all kinds of file systems: other mounts, no hard links, networked, full, read-only; and no network at all."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.accounts import CliAs
from tests.support.cli import Cli, Done
from tests.support.conda_channel import PLACEHOLDER, Channel, File, Package, greeter, python_package
from tests.support.mounts import Namespace, why_not
from tests.support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.index import Index

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(why_not()), reason=why_not())]

MIB = 1 << 20
SIZE_BYTES = 2_000_000
SHOW = "import sys; print(sys.version_info[0])\n"


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    large = os.urandom(SIZE_BYTES)
    return Channel(tmp_path_factory.mktemp("channel")).publish(
        python_package(), greeter(),
        Package("large", files={"share/large.bin": large, **{f"share/{n}.txt": str(n) for n in range(50)}}),
        Package("placed", files={"share/placed.bin": File(large + PLACEHOLDER.encode(), placeholder="binary")}),
    )  # fmt: skip


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace() as found:
        yield found


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    place = tmp_path / "wheels"
    index.add(make_wheel(place, "alpha", "1.0"))
    index.add(make_sdist(place, "built", "1.0"))
    index.add(make_wheel(place, "large", "1.0", files={"large/__init__.py": "", "large/data.bin": os.urandom(SIZE_BYTES)}))
    return index


@pytest.fixture
def cli(shop: Index, channel: Channel, tmp_path: Path) -> CliAs:
    config = f'lock_platforms = ["linux/amd64"]\n[channels]\nlocal = "{channel.url}"\n'
    found = CliAs(**vars(Cli.at(tmp_path / "one", index_url=shop.url)))
    (found.home / "config.toml").write_text((found.home / "config.toml").read_text() + config.partition("\n")[2])
    found.write("uv.txt", "alpha\nbuilt\n")
    found.write("large.txt", "large\n")
    found.write("conda.yml", "channels: [local]\ndependencies: [python, greeter]\n")
    found.write("large.yml", "channels: [local]\ndependencies: [large, placed]\n")
    found.write("show.py", SHOW)
    return found


def error_of(done: Done) -> dict[str, Any]:
    return dict(json.loads(done.err.strip().splitlines()[-1])["error"])


def works(cli: CliAs) -> None:
    """With uv, a source distribution, and conda: installed, run, verified, used again."""
    for definition in ("uv.txt", "conda.yml"):
        assert cli.ok("run", "-f", definition, "show.py").out == "3\n"
        assert cli.json("env", "verify", definition)["clean"]
        assert "cached" in cli.ok("run", "-f", definition, "show.py").err


# -- mounts --------------------------------------------------------------------------------------------------------


def test_home_cache_and_project_on_three_mounts(cli: CliAs, namespace: Namespace) -> None:
    namespace.tmpfs(cli.home, 64 * MIB)
    namespace.move_in(cli)
    namespace.mount("--bind", str(cli.directory), str(cli.directory))
    works(cli)
    run = cli.json("runs", "list")["runs"][0]["id"]
    cli.ok("runs", "delete", run, "--yes")
    assert len(cli.json("runs", "list")["runs"]) == 3
    assert "removed" in cli.ok("gc", "--all", "--apply").out
    works(cli)


def test_every_part_of_the_cache_on_a_mount_of_its_own(cli: CliAs, namespace: Namespace) -> None:
    for name in ("packages", "uv", "conda-packages", "prefixes", "registry"):
        namespace.tmpfs(cli.cache / name, 256 * MIB)
    namespace.move_in(cli)
    works(cli)


def test_a_cache_without_hard_links(cli: CliAs, namespace: Namespace, tmp_path: Path) -> None:
    namespace.fuse(cli.cache, tmp_path / "store")
    namespace.move_in(cli)
    some = namespace.see(cli.cache) / "some"
    some.touch()
    with pytest.raises(PermissionError):
        some.with_name("other").hardlink_to(some)
    some.unlink()
    works(cli)


def test_a_home_on_a_network_file_system(cli: CliAs, namespace: Namespace, tmp_path: Path) -> None:
    namespace.fuse(cli.home, tmp_path / "store", "fuse.sshfs")
    namespace.move_in(cli)
    first = cli.ok("run", "-r", "uv.txt", "show.py")
    assert first.err.count("network file system (fuse.sshfs)") == 1
    assert first.err.count("rollback journal") == 1
    second = cli.ok("run", "-r", "uv.txt", "show.py")
    assert "network file system" not in second.err
    workspace = namespace.see(cli.home) / "workspaces/default"
    assert not [*workspace.glob("workspace.db-*")], "neither a WAL nor shared memory, and no journal is left"
    assert (workspace / "workspace.db").read_bytes()[18:20] == b"\1\1", "SQLite's header: rollback journal"
    processes = [cli.start("run", "-r", "uv.txt", "show.py") for _ in range(4)]
    assert [process.communicate(timeout=120)[0] for process in processes] == ["3\n"] * 4
    assert [run["state"] for run in cli.json("runs", "list")["runs"]] == ["completed"] * 6


# -- full disks ----------------------------------------------------------------------------------------------------


def fetch(cli: CliAs) -> list[str]:
    return ["-r", "large.txt", "show.py"]


def conda(cli: CliAs) -> list[str]:
    return ["-f", "large.yml", "--", "/bin/true"]


def snapshot(cli: CliAs) -> list[str]:
    (cli.directory / "data.bin").write_bytes(os.urandom(4 * SIZE_BYTES))
    return fetch(cli)


FULL: list[tuple[str, str, int, Callable[[CliAs], list[str]]]] = [
    ("records", "home", MIB // 8, fetch),
    ("snapshot", "home", 6 * MIB, snapshot),
    ("solve", "cache/uv", 4096, fetch),
    ("lock", "cache/registry", 4096, fetch),
    ("fetch", "cache/packages", MIB, fetch),
    ("unpack", "cache/uv", MIB, fetch),
    ("link", "cache/prefixes", MIB, fetch),
    ("fetch conda", "cache/packages", MIB, conda),
    ("unpack conda", "cache/conda-packages", MIB, conda),
    ("link conda", "cache/prefixes", MIB, conda),
]


@pytest.mark.parametrize(("phase", "place", "size_bytes", "arguments"), FULL, ids=[row[0] for row in FULL])
def test_a_full_disk_is_told_and_nothing_half_written_counts(
    cli: CliAs, namespace: Namespace, phase: str, place: str, size_bytes: int, arguments: Callable[[CliAs], list[str]]
) -> None:
    where = cli.home.parent / place
    namespace.tmpfs(where, size_bytes)
    namespace.move_in(cli)
    call = ["run", "--json", *arguments(cli)]
    done = cli.run(*call)
    assert done.code == 125, done
    error = error_of(done)
    assert error["code"] == "disk_full"
    assert str(where) in error["message"]
    assert error["free_bytes"] < 6 * MIB
    if phase not in ("records", "lock", "solve"):
        assert error["needed_bytes"] > SIZE_BYTES
        assert f"{error['needed_bytes']:,} bytes are needed" in error["message"]
    assert not [*namespace.see(cli.cache).glob("prefixes/*/.wardian/ready.json")]
    assert not [*namespace.see(cli.cache).glob("prefixes/trash/*"), *namespace.see(cli.cache).glob("packages/tmp/*")]
    namespace.resize(where, 64 * MIB)
    cli.ok(*call)
    assert cli.json("env", "verify", call[3])["clean"]
    states = [run["state"] for run in cli.json("runs", "list")["runs"]]
    assert states[0] == "completed"
    assert set(states[1:]) <= {"failed"}


def test_at_whatever_point_of_an_installation_the_disk_is_full(cli: CliAs, namespace: Namespace) -> None:
    """The cache grows by 4 KiB a try: each is told, nothing of it counts; at last it fits, and is whole."""
    cli.write("small.txt", "alpha\n")
    namespace.tmpfs(cli.cache / "prefixes", 4096)
    namespace.move_in(cli)
    cli.ok("env", "lock", "small.txt")
    sizes = range(4096, 64 * 4096, 8192)
    ended: list[int] = []
    for size_bytes in sizes:
        namespace.resize(cli.cache / "prefixes", size_bytes)
        done = cli.run("run", "--json", "-r", "small.txt", "show.py")
        ended.append(done.code)
        if done.code == 0:
            break
        assert (done.code, error_of(done)["code"]) == (125, "disk_full"), done.err
        assert not [*namespace.see(cli.cache).glob("prefixes/*/.wardian/ready.json")]
    assert ended[-1] == 0
    assert ended.count(125) >= 5, "it was full at several points"
    assert cli.json("env", "verify", "small.txt")["clean"]


def test_no_inodes_left(cli: CliAs, namespace: Namespace) -> None:
    namespace.tmpfs(cli.cache / "prefixes", 64 * MIB, inodes=12)
    namespace.move_in(cli)
    error = error_of(cli.run("run", "--json", "-r", "uv.txt", "show.py"))
    assert error["code"] == "disk_full"
    assert "no inodes are left" in error["message"]
    namespace.mount("-o", "remount,nr_inodes=0", str(cli.cache / "prefixes"))
    cli.ok("run", "-r", "uv.txt", "show.py")


def test_a_log_that_fills_the_disk_does_not_stop_the_script(cli: CliAs, namespace: Namespace) -> None:
    cli.write(
        "loud.py",
        "for _ in range(20000): print('x' * 1000)\nopen('/dev/stderr', 'w').write('to the end\\n')\nraise SystemExit(3)\n",
    )
    cli.ok("env", "build", "uv.txt")
    namespace.tmpfs(cli.home, 8 * MIB)
    namespace.move_in(cli)
    done = cli.run("run", "-r", "uv.txt", "loud.py")
    assert "to the end" in done.err
    assert done.out.count("\n") == 20000
    assert done.code == 3
    assert "log.txt is not complete" in done.err
    assert cli.json("runs", "show", "latest")["exit_code"] == 3


# -- read-only, too long -------------------------------------------------------------------------------------------


def test_a_read_only_home_is_told(cli: CliAs, namespace: Namespace) -> None:
    namespace.mount("--bind", str(cli.home), str(cli.home))
    namespace.mount("-o", "remount,bind,ro", str(cli.home))
    cli.wrapper = namespace.wrapper(cli.directory)
    done = cli.run("run", "--json", "-r", "uv.txt", "show.py")
    assert (done.code, error_of(done)["code"]) == (125, "not_writable")
    assert str(cli.home) in error_of(done)["message"]
    assert "WARDIAN_HOME" in error_of(done)["hint"]


def test_a_read_only_home_with_records_is_told(cli: CliAs, namespace: Namespace) -> None:
    cli.ok("env", "create", "mine", "-r", "uv.txt")
    namespace.mount("--bind", str(cli.home), str(cli.home))
    namespace.mount("-o", "remount,bind,ro", str(cli.home))
    cli.wrapper = namespace.wrapper(cli.directory)
    done = cli.run("run", "--json", "-e", "mine", "show.py")
    assert done.code == 125
    assert error_of(done)["code"] in ("records_denied", "not_writable")
    assert str(cli.home) in error_of(done)["message"]


def test_a_read_only_cache_serves_what_it_holds(cli: CliAs, namespace: Namespace, tmp_path: Path) -> None:
    works(cli)
    namespace.mount("--bind", str(cli.cache), str(cli.cache))
    namespace.mount("-o", "remount,bind,ro", str(cli.cache))
    other = CliAs(**{**vars(Cli.at(tmp_path / "two", cache=cli.cache)), "wrapper": namespace.wrapper(cli.directory)})
    for definition in ("uv.txt", "conda.yml"):
        assert other.ok("run", "-f", definition, "show.py", cwd=cli.directory).out == "3\n"
    missing = other.run("run", "--json", "-r", "large.txt", "show.py", cwd=cli.directory)
    assert (missing.code, error_of(missing)["code"]) == (125, "not_writable")


def test_a_prefix_path_that_is_too_long_is_refused_at_the_start(cli: CliAs, shop: Index, tmp_path: Path) -> None:
    cli.cache = tmp_path / ("x" * 180)
    done = cli.run("run", "--json", "-r", "uv.txt", "show.py")
    assert (done.code, error_of(done)["code"]) == (125, "prefix_path_too_long")
    assert "WARDIAN_CACHE" in error_of(done)["hint"]
    assert not shop.downloads()
    assert not (cli.cache / "prefixes").exists()


# -- no network ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_without_a_network_what_is_here_works_and_the_rest_is_told(cli: CliAs, channel: Channel, shop: Index) -> None:
    with channel.serve() as server:
        config = (cli.home / "config.toml").read_text().replace(channel.url, server.url)
        (cli.home / "config.toml").write_text(config)
        works(cli)
        seen = len(shop.requests) + len(server.requests)
        cli.wrapper = ["unshare", "--net"]
        for definition in ("uv.txt", "conda.yml"):
            assert cli.ok("run", "-f", definition, "show.py").out == "3\n"
        cli.ok("gc", "--apply", "--prefix", Path(cli.json("env", "build", "uv.txt")["prefix"]).name)
        assert cli.ok("run", "-f", "uv.txt", "show.py").out == "3\n", "archives are enough"
        with at_most(15):
            done = cli.run("run", "--json", "-r", "large.txt", "show.py")
        assert (done.code, error_of(done)["code"]) == (125, "index_unavailable")
        assert "wardian doctor" in error_of(done)["hint"]
        with at_most(15):
            done = cli.run("run", "--json", "-f", "large.yml", "--", "/bin/true")
        assert (done.code, error_of(done)["code"]) == (125, "channel_unavailable")
        assert cli.run("env", "build", "large.yml").code == 7
        assert len(shop.requests) + len(server.requests) == seen
