"""A home that this user may read and not write: on a read-only mount, or somebody else's. Looking works; changes are refused."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import mounts
from tests.support.accounts import USER, CliAs, command_of, why_not
from tests.support.cli import Cli
from tests.support.endpoints import a_recorded_endpoint
from tests.support.mounts import Namespace
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Done
    from tests.support.index import Index

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(mounts.why_not()), reason=mounts.why_not())]

LOOKS = (
    ("env", "list"), ("env", "list", "--kind", "user"), ("env", "show", "mine"), ("env", "show", "mine", "--packages", "--usage"),
    ("env", "history", "mine"), ("env", "diff", "mine", "host"), ("env", "hash", "mine"), ("env", "hash", "uv.txt"),
    ("env", "export", "mine", "--to", "source"), ("runs", "list"), ("runs", "show", "latest"), ("runs", "logs", "latest"),
    ("workspace", "list"), ("workspace", "show"), ("secret", "list"), ("config", "show"), ("model", "list"), ("model", "show", "said"),
    ("env", "hash", "model:said"), ("endpoint", "list"), ("endpoint", "show", "said"), ("endpoint", "logs", "said"),
)  # fmt: skip
CHANGES = (
    ("env", "create", "other", "--interpreter", sys.executable), ("env", "archive", "mine"), ("env", "label", "mine:1", "good"),
    ("env", "add", "mine", "beta"), ("runs", "delete", "latest", "--yes"), ("env", "create", "third", "-r", "uv.txt"),
    ("model", "delete", "said", "--yes"), ("model", "label", "said", "good"), ("model", "create", "said", "say.py"),
    ("deploy", "other", "--entry", "say.py", "-e", "host"), ("endpoint", "scale", "said", "2"), ("endpoint", "delete", "said", "--yes"),
)  # fmt: skip


@pytest.fixture
def cli(tmp_path: Path, index: Index) -> CliAs:
    if why := why_not(USER):
        pytest.skip(why)
    place = tmp_path / "wheels"
    place.mkdir()
    index.add(make_wheel(place, "alpha", "1.0", files={"alpha/__init__.py": ""}), datetime(2024, 1, 1, tzinfo=UTC))
    found = CliAs(**vars(Cli.at(tmp_path / "one", index_url=index.url)))
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001:
            path.chmod(0o755)
    found.write("uv.txt", "alpha\n")
    found.write("say.py", "print('said')\n")
    found.ok("env", "create", "mine", "-r", "uv.txt")
    found.ok("env", "create", "host", "--interpreter", sys.executable)
    found.ok("run", "-e", "mine", "say.py")
    found.ok("model", "create", "said", "say.py", "--run", "latest")
    a_recorded_endpoint(found.home, "said")
    return found


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace() as running:
        yield running


@pytest.fixture(params=["somebody else's", "read-only mount", "read-only mount, own account"])
def reader(request: pytest.FixtureRequest, cli: CliAs, namespace: Namespace, tmp_path: Path) -> CliAs:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    cli.variables["HOME"] = str(cli.home.parent)
    if request.param == "somebody else's":
        _set_modes(cli.home)
        cli.wrapper = command_of(USER, scratch)
        return cli
    if request.param == "read-only mount":
        cli.become(USER)
    namespace.mount("--bind", str(cli.home), str(cli.home))
    namespace.mount("-o", "remount,bind,ro", str(cli.home))
    cli.wrapper = [*namespace.wrapper(cli.directory), *(cli.wrapper if request.param == "read-only mount" else [])]
    return cli


def error_of(done: Done) -> dict[str, Any]:
    return dict(json.loads(done.err.strip().splitlines()[-1])["error"])


def _set_modes(home: Path) -> None:
    for directory, _, files in os.walk(home):
        os.chmod(directory, 0o555)  # noqa: PTH101, S103
        for name in files:
            os.chmod(f"{directory}/{name}", 0o444)  # noqa: PTH101


def _contents(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (home / "workspaces").rglob("*") if path.is_file()}


def test_looking_works_and_leaves_nothing(reader: CliAs) -> None:
    before = _contents(reader.home)
    for words in LOOKS:
        reader.ok(*words)
    assert [one["name"] for one in reader.json("env", "list")["environments"]] == ["host", "mine"]
    assert reader.ok("runs", "logs", "latest").out == "said\n"
    assert _contents(reader.home) == before


def test_changes_are_denied(reader: CliAs) -> None:
    before = _contents(reader.home)
    for words in CHANGES:
        done = reader.run(*words, "--json")
        assert (done.code, error_of(done)["code"]) == (6, "records_denied"), words
        assert str(reader.home) in error_of(done)["message"]
    done = reader.run("run", "--json", "-e", "mine", "say.py")
    assert (done.code, error_of(done)["code"]) == (125, "records_denied")
    assert _contents(reader.home) == before


def test_what_another_has_open_is_seen_as_it_is(cli: CliAs, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    records = cli.home / "workspaces/default/workspace.db"
    owner = sqlite3.connect(records, isolation_level=None)
    owner.execute("UPDATE environments SET name = 'renamed' WHERE name = 'mine'")
    try:
        _set_modes(cli.home)
        cli.variables["HOME"] = str(cli.home.parent)
        cli.wrapper = command_of(USER, scratch)
        assert "renamed" in cli.ok("env", "list").out
    finally:
        owner.close()


def test_a_private_home_is_denied(cli: CliAs, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    cli.wrapper = command_of(USER, scratch)
    done = cli.run("env", "list", "--json")
    assert (done.code, error_of(done)["code"]) == (6, "records_denied")
    assert "WARDIAN_HOME" in error_of(done)["hint"]
