from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wardian.tools import isolation

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.root


def in_a_thread(work: Callable[[], None]) -> None:
    """Run ``work`` in a thread, whose namespace goes with it."""
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def refused(path: Path) -> str:
    try:
        path.write_text("written")
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "written"


def test_what_is_bound_is_read_only_for_this_thread_alone(tmp_path: Path) -> None:
    kept, free = tmp_path / "kept with space", tmp_path / "free"
    (kept / "inner").mkdir(parents=True)
    free.mkdir()

    def work() -> None:
        isolation.bind_read_only([kept])
        assert refused(kept / "inner/a") == "EROFS"
        assert refused(free / "a") == "written"
        assert subprocess.run(["touch", str(kept / "b")], capture_output=True, check=False).returncode == 1

    in_a_thread(work)
    assert refused(kept / "inner/a") == "written"


def test_a_hard_link_into_it_is_read_only_where_it_is_bound(tmp_path: Path) -> None:
    cache, prefix = tmp_path / "cache", tmp_path / "prefix"
    for directory in (cache, prefix):
        directory.mkdir()
    (cache / "module.py").write_text("x = 1\n")
    os.link(cache / "module.py", prefix / "module.py")

    def work() -> None:
        isolation.bind_read_only([cache, prefix])
        assert refused(prefix / "module.py") == refused(cache / "module.py") == "EROFS"

    in_a_thread(work)
    assert (cache / "module.py").read_text() == "x = 1\n"


def test_writable_places_and_mounts_below(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "work").mkdir(parents=True)
    (root / "mount").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(root / "mount")], check=True)
    try:

        def work() -> None:
            isolation.bind_read_only([root], writable=[root / "work"])
            assert refused(root / "a") == refused(root / "mount/a") == "EROFS"
            assert refused(root / "work/a") == "written"

        in_a_thread(work)
        assert refused(root / "mount/a") == "written"
    finally:
        subprocess.run(["umount", str(root / "mount")], check=True)


def test_a_single_file_and_a_link(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1")
    (tmp_path / "link").symlink_to("data.csv")

    def work() -> None:
        isolation.bind_read_only([tmp_path / "link"])
        assert refused(tmp_path / "data.csv") == "EROFS"

    in_a_thread(work)


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(isolation.IsolationRefused, match="No such file"):
        in_a_thread(lambda: isolation.bind_read_only([tmp_path / "missing"]))


def test_it_is_available_here_and_needed() -> None:
    mounts = Path("/proc/self/mountinfo").read_bytes()
    assert isolation.is_needed()
    assert isolation.available()
    assert Path("/proc/self/mountinfo").read_bytes() == mounts


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is missing: install util-linux")
def test_root_without_the_capability_knows_it(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from wardian.tools import isolation; print(isolation.is_needed(), isolation.available())\n"
        "try: isolation.bind_read_only([Path.cwd()])\n"
        "except isolation.IsolationRefused as error: print(error.errno)"
    )
    command = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stdout.split() == ["True", "False", str(errno.EPERM)]
