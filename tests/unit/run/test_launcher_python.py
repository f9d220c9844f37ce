from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from wardian.errors import Denied, RunFailed
from wardian.run.targets import container_launcher
from wardian.run.targets.launcher_python import LauncherPython, launcher_python

FROM_WHERE = """
import json, sys
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
with open("/proc/self/maps") as stream:
    files += [line.split(None, 5)[5].strip() for line in stream if " r-xp " in line and "/" in line]
print("\\n" + json.dumps([name for name in files if name]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> LauncherPython:
    return launcher_python(tmp_path_factory.mktemp("launchers"))


def test_the_launcher_finds_all_that_it_imports_in_the_copy(python: LauncherPython) -> None:
    launcher = Path(container_launcher.__file__).read_text(encoding="utf-8").partition('if __name__ == "__main__":')[0]
    done = subprocess.run(
        [*python.command(str(python.path)), "-c", launcher.replace("os.path.abspath(__file__)", "'/'") + FROM_WHERE],
        capture_output=True, text=True, check=False, env={"PATH": os.defpath, "PYTHONHOME": "/nowhere"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout.splitlines()[-1])
    assert files
    assert [name for name in files if not Path(name).is_relative_to(python.path)] == []


def test_a_copy_is_made_once_and_anybody_may_read_it(python: LauncherPython) -> None:
    before = {path: path.stat().st_ino for path in python.path.rglob("*")}
    assert launcher_python(python.path.parent) == python
    assert {path: path.stat().st_ino for path in python.path.rglob("*")} == before
    assert {path.stat().st_mode & 0o005 for path in [python.path, *before] if path.is_dir()} == {0o005}
    assert {path.stat().st_mode & 0o004 for path in before} == {0o004}
    assert [path.name for path in python.path.parent.iterdir()] == [python.path.name]


def test_what_nobody_has_used_for_long_is_removed_with_the_next_copy(tmp_path: Path) -> None:
    for name, age_s in (("old", 90 * 86_400), (".half-new", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
        now = (tmp_path / name).stat().st_mtime
        os.utime(tmp_path / name, (now - age_s, now - age_s))
    made = launcher_python(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {made.path.name, ".half-new"}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def test_a_cache_that_may_only_be_read_is_no_obstacle(tmp_path: Path, temporary: Path, python: LauncherPython) -> None:
    (tmp_path / "file").write_text("")  # nothing can be made below it, whoever one is
    made = launcher_python(tmp_path / "file" / "launchers")
    assert made.path == temporary / f"wardian-launchers-{os.geteuid()}" / python.path.name
    assert made.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["link", "open to others"])
def test_a_directory_that_others_can_write_into_is_not_used(tmp_path: Path, temporary: Path, kind: str) -> None:
    place = temporary / f"wardian-launchers-{os.geteuid()}"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
        place.chmod(0o777)
    (tmp_path / "file").write_text("")
    with pytest.raises(Denied) as caught:
        launcher_python(tmp_path / "file" / "launchers")
    assert caught.value.stable_code == "not_writable"


def test_a_python_that_cannot_be_copied_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no such thing' >&2; exit 4\n")
    broken.chmod(0o755)
    with pytest.raises(RunFailed, match=f"{broken}, cannot look after jobs in containers: no such thing") as caught:
        launcher_python(tmp_path / "root", interpreter=str(broken))
    assert caught.value.stable_code == "launcher_unavailable"
    assert list((tmp_path / "root").iterdir()) == []
