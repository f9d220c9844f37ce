"""The agent as a directory: complete, found again, and without a word of this machine's Python when it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.jobs import wait_until
from tests.support.nodes import a_run, agent_here, host_lock

from wardian.errors import RunFailed
from wardian.run.node import bundle
from wardian.run.node.bundle import Agent, node_agent
from wardian.tools import own_python


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return agent_here(tmp_path_factory)


def test_it_is_made_once_and_named_by_what_it_is_made_of(agent: Agent) -> None:
    before = agent.path.stat().st_ino
    assert node_agent(agent.path.parent) == agent
    assert agent.path.stat().st_ino == before
    assert agent.path.name == agent.digest
    assert json.loads((agent.path / own_python.MARK).read_text())["digest"] == agent.digest


def test_it_is_named_anew_when_what_it_is_made_of_has_changed(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_SCHEME", "another")
    other = bundle._known_identity(agent.path.parent, Path(sys.executable).resolve())
    assert other != agent.digest
    monkeypatch.undo()
    assert bundle._known_identity(agent.path.parent, Path(sys.executable).resolve()) == agent.digest


def test_nothing_that_it_uses_is_this_machines(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "agents").symlink_to(agent.path.parent)
    run = a_run(tmp_path, lock=host_lock(tmp_path, tmp_path / "scratch").lock())
    main = (
        (agent.path / "main.py")
        .read_text()
        .replace("__file__", repr(str(agent.path / "main.py")))
        .replace("sys.exit(main())", "code = main()")
    )
    show = "import json\nfiles = [getattr(m, '__file__', None) for m in list(sys.modules.values())]\nfiles += [l.split(None, 5)[5].strip() for l in open('/proc/self/maps') if ' r-xp ' in l and '/' in l]\nprint(json.dumps([code, [f for f in files if f]]))"
    command = agent.command(str(tmp_path))
    done = subprocess.run([*command[:-1], "-c", f"{main}\n{show}", "exec", "--sheet", str(run.sheet)], capture_output=True, text=True,
                          check=False, env={"PATH": os.environ["PATH"], "PYTHONHOME": "/nowhere", "HOME": str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    code, files = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, run.end()
    places = (str(agent.path), f"{tmp_path}/agents/")
    assert [name for name in files if not name.startswith(places)] == []
    assert "prefix installed" in run.end().prepared


def test_people_start_it_with_its_script(agent: Agent) -> None:
    done = subprocess.run([agent.path / "bin/wardian-node"], capture_output=True, text=True, check=False, env={})
    assert done.returncode == 125
    assert done.stderr.startswith("usage: wardian-node")


def test_its_keeper_starts_without_this_machines_python_too(agent: Agent, tmp_path: Path) -> None:
    """A process with threads starts its keeper as a fresh interpreter, which must be the agent's own."""
    run = a_run(tmp_path, "print('done')")
    program = (
        "import threading, time, sys\n"
        f"sys.path.insert(0, {str(agent.path / 'site')!r})\n"
        "threading.Thread(target=lambda: time.sleep(600), daemon=True).start()\n"
        "import os\nfrom wardian.sdk.node import main\n"
        f"code = main(['exec', '--sheet', {str(run.sheet)!r}])\nos._exit(code)"
    )
    done = subprocess.run(
        [*agent.command(str(agent.path.parent.parent))[:-1], "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, run.log()) == (0, "done\n"), done.stderr


def test_what_cannot_be_sent_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "DISTRIBUTIONS", ("not-installed-anywhere",))
    with pytest.raises(RunFailed, match="not-installed-anywhere is not installed") as caught:
        node_agent(tmp_path)
    assert caught.value.stable_code == "agent_unavailable"
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_one_that_is_made_by_two_at_once_is_whole(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from wardian.run.node.bundle import node_agent; print(node_agent(Path({str(tmp_path)!r})).digest)"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    wait_until(lambda: [path.name for path in tmp_path.iterdir() if path.is_dir()] == [*said])
