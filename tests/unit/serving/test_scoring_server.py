"""The scoring server as it runs: start, health, scoring, keys, ready mark, drain."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.jobs import wait_until
from tests.support.scoring import Client, ScoringServer

from wardian.serving.server_wheel import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = """
import json, os, sys, time
def init():
    global model
    model = os.environ["WARDIAN_MODEL_DIR"], os.environ["AZUREML_MODEL_DIR"]
    print("loaded", model[0])
def run(data):
    asked = json.loads(data)
    if asked == "model":
        return model
    if asked == "path":
        return sys.path
    if asked == "wait":
        open("begun", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.005)
        return "waited"
    print("asked for", asked)
    return {"twice": 2 * asked}
"""
KEY = "a key of 256 bits, in real life"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringServer]:
    directory = tmp_path_factory.mktemp("server")
    keys = [hashlib.sha256(key.encode()).hexdigest() for key in ("another", KEY)]
    with ScoringServer(directory, SCRIPT, model="model", keys=keys, control=str(directory / "control")) as running:
        yield running


def bearer(key: str = KEY) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_score(server: ScoringServer) -> None:
    answer = server.score("21", bearer())
    assert (answer.status, answer.json, answer.header("content-type")) == (200, {"twice": 42}, "application/json")
    assert answer.header("x-ms-run-function-failed") == "False"
    assert float(answer.header("x-ms-run-fn-exec-ms") or "") >= 0
    assert answer.header("x-request-id") == answer.header("x-ms-request-id")


@pytest.mark.parametrize(("path", "text"), [("/", b"Healthy"), ("/live", b"Live"), ("/ready", b"Ready")])
def test_health_needs_no_key(server: ScoringServer, path: str, text: bytes) -> None:
    assert (server.ask("GET", path).status, server.ask("GET", path).body) == (200, text)


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("wrong"), bearer(""), {"authorization": KEY}, {"authorization": f"Basic {KEY}"}, {"authorization": "Bearer"}],
)
@pytest.mark.parametrize("path", ["/score", "/metrics", "/no-such-path", "/%73core"])
def test_without_a_key(server: ScoringServer, headers: dict[str, str], path: str) -> None:
    answer = server.ask("POST", path, b"1", headers)
    assert answer.status == 401
    assert (answer.header("www-authenticate") or "").startswith("Bearer")
    assert "API key" in answer.json["message"]


def test_script_has_the_model_directory_and_its_path_last(server: ScoringServer) -> None:
    place = str(server.directory / "model")
    assert server.score('"model"', bearer()).json == [place, place]
    path = server.score('"path"', bearer()).json
    assert str(server.directory) in path
    assert path[-1].endswith("serving/server")
    assert not any(place.endswith("wardian_server") for place in path)


def test_log_has_requests_and_what_is_printed(server: ScoringServer) -> None:
    server.score("7", {**bearer(), "x-request-id": "seven"})
    printed = server.wait_for_log(logger="print", message="asked for 7")
    assert (printed["request_id"], printed["level"]) == ("seven", "info")
    request = server.wait_for_log(message="request", request_id="seven")
    assert (request["method"], request["path"], request["status"], request["bytes"]) == ("POST", "/score", 200, 13)
    assert request["duration_ms"] >= request["run_ms"] >= 0
    server.wait_for_log(logger="print", message=f"loaded {server.directory / 'model'}")


def test_what_two_at_once_print_has_the_id_of_each(tmp_path: Path) -> None:
    script = """
import asyncio
async def init():
    global both
    both, both.count = asyncio.Event(), 0
async def run(data):
    both.count += 1
    if both.count == 2:
        both.set()
    await both.wait()
    print(f"said {data}")
    return data
