"""What goes from a node directory, and what stays because a run needs it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.jobs import wait_until
from tests.support.nodes import NodeRun, a_run, host_lock, start_agent

from wardian.bootstrap import node_parts
from wardian.errors import InvalidInput
from wardian.run.node.clean import clean, live_runs
from wardian.run.node.sheet import ENDED, USES, NodeEnd, read_uses, uses_json
from wardian.run.targets.shared_directory import SharedDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NOW = 1_700_000_000.0
OLD = NOW - 90 * 86_400


def made(root: Path, path: str, used: float = OLD, content: bytes = b"x" * 1000) -> Path:
    place = root / path
    place.mkdir(parents=True)
    (place / "file").write_bytes(content)
    os.utime(place, (used, used))
    return place


def says(run: NodeRun, uses: Iterable[str]) -> NodeRun:
    (run.directory / USES).write_bytes(uses_json(uses))
    return run


def cleaned(root: Path, *, apply: bool = True, older_than_s: float = 30 * 86_400, now: float = NOW) -> dict[str, Any]:
    return clean(root, node_parts(root / "cache", dict(os.environ)), older_than_s=older_than_s, now=now, apply=apply)


def names(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(item["kind"], item["name"]) for item in found["items"]}


def test_what_nobody_asked_for_goes_and_the_rest_stays(tmp_path: Path) -> None:
    old = [made(tmp_path, path) for path in ("agents/a", "packages/p", "images/i")]
    new = [made(tmp_path, path, NOW - 60) for path in ("agents/b", "packages/q", "images/j")]
    plan = cleaned(tmp_path, apply=False)
    assert names(plan) == {("agent", "a"), ("archive", "p"), ("image", "i")}
    assert plan["freed_bytes"] == 3000
    assert all(path.exists() for path in old + new)
    assert names(cleaned(tmp_path)) == names(plan)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in new)
    assert cleaned(tmp_path)["items"] == []


def test_a_run_that_has_not_ended_keeps_what_it_needs(tmp_path: Path) -> None:
    """It says so itself, in its directory, whoever submitted it and wherever it runs; the archives are those of its lock."""
    carried = host_lock(tmp_path, tmp_path / "scratch")
    lock = carried.lock()
    run = says(a_run(tmp_path, lock=lock), ["agents/mine", "images/mine"])
    for place in ("agents/mine", "images/mine", "agents/other", "images/other", "packages/other"):
        made(tmp_path, place)
    for path in (tmp_path / "packages").iterdir():
        os.utime(path, (OLD, OLD))
    found = cleaned(tmp_path)
    assert names(found) == {("agent", "other"), ("image", "other"), ("archive", "other")}
    assert found["live"] == [run.run_id]
    (run.directory / ENDED).write_bytes(NodeEnd("exited", exit_code=0).to_json())
    assert {("agent", "mine"), ("image", "mine")} <= names(cleaned(tmp_path))


def test_while_one_does_not_say_what_it_needs_nothing_goes(tmp_path: Path) -> None:
    old = made(tmp_path, "agents/a")
    run = a_run(tmp_path)
    for said in (None, b"{", b'{"schema": 1}', b'{"schema": 99, "uses": []}', b'{"schema": 1, "uses": [7]}'):
        if said is not None:
            (run.directory / USES).write_bytes(said)
        found = cleaned(tmp_path)
        assert (found["items"], found["silent"]) == ([], [run.run_id])
    assert old.exists()


def test_a_live_run_goes_on_while_all_is_cleaned(tmp_path: Path) -> None:
    """A real agent, which has installed its environment, runs its script; the prefix that it holds stays, another one goes."""
    carried = host_lock(tmp_path, tmp_path / "scratch")
    script = "import time, os, hello_node\nprint('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint(hello_node.__file__)\nimport hello_node as again\n"
    run = says(a_run(tmp_path, script, lock=carried.lock()), [])
    with start_agent(run) as agent:
        wait_until(lambda: run.log().startswith("up\n") if (run.directory / "log.txt").exists() else False, process=agent)
        before = {path.name for path in (tmp_path / "cache/prefixes").iterdir() if len(path.name) == 32}
        later = run.sheet.stat().st_mtime + 100 * 86_400
        found = cleaned(tmp_path, older_than_s=0.0, now=later)
        assert found["live"] == [run.run_id]
        assert not [item for item in found["items"] if item["kind"] == "prefix"]
        assert before == {path.name for path in (tmp_path / "cache/prefixes").iterdir() if len(path.name) == 32}
        assert list((tmp_path / "packages").iterdir())
        (run.snapshot / "go").touch()
        assert agent.wait(300) == 0
    assert "hello_node" in run.log()
    gone = cleaned(tmp_path, older_than_s=0.0, now=later)
    assert [item for item in gone["items"] if item["kind"] == "prefix"]
    assert not list((tmp_path / "packages").iterdir())


def test_to_ask_for_something_keeps_it(tmp_path: Path) -> None:
    carrier = SharedDirectory(tmp_path)
    place, other = made(tmp_path, "packages/p"), made(tmp_path, "packages/q")
    assert carrier.have(["packages/p/file", "packages/none/file"]) == {"packages/p/file"}
    assert place.stat().st_mtime > OLD + 1
    assert other.stat().st_mtime == OLD


def test_links_in_place_of_directories_are_no_way_out(tmp_path: Path) -> None:
    outside = made(tmp_path, "outside")
    root = tmp_path / "root"
    (root / "agents").mkdir(parents=True)
    (root / "agents/link").symlink_to(outside)
    os.utime(root / "agents/link", (OLD, OLD), follow_symlinks=False)
    assert names(cleaned(root)) == {("agent", "link")}
    assert (outside / "file").exists()


def test_uses_are_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / USES
    file.write_bytes(uses_json(["b", "a"]))
    assert read_uses(file) == ["a", "b"]
    file.write_text(json.dumps({"schema": 1, "uses": "a"}))
    with pytest.raises(InvalidInput):
        read_uses(file)
    assert live_runs(tmp_path / "none").names == []
