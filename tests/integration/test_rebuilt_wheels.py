"""Wheels that were built while locking and got lost: made again from the source, as they were, or refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.wheels import make_sdist, make_wheel

from wardian.bootstrap import Parts
from wardian.digest import Digest
from wardian.errors import BuildFailed
from wardian.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def cli(tmp_path: Path, index: Index) -> Cli:
    wheels = tmp_path / "wheels"
    index.add(make_wheel(wheels, "tool", "1.0"), OLD)
    index.add(make_sdist(wheels, "source", "1.0", body="version = 'built'\n", build_requires=["tool"]), OLD)
    found = Cli.at(tmp_path / "one", index_url=index.url)
    found.write("requirements.txt", "source\n")
    found.write("show.py", "import source\nprint(source.version)\n")
    found.ok("env", "create", "a", "-r", "requirements.txt")
    assert found.ok("run", "-e", "a", "show.py").out == "built\n"
    return found


def lose(cli: Cli) -> None:
    """Remove every copy of the wheel from this machine."""
    shutil.rmtree(cli.home / "workspaces/default/artifacts")
    cli.variables["WARDIAN_CACHE"] = str(cli.cache.with_name("another"))


def test_it_is_built_again_with_what_built_it_then(cli: Cli, index: Index, tmp_path: Path) -> None:
    locked = cli.json("env", "show", "a")["lock"]
    index.add(make_wheel(tmp_path / "wheels", "tool", "2.0"), NEW)
    lose(cli)
    index.forget_requests()
    again = cli.ok("run", "-e", "a", "show.py")
    assert again.out == "built\n"
    assert "the wheel of source 1.0 is kept nowhere here: it is built again" in again.err
    fetched = {request.path.rpartition("/")[2] for request in index.requests if request.path.endswith((".whl", ".tar.gz"))}
    assert fetched == {"source-1.0.tar.gz", "tool-1.0-py3-none-any.whl"}
    assert cli.json("env", "show", "a")["lock"] == locked
    assert len(cli.json("build", "list", "--kind", "lock")["builds"]) == 1, "nothing was solved again"
    index.forget_requests()
    cli.variables["WARDIAN_CACHE"] = str(cli.cache.with_name("a third"))
    assert "built again" not in cli.ok("run", "-e", "a", "show.py").err, "it is kept from then on"


def test_another_wheel_than_the_locked_one_is_refused(cli: Cli, index: Index) -> None:
    parts = Parts(
        replace(Settings.load(home=cli.home), indexes={"pypi": index.url}, cache=cli.cache.with_name("another")),
        environ=cli.environ,
    )
    version = parts.environments.get("a")
    lock = parts.locks.get(parts.locks.pins(version.id)[0].lock_digest)
    other = [replace(a, built=a.built and replace(a.built, sha256=Digest("0" * 64))) for a in lock.artifacts]
    with pytest.raises(BuildFailed, match="builds another wheel here") as caught:
        parts.fetch(version.environment, replace(lock, artifacts=tuple(other)), other)
    assert caught.value.stable_code == "rebuilt_differs"


def test_without_its_source_the_error_says_what_is_missing(cli: Cli, index: Index) -> None:
    index.remove("source-1.0.tar.gz")
    lose(cli)
    done = cli.run("run", "-e", "a", "show.py")
    assert done.code == 125
    assert "source" in done.err
    assert "hint" in done.err
    assert "Traceback" not in done.err
