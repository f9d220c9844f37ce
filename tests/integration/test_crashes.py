"""kill -9 in every phase, many processes at once: the next submit works, and what is there is whole."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.jobs import wait_until
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.support.index import Index

OLD = datetime(2024, 1, 1, tzinfo=UTC)
FILES = 3000
PAUSE = Path(__file__).parent.parent / "support" / "pause"


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    place = tmp_path / "wheels"
    place.mkdir()
    many = {f"large/m{n}.py": f"x = {n}\n" * 40 for n in range(FILES)} | {"large/__init__.py": "version = '1.0'\n"}
    index.add(make_wheel(place, "large", "1.0", requires=["small"], files=many), OLD)
    index.add(make_wheel(place, "small", "1.0", files={"small/__init__.py": ""}), OLD)
    return index


@pytest.fixture
def cli(tmp_path: Path, shop: Index) -> Cli:
    found = Cli.at(tmp_path / "one", index_url=shop.url)
    found.write("requirements.txt", "large\n")
    found.write("show.py", "import large, small\nprint(large.version)\n")
    return found


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until ``condition`` holds; fail if the process ends before."""
    wait_until(condition, process=process, pause_s=0.0005)


def kill(process: subprocess.Popen[str], victim: str, pid: int | None = None) -> None:
    """Kill the process with SIGKILL: alone, with its group, or its youngest child first."""
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(pid or process.pid, signal.SIGKILL)
        if pid is not None and pid != process.pid:
            os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def the_next_works(cli: Cli) -> None:
    done = cli.ok("run", "-r", "requirements.txt", "show.py")
    assert done.out == "1.0\n"
    found = cli.json("env", "verify", "requirements.txt")
    assert found["clean"], found
    assert found["checked"] > FILES
    states = {run["id"]: run["state"] for run in cli.json("runs", "list")["runs"]}
    assert set(states.values()) <= {"completed", "failed"}
    assert list(states.values()).count("completed") == 1


def contains(place: Path, name: str) -> bool:
    return any(name in files for _, _, files in os.walk(place))


def prefixes(cli: Cli) -> list[Path]:
    place = cli.cache / "prefixes"
    return [p for p in place.iterdir() if len(p.name) == 32] if place.is_dir() else []


def has_site_packages(cli: Cli) -> bool:
    return any(next(p.glob("lib/python*/site-packages/large/m1.py"), None) for p in prefixes(cli))


@pytest.mark.parametrize("victim", ["parent", "group"])
def test_killed_while_solving(cli: Cli, shop: Index, victim: str) -> None:
    shop.fail("*/simple/small/*", pause_s=20)
    process = cli.start("run", "-r", "requirements.txt", "show.py", start_new_session=True)
    shop.wait_for_request(lambda request: "/small" in request.path)
    kill(process, victim)
    shop.heal()
    assert not prefixes(cli)
    the_next_works(cli)


@pytest.mark.parametrize("victim", ["parent", "group"])
def test_killed_while_fetching(cli: Cli, shop: Index, victim: str) -> None:
    shop.fail("*/large-1.0*.whl", piece_bytes=2000, pause_s=0.05)
    process = cli.start("run", "-r", "requirements.txt", "show.py", start_new_session=True)
    until(lambda: any(p.stat().st_size for p in (cli.cache / "packages" / "tmp").glob("*/large*")), process)
    kill(process, victim)
    shop.heal()
    assert not list((cli.cache / "packages").glob("*/large-1.0*.whl"))[1:]
    assert not prefixes(cli) or not has_site_packages(cli)
    the_next_works(cli)


@pytest.mark.parametrize("victim", ["parent", "group"])
def test_killed_while_unpacking(cli: Cli, victim: str) -> None:
    process = cli.start("run", "-r", "requirements.txt", "show.py", start_new_session=True)
    unpacked = cli.cache / "uv"
    until(lambda: contains(unpacked, "m1.py"), process)
    kill(process, victim)
    assert not any((p / ".wardian" / "ready.json").exists() for p in prefixes(cli))
    the_next_works(cli)


@pytest.mark.parametrize("victim", ["parent", "group"])
def test_killed_while_linking(cli: Cli, victim: str) -> None:
    process = cli.start("run", "-r", "requirements.txt", "show.py", start_new_session=True)
    until(lambda: has_site_packages(cli), process)
    kill(process, victim)
    assert prefixes(cli)
    assert not any((p / ".wardian" / "ready.json").exists() for p in prefixes(cli))
    the_next_works(cli)


@pytest.mark.parametrize(
    ("event", "pattern", "phase"),
    [
        ("os.rename", r"/packages/[0-9a-f]{64}/small", "fetched, before the archive has its name"),
        ("open", r"manifest\.json", "sealing, before the list is written"),
        ("os.rename", r"ready\.json", "marking, before the mark has its name"),
        ("sqlite3.connect", r"workspace\.db", "opening the records"),
    ],
)
def test_killed_in_a_step(cli: Cli, tmp_path: Path, event: str, pattern: str, phase: str) -> None:
    stopped = tmp_path / "stopped"
    cli.variables = {"PYTHONPATH": str(PAUSE), "WARDIAN_TEST_PAUSE": f"{event}|{pattern}|{stopped}"}
    process = cli.start("run", "-r", "requirements.txt", "show.py", start_new_session=True)
    until(stopped.exists, process)
    kill(process, "parent", int(stopped.read_text()))
    cli.variables = {}
    assert not any((p / ".wardian" / "ready.json").exists() for p in prefixes(cli)), phase
    the_next_works(cli)


def test_killed_while_the_record_is_written(cli: Cli, tmp_path: Path) -> None:
    cli.ok("run", "-r", "requirements.txt", "show.py")
    cli.write(
        "waits.py", "import pathlib, time\npathlib.Path('outputs/started').touch()\nprint('here', flush=True)\ntime.sleep(60)\n"
    )
    process = cli.start("run", "-r", "requirements.txt", "waits.py", start_new_session=True)
    until(lambda: next((cli.home / "workspaces" / "default" / "runs").glob("*/snapshot/outputs/started"), None), process)
    kill(process, "parent")
    runs = cli.json("runs", "list")["runs"]
    assert runs[0]["state"] == "failed"
    assert runs[0]["reason"]
    assert cli.ok("run", "-r", "requirements.txt", "show.py").out == "1.0\n"


def test_fifty_processes_share_one_install(cli: Cli, shop: Index) -> None:
    processes = [cli.start("run", "-r", "requirements.txt", "--json", "show.py") for _ in range(50)]
    results = [process.communicate(timeout=500) for process in processes]
    assert [process.returncode for process in processes] == [0] * 50, [err for _, err in results if "error" in err][:3]
    assert shop.downloads() == {"large-1.0-py3-none-any.whl": 1, "small-1.0-py3-none-any.whl": 1}
    runs = cli.json("runs", "list", "--limit", "100")["runs"]
    assert [run["state"] for run in runs] == ["completed"] * 50
    assert len(prefixes(cli)) == 1
    assert len({run["results"]["environment"]["lock_digest"] for run in runs}) == 1
    assert cli.json("env", "verify", "requirements.txt")["clean"]
