from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

_WATCH = "import sys; from wardian.image.builder_watch import main; main()"
# a process that hands over to a child and ends, over and over, asks for no end, and rests at last
_HOPS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    print("on the way", flush=True)
    time.sleep(600)
hops = 0
while not os.path.exists(sys.argv[1]):
    time.sleep(0.001)
while hops < 400:
    hops += 1
    if os.fork():
        os._exit(0)
    time.sleep(0.001)
time.sleep(600)
"""


def test_a_process_whose_parents_end_while_one_looks_is_ended_too(tmp_path: Path) -> None:
    secrets, hop = tmp_path / "secrets", tmp_path / "hop"
    secrets.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _WATCH, str(os.getpid()), str(secrets), "", sys.executable, "-c", _HOPS, str(hop)],
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"on the way\n"
        (builder,) = _children(process.pid)
        hop.touch()
        process.send_signal(signal.SIGTERM)
        os.kill(builder, signal.SIGKILL)  # what asks for no end costs a wait that is not the matter here
        assert process.wait() == 128 + signal.SIGTERM
        gone, _, _ = select.select([process.stdout], [], [], 0)  # readable at its end: nobody holds the other one any more
        assert gone
        assert process.stdout.read() == b""
    assert not secrets.exists()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
