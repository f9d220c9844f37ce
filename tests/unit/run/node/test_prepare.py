"""A lock on a node: installed once in the node's cache, from carried archives, with nobody asked; and what is wrong is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.nodes import a_run, agent_argv, host_lock, run_agent, start_agent

from wardian.digest import Digest
from wardian.lock.python import host_python

SHOW = "import hello_node, sys; print(hello_node.__version__, sys.prefix)"


def test_a_lock_is_installed_from_carried_archives_and_found_again(tmp_path: Path) -> None:
    carried = host_lock(tmp_path / "node", tmp_path / "scratch")
    lock = carried.lock()
    first = a_run(tmp_path / "node", SHOW, lock=lock)
    code, said = run_agent(first)
    assert code == 0, said
    end = first.end()
    version, prefix = first.log().split()
    assert version == "1.0"
    assert Path(prefix).parent == tmp_path / "node/cache/prefixes"
    assert end.prepared == f"lock {lock.digest[:6]} · prefix installed, it was not on this node"
    assert end.prefix_key is not None
    assert end.prefix_key.startswith(Path(prefix).name)
    archive = carried.artifacts[1]
    places = [tmp_path / "node" / place / archive.sha256 / archive.file for place in ("packages", "cache/packages")]
    assert places[0].samefile(places[1])  # nothing is stored twice on one file system
    second = a_run(tmp_path / "node", SHOW, lock=lock, run_id="01abcdefghjm")
    places[0].unlink()
    assert run_agent(second)[0] == 0
    assert second.end().prepared == f"lock {lock.digest[:6]} · prefix cached"


def test_a_node_has_a_cache_of_its_own_where_the_sheet_says_so(tmp_path: Path) -> None:
    carried = host_lock(tmp_path / "archives-here", tmp_path / "scratch")
    run = a_run(
        tmp_path / "node", SHOW, lock=carried.lock(), cache="${NODE_SCRATCH}/wardian", packages=(str(carried.packages),)
    )
    code, said = run_agent(run, environ={"NODE_SCRATCH": str(tmp_path / "scratch-of-node")})
    assert code == 0, said
    assert str(tmp_path / "scratch-of-node/wardian/prefixes") in run.log()


def test_many_starts_at_once_install_once(tmp_path: Path) -> None:
    lock = host_lock(tmp_path, tmp_path / "scratch").lock()
    runs = [a_run(tmp_path, SHOW, lock=lock, run_id=f"01abcdefghj{n}") for n in range(4)]
    agents = [start_agent(run) for run in runs]
    said = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0] * 4, said
    assert sum("installed" in run.end().prepared for run in runs) == 1


def test_what_is_wrong_with_a_lock_or_its_archives_is_told(tmp_path: Path) -> None:
    carried = host_lock(tmp_path, tmp_path / "scratch")
    lock, archive = carried.lock(), carried.artifacts[1]
    place = tmp_path / "packages" / archive.sha256 / archive.file
    content = place.read_bytes()
    found = []
    trials: tuple[tuple[bytes | None, dict[str, Any]], ...] = (
        (content, {"lock_digest": Digest.of(b"another")}),
        (b"x" * len(content), {}),
        (content[:-1], {}),
        (None, {}),
    )
    for number, (bytes_there, changes) in enumerate(trials):
        place.unlink(missing_ok=True)
        if bytes_there is not None:
            place.write_bytes(bytes_there)
        run = a_run(tmp_path, SHOW, lock=lock, run_id=f"01abcdefghj{number}", **changes)
        assert run_agent(run)[0] == 125
        found.append((run.end().code, archive.file in run.end().reason))
    assert found == [("wrong_lock", False), ("wrong_digest", True), ("wrong_size", True), ("archive_not_carried", True)]
    assert list((tmp_path / "cache/prefixes").glob("[0-9a-f]*/.wardian/ready.json")) == []


def test_a_hostile_archive_is_refused(tmp_path: Path) -> None:
    import zipfile

    carried = host_lock(tmp_path, tmp_path / "scratch", ())
    path = tmp_path / "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.py", "")
    from wardian.lock.lock import Artifact

    carried.add(
        path,
        Artifact(
            kind="wheel", source="index:pypi", name="evil", version="1.0", file=path.name, sha256=Digest.of(path.read_bytes())
        ),
    )
    run = a_run(tmp_path, lock=carried.lock())
    assert run_agent(run)[0] == 125
    assert run.end().code == "unsafe_path"


@pytest.mark.parametrize("change", ["platform", "python"])
def test_a_lock_for_another_machine_is_refused_in_words(tmp_path: Path, change: str) -> None:
    carried = host_lock(tmp_path, tmp_path / "scratch")
    lock = carried.lock(platform="linux/arm64" if os.uname().machine == "x86_64" else "linux/amd64")
    if change == "python":
        lock = replace(carried.lock(), artifacts=(host_python("3.1.9"), carried.artifacts[1]))
    run = a_run(tmp_path, lock=lock)
    assert run_agent(run)[0] == 125
    assert run.end().code == ("wrong_platform" if change == "platform" else "python_missing")
    assert "3.1.9" in run.end().reason or "arm64" in run.end().reason


def test_a_lock_alone_becomes_a_command(tmp_path: Path) -> None:
    carried = host_lock(tmp_path, tmp_path / "scratch")
    (tmp_path / "lock.json").write_text(carried.lock().to_json())
    given = ("--lock", tmp_path / "lock.json", "--packages", carried.packages, "--cache", tmp_path / "cache")
    code = "import hello_node, json, os; print(json.dumps([os.getpid(), dict(os.environ)])); raise SystemExit(7)"
    for command in ([*agent_argv(*given), "--", "python", "-c", code],
                    [sys.executable, "-m", "wardian.cli.main", "node", "exec", *map(str, given), "--", "python", "-c", code]):  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "NODE_OWN": "1"}) as process:
            said, _ = process.communicate(timeout=300)
        assert process.returncode == 7
        pid, variables = json.loads(said)
        assert pid == process.pid  # it has become the command
        assert "NODE_OWN" not in variables
        assert variables["VIRTUAL_ENV"].startswith(str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "usage:"),
        (("--lock", "lock.json"), "usage:"),
        (("--lock", "/not/there", "--", "true"), "cannot be read"),
    ],
)
def test_a_wrong_call_is_answered(arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(agent_argv(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert said in done.stderr
    assert "Traceback" not in done.stderr
