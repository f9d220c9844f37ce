"""A Spark section as a user meets it: its packages are locked with the rest, shown, compared, fetched and carried along."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.maven import MavenRepository, MavenServer
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.tools.disk import make_writable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

OLD = datetime(2024, 1, 1, tzinfo=UTC)
DEFINITION = """name: jobs
python:
  manager: uv
  pip: [alpha]
spark:
  packages: ["com.acme:hello:VERSION"]
  repositories: ["OWN"]
"""


@pytest.fixture
def central(tmp_path: Path) -> MavenRepository:
    """Maven Central, for these tests: `com.acme:deep`."""
    found = MavenRepository(tmp_path / "central")
    found.add("com.acme:deep:2.0")
    found.add("com.acme:deep:2.1")
    return found


@pytest.fixture
def own(tmp_path: Path) -> MavenRepository:
    """A repository of one's own: `com.acme:hello`, which needs `com.acme:deep`."""
    found = MavenRepository(tmp_path / "own")
    found.add("com.acme:hello:1.0", "com.acme:deep:2.0")
    found.add("com.acme:hello:1.1", "com.acme:deep:2.1")
    return found


@pytest.fixture
def cli(tmp_path: Path, index: Index, central: MavenRepository) -> Cli:
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"), OLD)
    return Cli.at(tmp_path / "one", index_url=index.url, config=f'repositories = {{ central = "{central.url}" }}')


def write(cli: Cli, own: str, version: str = "1.0") -> None:
    cli.write("e.yml", DEFINITION.replace("VERSION", version).replace("OWN", own))


def test_locked_shown_compared_and_upgraded(cli: Cli, own: MavenRepository) -> None:
    write(cli, own.url)
    cli.ok("env", "create", "jobs", "-f", "e.yml")
    lock = next(iter(cli.json("env", "lock", "jobs")["locks"].values()))
    jars = [(a["name"], a["version"], a["source"]) for a in lock["packages"] if a["kind"] == "jar"]
    assert jars == [("com.acme:hello", "1.0", "repository:#0"), ("com.acme:deep", "2.0", "repository:central")]
    content = (own.directory / "com/acme/hello/1.0/hello-1.0.jar").read_bytes()
    sha256 = Digest.of(content)
    assert sha256 in {a["sha256"] for a in lock["packages"]}
    assert (cli.cache / "packages" / sha256 / "hello-1.0.jar").read_bytes() == content
    shown = cli.ok("env", "show", "jobs", "--packages").out
    assert "2 jars" in shown
    assert "com.acme:hello *" in shown
    assert str(own.directory) not in str(lock), "a lock names no place"
    make_writable(cli.cache / "packages")
    shutil.rmtree(cli.cache / "packages")
    cli.ok("env", "build", "jobs")
    assert (cli.cache / "packages" / sha256 / "hello-1.0.jar").read_bytes() == content, "its runs need nobody any more"
    write(cli, own.url, "1.1")
    cli.ok("env", "create", "jobs", "-f", "e.yml")
    cli.ok("env", "lock", "jobs")
    compared = cli.ok("env", "diff", "jobs:1", "jobs:2").out
    assert "↑ com.acme:hello 1.0 → 1.1" in compared
    assert "↑ com.acme:deep 2.0 → 2.1  (needed by com.acme:hello)" in compared
    assert "up to date" in cli.ok("env", "upgrade", "jobs:2").out
    exported = cli.ok("env", "export", "jobs:2", "--to", "pylock")
    assert "com.acme" not in exported.out
    assert "dropped: spark: `pylock` has no place for jars: com.acme:deep, com.acme:hello" in exported.err


def test_a_jar_that_was_published_anew_is_a_change_that_an_upgrade_shows(cli: Cli, own: MavenRepository) -> None:
    write(cli, own.url)
    cli.ok("env", "create", "jobs", "-f", "e.yml")
    before = cli.json("env", "lock", "jobs")["locks"]
    own.add("com.acme:hello:1.0", "com.acme:deep:2.0", members={"name.txt": "other bytes"})
    assert cli.json("env", "lock", "jobs")["locks"] == before, "a version keeps its lock"
    assert "com.acme:hello 1.0" in cli.ok("env", "upgrade", "jobs").out
    assert cli.json("env", "show", "jobs:2")["lock"]["lock_digest"] != cli.json("env", "show", "jobs:1")["lock"]["lock_digest"]


def test_a_missing_package_is_named_before_anything_else_is_asked(cli: Cli, own: MavenRepository, index: Index) -> None:
    write(cli, own.url, "9.9")
    done = cli.run("env", "lock", "e.yml")
    assert done.code == 1
    assert f"`com.acme:hello:9.9` is in none of the repositories; asked: {own.url}, central" in done.err
    assert "there are the versions 1.0, 1.1" in done.err
    assert not index.requests


def test_over_http_with_a_stored_secret_and_a_second_platform_asks_no_more(cli: Cli, own: MavenRepository) -> None:
    with MavenServer(own, user="me", password="word") as server:
        write(cli, server.url)
        denied = cli.run("env", "lock", "e.yml")
        assert denied.code == 6
        assert "wardian secret set" in denied.err
        cli.ok("secret", "set", "maven", "--url", server.url, "--user", "me", stdin="word\n")
        cli.ok("env", "lock", "e.yml")
        asked = [request.path for request in server.requests if request.status == 200]
        jar = next(path for path in asked if path.endswith(".jar"))
        assert asked.count(jar) == 1
        cli.ok("env", "lock", "jobs", "--platform", "linux/arm64")
        assert [r.path for r in server.requests if r.status == 200] == asked, (
            "the jars of a lock are those of its other platforms, too"
        )
    workspace = b"".join(path.read_bytes() for path in sorted((cli.home / "workspaces").rglob("*.db*")))
    assert b"word" not in workspace


def test_the_cache_is_lost_and_the_repository_moves(cli: Cli, own: MavenRepository, tmp_path: Path) -> None:
    """A lock names no place: what it holds is fetched from wherever the repository is now, and compared."""
    cli.ok("config", "set", "repositories.ours", own.url)
    write(cli, "ours")
    cli.ok("env", "create", "jobs", "-f", "e.yml")
    run = cli.ok("run", "-t", "local", "-e", "jobs", "--", "python", "-c", "print('here')")
    assert run.out == "here\n"
    make_writable(cli.cache)
    shutil.rmtree(cli.cache)
    moved = own.directory.rename(tmp_path / "moved")
    run_id = cli.json("runs", "list")["runs"][0]["id"]
    lost = cli.run("runs", "export", run_id, "-o", "run.wardian", "--packages")
    assert lost.code == 4
    assert "hello-1.0.jar" in lost.err
    cli.ok("config", "set", "repositories.ours", moved.as_uri())
    cli.ok("runs", "export", run_id, "-o", "run.wardian", "--packages")
    shutil.rmtree(moved)
    other = Cli.at(tmp_path / "two")
    other.ok("runs", "reproduce", str(cli.directory / "run.wardian"), variables={"WARDIAN_OFFLINE": "1"})
    assert list((other.cache / "packages").glob("*/hello-1.0.jar"))
