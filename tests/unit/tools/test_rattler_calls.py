"""An interpreter that used rattler ends with the exit code it was given."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from wardian.tools.rattler_calls import wait_until_quiet

if TYPE_CHECKING:
    from pathlib import Path

_AT_ONCE = 8
_PROGRAM = """
import sys
from pathlib import Path
from wardian.tools.rattler import Access, ChannelIndex
found = ChannelIndex([sys.argv[1]], "linux-64", cache=Path(sys.argv[2]), access=Access()).solve(["one"], virtual={})
print(*[record.name for record in found])
sys.exit(7)
"""


def test_many_interpreters_that_end_right_after_a_solve_end_as_they_were_told(tmp_path: Path) -> None:
    record = {
        "name": "one",
        "version": "1.0",
        "build": "0",
        "build_number": 0,
        "depends": [],
        "subdir": "noarch",
        "sha256": "0" * 64,
    }
    for subdir, packages in (("linux-64", {}), ("noarch", {"one-1.0-0.conda": record})):
        place = tmp_path / "channel" / subdir
        place.mkdir(parents=True)
        place.joinpath("repodata.json").write_text(
            json.dumps({"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages})
        )
    command = [sys.executable, "-c", _PROGRAM, (tmp_path / "channel").as_uri(), str(tmp_path / "cache")]

    ended = []
    for _ in range(10):
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(_AT_ONCE)
        ]
        ended += [(*child.communicate(timeout=60), child.returncode) for child in running]

    assert set(ended) == {("one\n", "", 7)}


@pytest.mark.skipif(sys.platform != "linux", reason="reads what the kernel tells of threads")
def test_the_end_waits_for_a_thread_of_rattlers_that_is_at_work() -> None:
    named, told, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as name:  # noqa: PTH123 - not a file
            name.write("tokio-rt-worker")
        named.set()
        told.wait()
        ends = time.monotonic() + 0.1
        while time.monotonic() < ends:
            pass
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    named.wait()
    told.set()
    wait_until_quiet()
    assert done.is_set()
    thread.join()
