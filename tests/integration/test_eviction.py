"""Clean-ups while runs are on, while others clean up, and while environments are installed: nobody loses what he uses."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.jobs import wait_until
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    import subprocess

    from tests.support.index import Index
    from tests.support.pythons import Catalogue

OLD = datetime(2024, 1, 1, tzinfo=UTC)
SIZE_BYTES = 1_000_000
PACKAGES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")

# imports at the end what it has not touched before: from the environment, and from its interpreter's library
WAITS = """
import pathlib, time
pathlib.Path("outputs/started").touch()
while not pathlib.Path("/proc/self/cwd/outputs/go").exists(): time.sleep(0.01)
import alpha, difflib, xml.dom.minidom
print("still here", alpha.__version__)
"""


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    for name in PACKAGES:
        index.add(make_wheel(tmp_path / "wheels", name, "1.0", files={f"{name}/__init__.py": "__version__ = '1.0'\n",
                                                                     f"{name}/data.bin": os.urandom(SIZE_BYTES)}), OLD)  # fmt: skip
    return index


@pytest.fixture
def cli(shop: Index, tmp_path: Path) -> Cli:
    found = Cli.at(tmp_path / "one", index_url=shop.url)
    for name in PACKAGES:
        found.write(f"{name}.txt", f"{name}\n")
    found.write("show.py", "import sys; print(sys.version_info[0])\n")
    found.write("waits.py", WAITS)
    return found


def prefixes(cli: Cli) -> set[str]:
    return {path.name for path in (cli.cache / "prefixes").iterdir() if len(path.name) == 32}


def started(cli: Cli, requirements: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a run that waits; return its process and the file that lets it go on."""
    process = cli.start("run", "-r", requirements, "waits.py")
    runs = cli.home / "workspaces/default/runs"
    wait_until(lambda: [*runs.glob("*/snapshot/outputs/started")], 60)
    return process, next(runs.glob("*/snapshot/outputs/started")).with_name("go")


def test_a_run_keeps_its_environment_and_its_interpreter(cli: Cli, python_catalogue: Catalogue) -> None:
    config = cli.home / "config.toml"
    config.write_text(f'python_downloads = "{python_catalogue.path}"\n' + config.read_text().partition("\n")[2])
    cli.ok("run", "-r", "beta.txt", "show.py")
    process, go = started(cli, "alpha.txt")
    plan = cli.json("gc", "--all")
    assert len(plan["in_use"]) == 2, "the environment, and the standalone Python that it stands on"
    assert len(prefixes(cli)) == 3
    done = cli.json("gc", "--limit", "1", "--apply")
    assert {item["kind"] for item in done["items"]} >= {"prefix", "package", "tool"}
    assert prefixes(cli) == set(plan["in_use"])
    go.touch()
    assert process.communicate(timeout=60)[0] == "still here 1.0\n"
    assert process.returncode == 0
    cli.ok("gc", "--all", "--apply")
    assert prefixes(cli) == set()
    assert cli.ok("run", "-r", "alpha.txt", "show.py").out == "3\n"
    assert cli.json("env", "verify", "alpha.txt")["clean"]


def test_the_least_recently_used_goes_first(cli: Cli) -> None:
    names = {}
    for moment, name in enumerate(("alpha", "beta", "gamma")):
        cli.ok("run", "-r", f"{name}.txt", "show.py")
        names[name] = Path(cli.json("env", "build", f"{name}.txt")["prefix"]).name
        backdate(cli, OLD.timestamp() + moment)
    assert cli.ok("run", "-r", "alpha.txt", "show.py").out == "3\n"  # used again
    cli.ok("gc", "--limit", str(2 * SIZE_BYTES + SIZE_BYTES // 2), "--apply")
    left = prefixes(cli)
    assert names["alpha"] in left
    assert names["beta"] not in left


def backdate(cli: Cli, used: float) -> None:
    """Let everything that was used lately have been used at ``used``."""
    recently = [path for path in (*cli.cache.glob("prefixes/locks/*.use"), *cli.cache.glob("packages/????????????????*"))
                if path.stat().st_mtime > OLD.timestamp() + 1000]  # fmt: skip
    for path in recently:
        os.utime(path, (used, used))


@pytest.mark.slow
def test_two_clean_ups_at_once(cli: Cli) -> None:
    for name in PACKAGES[:3]:
        cli.ok("run", "-r", f"{name}.txt", "show.py")
    processes = [cli.start("gc", "--all", "--apply", "--json") for _ in range(4)]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for *_, code in ended] == [0] * 4, ended
    assert prefixes(cli) == set()
    assert not [*cli.cache.glob("prefixes/trash/*"), *cli.cache.glob("packages/trash/*")]
    assert cli.ok("run", "-r", "alpha.txt", "show.py").out == "3\n"
    assert cli.json("env", "verify", "alpha.txt")["clean"]


@pytest.mark.slow
def test_clean_ups_while_environments_are_installed(cli: Cli) -> None:
    runs = [cli.start("run", "-r", f"{name}.txt", "show.py") for name in PACKAGES]
    cleaned = 0
    while any(process.poll() is None for process in runs):
        cleaner = cli.run("gc", "--all", "--apply", "--json")
        assert cleaner.code == 0, cleaner.err
        cleaned += 1
    ended = [(*process.communicate(), process.returncode) for process in runs]
    assert [(out, code) for out, _, code in ended] == [("3\n", 0)] * len(PACKAGES), ended
    assert cleaned >= 2
    for name in PACKAGES[:2]:
        assert cli.json("env", "verify", f"{name}.txt")["clean"]


def test_beyond_the_limit_room_is_made_by_itself(cli: Cli) -> None:
    config = cli.home / "config.toml"
    config.write_text(f"cache_limit_bytes = {4 * SIZE_BYTES}\n" + config.read_text())
    first = cli.ok("run", "-r", "alpha.txt", "show.py")
    assert "freed" not in first.err
    old = prefixes(cli)
    cli.ok("run", "-r", "beta.txt", "show.py")
    backdate(cli, OLD.timestamp())
    done = cli.ok("run", "-r", "gamma.txt", "show.py")
    assert "were not used lately" in done.err
    assert old & prefixes(cli) == set()
    assert cli.json("env", "verify", "gamma.txt")["clean"]
    assert cli.ok("run", "-r", "alpha.txt", "show.py").out == "3\n", "what went is installed again"
