"""Several threads may need uv at once, as the first thing that a process does."""

from __future__ import annotations

import subprocess
import sys

_MANY = """
import threading
from pathlib import Path
from wardian.tools.uv import Uv
gate, found = threading.Barrier(8), []
def look():
    gate.wait()
    found.append(Uv(Path("/nowhere"), {}).version())
threads = [threading.Thread(target=look) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), len(set(found)))
"""


def test_many_threads_find_uv_at_once() -> None:
    for _ in range(5):  # without care, one process in three fails
        done = subprocess.run([sys.executable, "-c", _MANY], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("8 1\n", "")
