"""Modules of a new prefix on a node are compiled beside the job, and no longer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.jobs import wait_until
from tests.support.nodes import a_run, host_lock, run_agent, start_agent

from wardian.prefix import bytecode
from wardian.prefix.cache import BYTE_CODE, PrefixCache
from wardian.run.node.compiling import Compiling

if TYPE_CHECKING:
    import pytest

WAITS = "import os, time, hello_node\nwhile not os.path.exists('go'): time.sleep(0.02)\n"


def prefix_of(root: Path) -> Path:
    (found,) = (path for path in (root / "cache/prefixes").iterdir() if len(path.name) == 32)
    return found


def test_a_new_prefix_is_compiled_while_its_job_runs(tmp_path: Path) -> None:
    lock = host_lock(tmp_path, tmp_path / "scratch").lock()
    run = a_run(tmp_path, WAITS, lock=lock, compiles=True)
    with start_agent(run) as agent:
        wait_until(lambda: list((tmp_path / "cache/prefixes").glob(f"*/{BYTE_CODE}")), process=agent)
        (run.snapshot / "go").touch()
        assert agent.wait(300) == 0
    prefix = prefix_of(tmp_path)
    known = json.loads((prefix / BYTE_CODE).read_text())
    assert any("hello_node" in name for name in known)
    assert all((prefix / name).exists() for name in known)
    before = (prefix / BYTE_CODE).stat().st_mtime_ns
    assert run_agent(a_run(tmp_path, "import hello_node", lock=lock, compiles=True, run_id="01abcdefghjm"))[0] == 0
    assert (prefix / BYTE_CODE).stat().st_mtime_ns == before


def test_whoever_wants_none_gets_none(tmp_path: Path) -> None:
    lock = host_lock(tmp_path, tmp_path / "scratch").lock()
    assert run_agent(a_run(tmp_path, "import hello_node", lock=lock))[0] == 0
    assert not (prefix_of(tmp_path) / BYTE_CODE).exists()


def test_a_killed_agent_leaves_no_compiler_behind(tmp_path: Path) -> None:
    """The real compiler, told to wait: it is ended by the kernel when its agent is."""
    lock = host_lock(tmp_path, tmp_path / "scratch").lock()
    assert run_agent(a_run(tmp_path, "import hello_node", lock=lock))[0] == 0
    prefix, pid = prefix_of(tmp_path), tmp_path / "pid"
    script = f"""
import sys, time
from pathlib import Path
from wardian.prefix import bytecode
from wardian.prefix.cache import BYTE_CODE, PrefixCache
from wardian.run.node.compiling import Compiling
bytecode._COMPILE = "import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()) + chr(10)); time.sleep(3600)"
with Compiling(PrefixCache(Path({str(prefix.parent)!r})), {prefix.name!r}):
    time.sleep(3600)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as agent:
        number = int(
            str(wait_until(lambda: pid.exists() and pid.read_text().endswith("\n") and pid.read_text(), process=agent))
        )
        agent.kill()
    wait_until(lambda: not Path(f"/proc/{number}").exists() or "\nState:\tZ" in Path(f"/proc/{number}/status").read_text())


def test_it_ends_with_the_job_and_the_next_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = host_lock(tmp_path, tmp_path / "scratch").lock()
    assert run_agent(a_run(tmp_path, "import hello_node", lock=lock))[0] == 0
    prefix = prefix_of(tmp_path)
    cache, up = PrefixCache(prefix.parent), tmp_path / "up"
    with monkeypatch.context() as patch:
        patch.setattr(bytecode, "_COMPILE", f"import time\nopen({str(up)!r}, 'w').close()\ntime.sleep(3600)\n")
        compiling = Compiling(cache, prefix.name)
        began = time.monotonic()
        with compiling:
            wait_until(up.exists)
        assert time.monotonic() - began < 3000, "it was not waited for"
    assert not (prefix / BYTE_CODE).exists()
    with Compiling(cache, prefix.name):
        wait_until((prefix / BYTE_CODE).exists)