"""
    with ScoringServer(tmp_path, script, threads=2) as server:
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(server.score, f'"{name}"', {"x-request-id": name}) for name in ("one", "two")]
            assert [one.result().json for one in asked] == ['"one"', '"two"']
        for name in ("one", "two"):
            assert server.wait_for_log(logger="print", message=f'said "{name}"')["request_id"] == name


def test_ready_mark(server: ScoringServer) -> None:
    assert server.mark["pid"] == server.process.pid
    assert stat.S_IMODE(server.ready_path.stat().st_mode) == 0o600


def ask_control(path: Path, op: str, **values: object) -> tuple[dict[str, object], list[int]]:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(path))
        control.sendall(json.dumps({"op": op, **values}).encode() + b"\n")
        data, descriptors, _, _ = socket.recv_fds(control, 65536, 4)
    return json.loads(data or b"{}"), descriptors


def test_an_owner_is_accepted_until_there_is_another(server: ScoringServer) -> None:
    path = server.directory / "control"
    for owner, before in (("first", "nobody"), ("second", "first")):
        assert ask_control(path, "owner", sha256=hashlib.sha256(owner.encode()).hexdigest())[0] == {"ok": True}
        assert [server.score("1", bearer(key)).status for key in (owner, before, KEY)] == [200, 401, 200]
    for nonsense in ("", "ab", "x" * 64, None, 3, ["ab"]):
        assert ask_control(path, "owner", sha256=nonsense)[0] == {}
    assert server.score("1", bearer("second")).status == 200


def test_control_socket(server: ScoringServer) -> None:
    path = server.directory / "control"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    status, _ = ask_control(path, "status")
    assert status["ready"] is True
    assert status["in_flight"] == 0
    assert status["workers"] == server.mark["workers"]
    assert "error" in ask_control(path, "other")[0]
    _, (descriptor,) = ask_control(path, "listener")
    with socket.socket(fileno=descriptor) as listener:
        assert listener.getsockname() == ("127.0.0.1", server.port)


def test_several_requests_on_one_connection(server: ScoringServer) -> None:
    with server.client() as client:
        head = f"POST /score HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-length: 1\r\n\r\n".encode()
        client.send(head + b"1" + head + b"2GET / HTTP/1.1\r\nhost: a\r\n\r\n" + head + b"3")
        assert [client.read().body for _ in range(4)] == [b'{"twice": 2}', b'{"twice": 4}', b"Healthy", b'{"twice": 6}']


def test_drain_answers_what_is_open(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT, model="model") as server:
        with server.client() as busy, server.client() as idle:
            assert idle.ask("GET", "/").header("connection") is None
            busy.send(b'POST /score HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n"wait"')
            wait_for(tmp_path / "begun")
            server.process.terminate()
            server.wait_for_log(message="draining")
            last = idle.ask("GET", "/live")  # it was open, so it is answered, and closed
            assert (last.status, last.header("connection")) == (200, "close")
            assert idle.is_closed()
            (tmp_path / "go").touch()
            answer = busy.read()
            assert (answer.json, answer.header("connection")) == ("waited", "close")
        assert server.process.wait(60) == 0


def test_inherited_socket_is_shared_and_accepts_only_once_ready(tmp_path: Path) -> None:
    script = "import os, time\ndef init():\n while not os.path.exists('go'): time.sleep(0.005)\ndef run(data): return 'new'\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        server = ScoringServer(tmp_path, script, wait=False, pass_fds=(fd,), listen={"fd": fd})
        with server, Client(listener.getsockname()) as early:
            early.send(b"POST /score HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
            (tmp_path / "go").touch()
            assert early.read().json == "new"  # it waited in the queue of the kernel
            server.wait_for_mark()
        with Client(listener.getsockname()):  # the server is gone, the socket is not
            pass


def test_no_request_fails_while_another_server_takes_over(tmp_path: Path) -> None:
    script = "def init(): pass\ndef run(data): return %r\n"
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, ThreadPoolExecutor(4) as clients:
        fd, where = listener.fileno(), listener.getsockname()
        shared: dict[str, Any] = {"pass_fds": (fd,), "listen": {"fd": fd}}

        def load() -> list[str]:
            found, client = [], Client(where)
            while not stop.is_set():
                answer = client.ask("POST", "/score", b"1")
                assert answer.status == 200
                found.append(answer.json)
                if answer.header("connection") == "close":
                    client.close()
                    client = Client(where)
            client.close()
            return found

        with ScoringServer(tmp_path / "old", script % "old", **shared) as old:
            loads = [clients.submit(load) for _ in range(4)]
            with ScoringServer(tmp_path / "new", script % "new", **shared) as new:
                assert old.stop() == 0
                new.wait_for_log(message="request")
                stop.set()
                found = [one.result() for one in loads]
    assert all(answers[-1] == "new" for answers in found)
    assert {answer for answers in found for answer in answers} == {"old", "new"}


def test_stopped_before_it_is_ready(tmp_path: Path) -> None:
    script = "import time\nopen('begun', 'w').close()\ntime.sleep(600)\n"
    with ScoringServer(tmp_path, script, wait=False) as server:
        wait_for(tmp_path / "begun")
        assert server.stop() == 0
        assert not server.ready_path.exists()


def test_log_as_text(tmp_path: Path) -> None:
    script = "import logging\ndef init(): pass\ndef run(data):\n logging.getLogger('mine').warning('told %s', data)\n raise ValueError('why')\n"
    with ScoringServer(tmp_path, script, log="text") as server:
        server.ask("POST", "/score%0aforged", b"1")
        server.score("x")
        server.stop()
    text = server.log_path.read_text()
    assert "W told x  logger=mine request_id=" in text
    assert "ValueError: why" in text
    assert "\nforged" not in text


def test_start_from_variables_alone(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n")
    ready = tmp_path / "ready.json"
    environ = {
        **os.environ, "PYTHONPATH": str(SOURCE.parent), "AML_APP_ROOT": str(tmp_path), "AZUREML_ENTRY_SCRIPT": "score.py",
        "WARDIAN_SERVE_PORT": "0", "WARDIAN_SERVE_READY": str(ready),
    }  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "wardian_server"], env=environ, stdout=subprocess.PIPE) as process:
        wait_until(ready.exists, process=process)
        with Client(("127.0.0.1", json.loads(ready.read_text())["port"])) as client:
            assert client.ask("POST", "/score", b"1").json == "1"
        process.terminate()
    assert process.returncode == 0


def test_not_ready_yet(tmp_path: Path) -> None:
    script = "import os, time\ndef init():\n while not os.path.exists('go'): time.sleep(0.005)\ndef run(data): return 1\n"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ScoringServer(tmp_path, script, wait=False, listen={"host": "127.0.0.1", "port": port})
    with server:
        server.mark = {"port": port}
        wait_for_port(port)
        assert server.ask("GET", "/live").status == 200
        for method, path in (("GET", "/ready"), ("POST", "/score")):
            answer = server.ask(method, path)
            assert (answer.status, answer.header("retry-after")) == (503, "1")
        (tmp_path / "go").touch()
        server.wait_for_mark()
        assert server.ask("GET", "/ready").status == 200


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("def init(): raise ValueError('no model here')\ndef run(data): pass\n", "init() raised ValueError: no model here"),
        ("import os\ndef init(): os._exit(0)\ndef run(data): pass\n", "exit status 0"),
        ("def init(:\n", "SyntaxError"),
        (None, "does not exist"),
    ],
)
def test_failed_start(tmp_path: Path, script: str | None, told: str) -> None:
    with ScoringServer(tmp_path, script, entry="score.py") as server:
        assert told in server.mark["error"]
        assert server.process.wait(60) == 3
    error = [line for line in server.log_lines() if line.get("level") in {"error", "critical"}]
    assert any(told in line["message"] for line in error)
    if script and "raise" in script:
        assert any("Traceback" in line.get("traceback", "") for line in error)


def test_init_that_hangs(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, "import time\ntime.sleep(600)\n", startup_timeout_s=0.2) as server:
        assert "has not ended after 0.2 s" in server.mark["error"]
        assert server.process.wait(60) == 3


def test_configuration_that_is_wrong(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT, workers=0) as server:
        assert server.mark == {"error": "the configuration is wrong: workers must be at least 1, not 0"}
        assert server.process.wait(60) == 2


def test_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = {"host": "127.0.0.1", "port": other.getsockname()[1]}
        with ScoringServer(tmp_path, SCRIPT, listen=listen) as server:
            assert "cannot listen" in server.mark["error"]
            assert server.process.wait(60) == 2


def test_unix_socket(tmp_path: Path) -> None:
    path = os.path.relpath(tmp_path / "s")
    with ScoringServer(tmp_path, SCRIPT, model="m", listen={"unix": str(tmp_path / "s")}), Client(path) as client:
        assert client.ask("POST", "/score", b"4").json == {"twice": 8}


def wait_for(path: Path) -> None:
    wait_until(path.exists)


def wait_for_port(port: int) -> None:
    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers)
