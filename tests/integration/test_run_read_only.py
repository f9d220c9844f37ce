"""A script that writes into its environment, as root and as an ordinary user: others that share its files stay clean."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support.jobs import STUBBORN, noted_pids, still_there, wait_until

from wardian.run.records import RunStore
from wardian.workspace.database import Database

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 65534
VARIABLES = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/src", "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"}

VANDAL = """
import errno, os
def tried(what):
    try: what()
    except OSError as error: print(error)
    else: print("done")
site = os.environ["SITE"]
tried(lambda: open(site + "/module.py", "a").write("y = 2"))
tried(lambda: open(site + "/module.py", "w").write(""))
tried(lambda: open(site + "/new.py", "w").write(""))
tried(lambda: os.remove(site + "/module.py"))
tried(lambda: os.rename(site + "/module.py", site + "/other.py"))
raise SystemExit(9)
"""


class Place:
    """Where a run happens for a user: a workspace, and two environments that share their files with a package cache."""

    def __init__(self, root: Path, user: int, python: str) -> None:
        self.root, self.user, self.python = root, user, python
        self.cache, self.mine, self.others = (root / name for name in ("packages", "prefixes/mine", "prefixes/others"))
        for directory in (root / "project", self.cache, self.mine, self.others):
            directory.mkdir(parents=True)
        (self.cache / "module.py").write_text("x = 1\n")
        (self.cache / "module.py").chmod(0o444)
        for prefix in (self.mine, self.others):
            os.link(self.cache / "module.py", prefix / "module.py")
            prefix.chmod(0o555)
        for path in [root, *root.rglob("*")]:
            os.chown(path, user, -1)

    def popen(self, script: str, *options: str) -> subprocess.Popen[bytes]:
        (self.root / "project/train.py").write_text(script)
        command = [self.python, "-m", "tests.support.run_driver", str(self.root), "submit", *options]
        return subprocess.Popen(command, user=self.user, extra_groups=[], stdout=subprocess.PIPE, cwd="/", env=VARIABLES)

    def submit(self, script: str, *options: str) -> dict[str, Any]:
        with self.popen(script, *options) as process:
            answer: dict[str, Any] = json.loads(process.communicate()[0])
            return {**answer, "exit": process.returncode}

    @property
    def store(self) -> RunStore:
        return RunStore(Database.open(self.root / "workspace.db"))


@pytest.fixture(params=["root", "user"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if os.geteuid() != 0:
        if request.param == "root":
            pytest.skip("needs to be root")
        return Place(tmp_path, os.geteuid(), sys.executable)
    user = 0 if request.param == "root" else NOBODY
    python = sys.executable if user == 0 else python_for_anybody()
    if python is None:
        pytest.skip(
            "no Python ≥ 3.11 of this machine can be executed by an ordinary user, or the sources cannot be read by one"
        )
    for parent in tmp_path.parents:
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o755)  # pytest's own are private
    return Place(tmp_path, user, python)


@cache
def python_for_anybody() -> str | None:
    code = "import sys, wardian.run.submit, tests.support.run_driver; assert sys.version_info >= (3, 11)"
    names = [
        sys.executable,
        *(shutil.which(f"python3{minor}", path="/usr/local/bin:/usr/bin") for minor in ("", ".13", ".12", ".11")),
    ]
    for name in filter(None, names):
        try:
            answer = subprocess.run(
                [name, "-c", code], user=NOBODY, extra_groups=[], capture_output=True, check=False, cwd="/", env=VARIABLES
            )
        except PermissionError:
            continue
        if answer.returncode == 0:
            return str(name)
    return None


def test_nobody_elses_environment_changes(place: Place) -> None:
    answer = place.submit(VANDAL, f"prefix={place.mine}", "link=1", f"V:SITE={place.mine}")
    assert answer["exit"] == 9
    record = place.store.get(answer["id"])
    log = (place.root / "runs" / record.id / "log.txt").read_text().splitlines()
    assert [line.split("]")[0] for line in log] == ["[Errno 30" if place.user == 0 else "[Errno 13"] * 5
    for directory in (place.cache, place.mine, place.others):
        assert [path.name for path in directory.iterdir()] == ["module.py"]
        assert (directory / "module.py").read_text() == "x = 1\n"
    [note] = record.results.notes
    assert f"{place.mine}/module.py" in note
    assert "outputs/" in note


def test_its_own_directory_stays_writable(place: Place) -> None:
    answer = place.submit("open('outputs/a', 'w'); open('b', 'w')", f"prefix={place.mine}", "link=1")
    record = place.store.get(answer["id"])
    assert record.state == "completed"
    assert record.results.new_files == ("b",)
    assert [file.path for file in record.results.outputs] == ["outputs/a"]


def test_stubborn_children_are_gone(place: Place) -> None:
    with place.popen(STUBBORN + "sit()", "grace_s=1") as process:
        wait_until(
            lambda: list(place.root.glob("runs/*/log.txt")) and "ready" in next(place.root.glob("runs/*/log.txt")).read_text()
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert still_there(noted_pids(next(place.root.glob("runs/*/snapshot")))) == []


def test_a_file_that_cannot_be_read_is_named(place: Place) -> None:
    if place.user == 0:
        pytest.skip("root reads everything")
    secret = place.root / "project/secret.key"
    secret.touch(0o000)
    answer = place.submit("print(1)")
    assert (answer["exit"], answer["code"]) == (125, "unreadable_file")
    assert "secret.key cannot be read" in answer["message"]
    assert ".wardianignore" in answer["hint"]
    (place.root / "project/.wardianignore").write_text("*.key\n")
    assert place.submit("print(1)")["exit"] == 0


@pytest.mark.root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is missing: install util-linux")
def test_root_that_may_not_mount_gets_no_linked_environment(tmp_path: Path) -> None:
    place = Place(tmp_path, 0, sys.executable)
    (place.root / "project/train.py").write_text("print('ran')")
    driver = [sys.executable, "-m", "tests.support.run_driver", str(place.root), "submit", f"prefix={place.mine}"]
    weak = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *driver]
    linked = subprocess.run([*weak, "link=1"], stdout=subprocess.PIPE, check=False, cwd="/", env=VARIABLES)
    answer = json.loads(linked.stdout)
    assert (linked.returncode, answer["code"]) == (125, "isolation_refused")
    assert "copied" in answer["hint"]
    assert place.store.get(answer["run_id"]).state == "failed"
    copied = subprocess.run(weak, stdout=subprocess.PIPE, check=True, cwd="/", env=VARIABLES)
    assert json.loads(copied.stdout)["state"] == "completed"
