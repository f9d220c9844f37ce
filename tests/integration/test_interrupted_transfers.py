"""^C, TERM and HUP while a registry or an index does not answer: the command ends, whatever its threads wait for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.fake_registry import FakeRegistry
from tests.support.jobs import wait_until
from tests.support.server import Fault
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

LONGEST_S = 25  # less than any time-out of a request: what ends by then has not waited for one


def image_in(layout: Path) -> None:
    """Put an image with a few layers there; nobody looks into it."""
    store = LayoutImageStore(layout)

    def put(content: bytes, kind: str) -> Descriptor:
        import contextlib
        import io

        descriptor = Descriptor.of(content, kind)
        store.put(descriptor, lambda: contextlib.closing(io.BytesIO(content)))
        return descriptor

    layers = tuple(put(os.urandom(1 << 16), LAYER_GZIP) for _ in range(6))
    document = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{Digest.of(bytes([n]))}" for n in range(6)]},
    }
    config = put(json.dumps(document).encode(), CONFIG)
    store.tag(Manifest(config, layers).to_json(), MANIFEST, ["one"])


@pytest.mark.parametrize("pattern", ["POST *", "P* */uploads/*", "HEAD */blobs/*"])
def test_an_interrupted_push_ends_although_the_registry_hangs(tmp_path: Path, pattern: str) -> None:
    cli = Cli.at(tmp_path / "home")
    image_in(tmp_path / "layout")
    with FakeRegistry() as registry:
        registry.misbehave(pattern, hang=True)
        copying = cli.start("image", "copy", f"oci:{tmp_path}/layout:one", f"{registry.host}/a:1")
        wait_until(lambda: bool(registry.asked(f"{pattern} *")), timeout_s=60)
        copying.send_signal(signal.SIGINT)
        out, err = copying.communicate(timeout=LONGEST_S)
    assert (copying.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_records_it_and_leaves_nothing(
    tmp_path: Path, index: Index, number: signal.Signals, code: int
) -> None:
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"))
    cli = Cli.at(tmp_path / "home", index_url=index.url)
    cli.write("good.txt", "alpha\n")
    answer = threading.Event()
    silent = Fault("*.whl", hold=answer, times=1)
    index.faults.append(silent)
    try:
        building = cli.start("env", "build", "good.txt")
        wait_until(lambda: silent.times == 0, timeout_s=60)
        building.send_signal(number)
        _, err = building.communicate(timeout=LONGEST_S)
    finally:
        answer.set()
    assert (building.returncode, err.splitlines()[-1]) == (code, f"ended by {number.name}")
    (newest, *_) = cli.json("build", "list")["builds"]
    assert (newest["state"], newest["code"]) == ("canceled", "canceled")
    assert cli.ok("env", "build", "good.txt").code == 0


def test_threads_that_wait_for_the_network_are_stopped_and_others_are_not(tmp_path: Path) -> None:
    """What is interrupted is one block's work: another thread of the same program goes on with its own connection."""
    with FakeRegistry() as registry:
        registry.misbehave("GET */hang", hang=True)
        script = tmp_path / "program.py"
        script.write_text(f"""
import signal, os, sys, threading, time
from wardian.tools.registry_http import Broken, RegistryHttp
from wardian.tools.stopping import workers
http = RegistryHttp(timeout_s=60)
url = "http://{registry.host}/v2/"
seen = []
def bystander():
    while not done.is_set():
        with http.send("GET", url, {{}}) as reply:
            reply.read(100); seen.append(reply.status)
def hang():
    try:
        http.send("GET", url + "hang", {{}})
    except Broken as error:
        seen.append("stopped")
done = threading.Event()
other = threading.Thread(target=bystander); other.start()
threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    with workers(3, "test") as pool:
        for future in [pool.submit(hang) for _ in range(3)]:
            future.result()
except KeyboardInterrupt:
    before = len(seen)
    time.sleep(0.5)
    done.set(); other.join()
    print(seen.count("stopped"), {{status for status in seen if status != "stopped"}}, len(seen) > before)
""")
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
        )
    assert (done.stdout, done.returncode) == ("3 {200} True\n", 0), done.stderr
