from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from wardian.cli.gc import size_bytes
from wardian.digest import Digest
from wardian.events import silent
from wardian.prefix.cache import PrefixCache, Ready
from wardian.tools.disk import FileLock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli

MIB = 1 << 20


def make_prefix(cache: Path, name: str, size_bytes: int = MIB) -> str:
    key = Digest.of(name.encode())

    def install(path: Path) -> Ready:
        (path / "file").write_bytes(b"x" * size_bytes)
        return Ready(key=key, facts={"packages": 3})

    PrefixCache(cache / "prefixes").ensure(key, install, silent)
    return key[:32]


def prefixes(cli: Cli) -> set[str]:
    return {name for name, _, _ in PrefixCache(cli.cache / "prefixes").entries()}


def test_the_plan_changes_nothing_and_apply_does_it(cli: Cli) -> None:
    name = make_prefix(cli.cache, "a")
    plan = cli.json("gc", "--all")
    assert [(item["kind"], item["name"], item["note"]) for item in plan["items"]] == [("prefix", name, "3 packages")]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", plan["items"][0]["last_used"])
    assert plan["applied"] is False
    assert plan["freed_bytes"] == plan["used_bytes"] >= MIB
    assert plan["limit_bytes"] == 0
    assert "add --apply to do it" in cli.ok("gc", "--all").out
    assert prefixes(cli) == {name}
    done = cli.ok("gc", "--all", "--apply").out
    assert f"({plan['freed_bytes']:,} bytes)" in done
    assert prefixes(cli) == set()
    assert "nothing to remove" in cli.ok("gc").out


def test_the_limit_is_the_setting_or_the_option(cli: Cli) -> None:
    name = make_prefix(cli.cache, "a")
    assert cli.json("gc")["items"] == []
    assert cli.json("gc")["limit_bytes"] == 20 << 30
    cli.ok("config", "set", "cache_limit_bytes", "1000")
    assert [item["name"] for item in cli.json("gc")["items"]] == [name]
    assert cli.json("gc", "--limit", "1GB")["items"] == []


def test_a_held_prefix_stays_and_is_named(cli: Cli) -> None:
    held, other = make_prefix(cli.cache, "held"), make_prefix(cli.cache, "other")
    with PrefixCache(cli.cache / "prefixes").hold(Digest.of(b"held")):
        assert cli.json("gc", "--all")["in_use"] == [held]
        done = cli.ok("gc", "--all", "--apply")
    assert f"stays: prefix {held}" in done.out
    assert prefixes(cli) == {held}
    assert other not in prefixes(cli)


def test_a_prefix_that_a_shell_uses_stays(host: Cli) -> None:
    """The lock outlives the exec that the shell begins with."""
    from tests.support.index import Index
    from tests.support.wheels import make_wheel

    wheels = host.directory / "wheels"
    wheels.mkdir()
    with Index(wheels.parent / "index") as index:
        index.add(make_wheel(wheels, "alpha", "1.0"))
        host.write("requirements.txt", "alpha\n")
        host.ok("config", "set", "indexes.pypi", index.url)
        host.ok("env", "create", "alpha", "-r", "requirements.txt")
        prefix = host.json("env", "build", "alpha")["prefix"].rpartition("/")[2]
    import subprocess

    shell = host.start("shell", "alpha", "--", "python", "-c", "print('in', flush=True); input()", stdin=subprocess.PIPE)
    assert shell.stdout is not None
    assert shell.stdin is not None
    assert shell.stdout.readline() == "in\n"
    assert prefix in host.json("gc", "--all", "--apply")["in_use"]
    assert prefix in prefixes(host)
    shell.communicate("\n")
    assert shell.returncode == 0
    host.ok("gc", "--all", "--apply")
    assert prefixes(host) == set()


def test_one_prefix_by_its_name(cli: Cli) -> None:
    name, other = make_prefix(cli.cache, "a"), make_prefix(cli.cache, "b")
    assert "would remove" in cli.ok("gc", "--prefix", name[:8]).out
    assert prefixes(cli) == {name, other}
    assert cli.json("gc", "--prefix", name[:8], "--apply") == {"prefix": name, "applied": True}
    assert prefixes(cli) == {other}
    gone = cli.run("gc", "--prefix", name, "--apply")
    assert (gone.code, name in gone.err) == (4, True)
    assert cli.run("gc", "--prefix", other[:3], "--apply").code == 4, "too short to be meant"
    with PrefixCache(cli.cache / "prefixes").hold(Digest.of(b"b")):
        assert cli.run("gc", "--prefix", other, "--apply").code == 5
    assert prefixes(cli) == {other}


def test_trash_of_workspaces_goes_too(cli: Cli) -> None:
    grave = cli.home / "workspaces" / ".trash" / "old.1"
    grave.mkdir(parents=True)
    (grave / "file").write_bytes(b"x" * MIB)
    assert [item["kind"] for item in cli.json("gc", "--apply")["items"]] == ["trash"]
    assert not grave.exists()


def test_uvs_cache_is_cleared_by_uv(cli: Cli) -> None:
    wheel = cli.cache / "uv" / "archive-v0" / "x"
    wheel.mkdir(parents=True)
    (wheel / "file").write_bytes(b"x" * MIB)
    assert [item["note"] for item in cli.json("gc", "--all", "--apply")["items"]] == ["cache of uv"]
    assert not wheel.exists()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("5000", 5000),
        ("20GB", 20 * 10**9),
        ("20g", 20 * 10**9),
        ("1.5 MB", 1_500_000),
        ("500MiB", 500 * MIB),
        ("1_000", 1000),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert size_bytes(text) == count


@pytest.mark.parametrize("text", ["", "lots", "20XB", "-5", "1.2.3", "GB"])
def test_what_is_no_size(cli: Cli, text: str) -> None:
    done = cli.run("gc", f"--limit={text}")
    assert done.code == 2
    assert f"`{text}` is not a size" in done.err


def test_options_that_say_different_things(cli: Cli) -> None:
    assert cli.run("gc", "--all", "--limit", "1GB").code == 2


def test_what_a_killed_uv_left_goes_while_its_cache_stays_unless_a_uv_is_at_work(cli: Cli) -> None:
    uv = cli.cache / "uv"
    files = [uv / ".tmpA1b2C3" / "wheel", uv / "builds-v0" / ".tmpD4e5F6" / "bin" / "x", uv / "archive-v0" / "kept" / "file"]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * MIB)
    (uv / ".lock").touch()
    with FileLock(uv / ".lock") as working:
        working.release()
        working.acquire(shared=True)
        assert cli.json("gc", "--apply")["items"] == []
    plan = cli.json("gc")
    assert [(item["kind"], item["name"]) for item in plan["items"]] == [
        ("unpacking", ".tmpA1b2C3"),
        ("unpacking", ".tmpD4e5F6"),
    ]
    assert 2 * MIB <= plan["freed_bytes"] < 2.5 * MIB < 3 * MIB <= plan["used_bytes"] < 3.5 * MIB
    assert len(cli.json("gc", "--apply")["items"]) == 2
    assert [path.exists() for path in files] == [False, False, True]
    assert cli.json("gc")["items"] == []
