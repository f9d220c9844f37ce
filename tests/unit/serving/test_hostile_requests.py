"""Hostile requests and hostile scripts: the documented status, other requests unharmed, the worker replaced."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.jobs import wait_until
from tests.support.scoring import Answer, ScoringServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = """
import ctypes, json, os, signal, subprocess, sys, threading, time
def init():
    if os.path.exists("broken"):
        raise RuntimeError("a secret in a traceback")
def run(data):
    asked = json.loads(data)
    do, rest = (asked["do"], asked.get("with")) if isinstance(asked, dict) else ("pid", None)
    if do == "pid": return os.getpid()
    if do == "raise": raise ValueError("a secret in a traceback")
    if do == "recurse": return run(data)
    if do == "exit": sys.exit(0)
    if do == "os._exit": os._exit(0)
    if do == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if do == "segfault": ctypes.string_at(0)
    if do == "close": os.closerange(3, 1000)
    if do == "fork and end":
        if os.fork() == 0: time.sleep(600)
        os._exit(1)
    if do == "fork and come back":
        child = os.fork()
        if child: os.waitpid(child, 0)
        return os.getpid() if child else "child"
    if do == "hang":
        open("hangs", "w").close()
        time.sleep(600)
    if do == "hang, deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        subprocess.Popen(["sleep", "600"])
        while True: pass
    if do == "wait":
        open(rest, "w").close()
        while not os.path.exists("go"): time.sleep(0.005)
    if do == "print":
        for _ in range(rest): print("x" * 1000)
    if do == "write":
        for _ in range(rest): os.write(1, b"y" * 999 + b"\\n")
    if do == "large": return "z" * rest
    if do == "object": return object()
    if do == "set": return {1, 2}
    if do == "cycle":
        cycle = []; cycle.append(cycle)
        return cycle
    if do == "surrogate": return "\\ud800"
    if do == "response":
        from azureml.contrib.services.aml_response import AMLResponse
        return AMLResponse("body", rest.get("status", 200), rest.get("headers", {}))
    if do == "leak":
        globals().setdefault("held", []).append(bytearray(rest))
        return os.getpid()
    return do
"""
UNEXPECTED = {"message": "An unexpected error occurred in scoring script. Check the logs for more info."}
INTERNAL = {"message": "An unexpected internal error occurred. Check the logs for more info."}
LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringServer]:
    with ScoringServer(
        tmp_path_factory.mktemp("hostile"), SCRIPT, workers=2, max_body_bytes=LIMIT, max_output_bytes=20_000
    ) as running:
        yield running


def do(server: ScoringServer, what: str, value: Any = None) -> Answer:

    return server.score(json.dumps({"do": what, "with": value}))


def raw(server: ScoringServer, data: bytes) -> tuple[Answer, bool]:
    """Send bytes; return the answer, and whether the connection is closed after it."""
    with server.client() as client:
        with contextlib.suppress(ConnectionError):
            client.send(data)
        answer = client.read()
        return answer, answer.header("connection") == "close" and client.is_closed()


HEAD = b"POST /score HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = b"POST /score HTTP/1.1\r\nHost: a\r\nx-request-id: smuggled\r\nContent-Length: 1\r\n\r\n1"
NEXT = SMUGGLED.replace(b"smuggled", b"next")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (HEAD + b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Content-Length: 0\r\nContent-Length: 99\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Content-Length: 0,99\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Content-Length : 0\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Content-Length: \x0b0\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED, 501),
        (HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + SMUGGLED, 501),
        (HEAD + b"X: y\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1XX0\r\n\r\n" + SMUGGLED, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\n\n" + SMUGGLED, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n00000000000000000000000001\r\n1\r\n0\r\n\r\n", 400),
        (b"GET /score HTTP/1.1\nHost: a\n\n" + SMUGGLED, 400),
        (b"POST /score HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
    ],
)  # fmt: skip
def test_request_smuggling(server: ScoringServer, data: bytes, status: int) -> None:
    answer, closed = raw(server, data)
    assert (answer.status, closed) == (status, True)
    assert set(answer.json) == {"message"}
    server.score("1", {"x-request-id": "after"})
    server.wait_for_log(request_id="after")
    assert not any(line.get("request_id") == "smuggled" for line in server.log_lines())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
        (b"<html>\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (HEAD + b"Expect: miracles\r\n\r\n", 417),
        (HEAD + b"Content-Length: 100001\r\n\r\n", 413),
        (HEAD + b"Content-Length: 999999999999999999\r\n\r\n", 413),
        (HEAD + b"Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"2710\r\n" + b"x" * 10_000 + b"\r\n") * 30, 413),
    ],
)  # fmt: skip
def test_malformed_and_oversized(server: ScoringServer, data: bytes, status: int) -> None:
    answer, closed = raw(server, data)
    assert (answer.status, closed) == (status, True)
    assert set(answer.json) == {"message"}
    assert server.score("1").status == 200


def test_expectation_is_met_before_the_body_comes(server: ScoringServer) -> None:
    with server.client() as client:
        client.send(HEAD + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert client.read().status == 100
        client.send(b"1")
        assert client.read().status == 200


def test_client_that_sends_no_more_has_its_answers(server: ScoringServer) -> None:
    with server.client() as client:
        client.send(NEXT * 3)
        client.socket.shutdown(socket.SHUT_WR)
        answers = [client.read() for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        assert [answer.header("connection") for answer in answers] == [None, None, "close"]


@pytest.mark.parametrize("path", ["/metrics/", "/v2/", "//evil.example/metrics"])
def test_no_redirects(server: ScoringServer, path: str) -> None:
    answer = server.ask("GET", path, headers={"host": "evil.example"})
    assert (answer.status, answer.header("location")) == (404, None)


def test_largest_body(server: ScoringServer) -> None:
    assert server.score('"' + "x" * (LIMIT - 2) + '"').status == 200


@pytest.mark.parametrize(
    ("what", "value", "expected"),
    [
        ("raise", None, UNEXPECTED), ("recurse", None, UNEXPECTED), ("exit", None, UNEXPECTED),
        ("object", None, INTERNAL), ("set", None, INTERNAL), ("cycle", None, INTERNAL),
        ("response", {"headers": {"X": "a\r\nSet-Cookie: b"}}, INTERNAL), ("response", {"headers": {"X\r\nY": "a"}}, INTERNAL),
        ("response", {"headers": {"X": "ü🌱"}}, INTERNAL), ("response", {"headers": {"X": "y" * 70_000}}, INTERNAL),
        ("response", {"status": 99}, INTERNAL), ("response", {"status": "200 OK"}, INTERNAL), ("response", {"status": 1000}, INTERNAL),
    ],
)  # fmt: skip
def test_scripts_that_fail(server: ScoringServer, what: str, value: Any, expected: dict[str, str]) -> None:
    before = workers(server)
    answer = do(server, what, value)
    assert (answer.status, answer.json) == (500, expected)
    assert b"secret" not in answer.body
    assert workers(server) == before, "for that, no worker is replaced"


def workers(server: ScoringServer) -> set[int]:
    """The model processes of the server: its children."""
    found = set()
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if place.name.isdigit() and int((place / "stat").read_text().rpartition(")")[2].split()[1]) == server.process.pid:
                found.add(int(place.name))
    return found


@pytest.mark.parametrize("what", ["os._exit", "kill", "segfault", "fork and end", "close"])
def test_scripts_that_end_their_process(server: ScoringServer, what: str) -> None:
    with ThreadPoolExecutor(4) as others:
        asked = [others.submit(server.score, "1") for _ in range(20)]
        answer = do(server, what)
        assert (answer.status, answer.json, answer.header("x-ms-run-function-failed")) == (500, UNEXPECTED, "True")
        assert {one.result().status for one in asked} == {200}
    wait_until(lambda: server.ask("GET", "/metrics").body.count(b"wardian_workers_ready 2\n"))


def test_a_forked_process_does_not_answer_in_its_parents_place(server: ScoringServer) -> None:
    before = workers(server)
    assert {do(server, "fork and come back").json for _ in range(4)} <= before
    assert {server.score("1").json for _ in range(4)} <= before
    assert workers(server) == before


def test_prints_are_limited(server: ScoringServer) -> None:
    before = server.log_path.stat().st_size
    with ThreadPoolExecutor(2) as others:
        asked = others.submit(do, server, "print", 50_000)
        assert server.score("1").status == 200
        assert asked.result().status == 200
    server.wait_for_log(message="further characters that were printed are not in the log")
    assert do(server, "write", 20_000).status == 200
    assert server.log_path.stat().st_size - before < 1_000_000


def test_large_answer_to_a_slow_reader(server: ScoringServer) -> None:
    with server.client() as slow:
        body = b'{"do": "large", "with": 5000000}'
        slow.send(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) + NEXT)
        assert server.score("1").status == 200  # while nobody reads that
        assert len(slow.read().body) == 5_000_002
        assert slow.read().status == 200


def test_pipelined_flood(server: ScoringServer) -> None:
    with server.client() as client, ThreadPoolExecutor(1) as sender:
        sent = sender.submit(client.send, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
        assert {client.read().status for _ in range(5000)} == {200}
        sent.result()


def test_no_traceback_and_no_path_reaches_a_client(server: ScoringServer) -> None:
    for path in ("/<script>alert(1)</script>", "/../../etc/passwd", "/%2e%2e/%00", "/score?<b>", "/swagger.json?version=<b>"):
        answer = server.ask("GET", path)
        kind = answer.header("content-type") or ""
        assert b"Traceback" not in answer.body
        assert b"/tmp" not in answer.body
        assert kind == "application/json" or b"<" not in answer.body


def test_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT, workers=2, timeout_s=1.5) as server:
        before = workers(server)
        with ThreadPoolExecutor(2) as others:
            asked = [others.submit(do, server, what) for what in ("hang", "hang, deaf")]
            answers = [one.result() for one in asked]
            for answer in answers:
                assert (answer.status, answer.json) == (500, {"message": "Scoring timeout after 1500 ms"})
                assert answer.header("x-ms-run-function-failed") == "True"
        assert server.score("1").status == 200, "it waits for a new worker"
        wait_until(lambda: len(workers(server)) == 2 and not workers(server) & before)
        server.wait_for_log(message="worker has ended: timeout, signal SIGKILL")


def test_slow_clients(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT, header_timeout_s=0.5, body_timeout_s=0.5, keepalive_s=0.5) as server:
        for begun, told in ((b"POST /sco", "head"), (HEAD + b"Content-Length: 10\r\n\r\n1", "body")):
            answer, closed = raw(server, begun)
            assert (answer.status, closed) == (408, True)
            assert told in answer.json["message"]
        with server.client() as trickling:
            trickling.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")

            def trickle() -> bool:
                with contextlib.suppress(ConnectionError):
                    trickling.send(b"1\r\n1\r\n")
                return any(line.get("status") == 408 and line["request_id"] == "" for line in server.log_lines()[-1:])

            wait_until(trickle)
        with server.client() as idle:
            assert idle.ask("GET", "/").status == 200
            assert idle.is_closed()
        with server.client() as silent:
            assert silent.is_closed()


def test_bodies_of_all_requests_together(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT, max_held_bytes=150_000) as server, server.client() as first:
        first.send(HEAD + b'Content-Length: 100000\r\n\r\n"')
        wait_until(lambda: b"wardian_held_bytes 100000\n" in server.ask("GET", "/metrics").body)
        for begun in (
            b"Content-Length: 100000\r\n\r\n1",
            b"Transfer-Encoding: chunked\r\n\r\n" + b"C350\r\n" + b"1" * 50_000 + b"\r\n1\r\n",
        ):
            refused, closed = raw(server, HEAD + begun)
            assert (refused.status, refused.header("retry-after"), closed) == (503, "1", True)
        first.send(b"x" * 99_998 + b'"')
        assert first.read().status == 200
        wait_until(lambda: b"wardian_held_bytes 0\n" in server.ask("GET", "/metrics").body)


def test_answers_without_a_body(server: ScoringServer) -> None:
    with server.client() as client:
        for status in (204, 304):
            body = json.dumps({"do": "response", "with": {"status": status}}).encode()
            client.send(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            assert client.read().status == status
        assert client.ask("GET", "/").body == b"Healthy", "nothing was left on the connection"


def test_full_queue(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT, max_queue=2) as server, ThreadPoolExecutor(8) as clients:
        running = clients.submit(do, server, "wait", "begun")
        wait_until((tmp_path / "begun").exists)
        waiting = [clients.submit(server.score, "1") for _ in range(2)]
        wait_until(lambda: b"wardian_waiting 2\n" in server.ask("GET", "/metrics").body)
        refused = server.score("1")
        assert (refused.status, refused.header("retry-after")) == (503, "1")
        assert "more requests than it can take" in refused.json["message"]
        (tmp_path / "go").touch()
        assert {one.result().status for one in (running, *waiting)} == {200}


@pytest.mark.parametrize("ends", ["kill", "timeout"])
def test_requests_in_the_hands_of_a_worker_that_ends_go_to_the_next(tmp_path: Path, ends: str) -> None:
    with (
        ScoringServer(tmp_path, SCRIPT, max_queue=5, timeout_s=3600 if ends == "kill" else 2) as server,
        ThreadPoolExecutor(8) as clients,
    ):
        with server.client() as client:
            for _ in range(80):  # a quick worker is handed some ahead
                assert client.ask("POST", "/score", b"1").status == 200
        (before,) = workers(server)
        slow = clients.submit(do, server, "wait", "begun")
        wait_until((tmp_path / "begun").exists)
        waiting = [clients.submit(server.score, "1") for _ in range(5)]
        wait_until(lambda: b"wardian_waiting 5\n" in server.ask("GET", "/metrics").body)
        assert server.score("1").status == 503, "what a worker has ahead counts as waiting"
        if ends == "kill":
            os.kill(before, signal.SIGKILL)
        assert slow.result().status == 500
        assert {(one.result().status, one.result().json != before) for one in waiting} == {(200, True)}


def test_client_that_left_is_not_worked_for(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT) as server, ThreadPoolExecutor(2) as clients:
        running = clients.submit(do, server, "wait", "begun")
        wait_until((tmp_path / "begun").exists)
        with server.client() as leaving:
            body = b'{"do": "wait", "with": "for nobody"}'
            leaving.send(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            wait_until(lambda: b"wardian_waiting 1\n" in server.ask("GET", "/metrics").body)
            leaving.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        wait_until(lambda: b"wardian_connections 2\n" in server.ask("GET", "/metrics").body)
        (tmp_path / "go").touch()
        assert running.result().status == 200
        assert server.score("1").status == 200
        assert not (tmp_path / "for nobody").exists()


@pytest.mark.parametrize("limit", [{"max_requests": 5}, {"max_memory_bytes": 60_000_000}])
def test_worker_that_reached_its_limit_is_replaced_without_a_failed_request(tmp_path: Path, limit: dict[str, Any]) -> None:
    with ScoringServer(tmp_path, SCRIPT, **limit) as server, server.client() as client:
        first = workers(server)

        def ask() -> bool:
            answer = client.ask("POST", "/score", b'{"do": "leak", "with": 1000000}')
            assert answer.status == 200
            return answer.json not in first

        wait_until(ask)
        server.wait_for_log(message="worker has reached its limit and is replaced")


def test_replacement_that_cannot_start(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT) as server:
        (tmp_path / "broken").touch()
        assert do(server, "os._exit").status == 500
        wait_until(lambda: server.score("1").status == 503)
        assert server.ask("GET", "/ready").status == 503
        assert server.ask("GET", "/live").status == 200
        (tmp_path / "broken").unlink()
        wait_until(lambda: server.score("1").status == 200)


def test_killed_from_outside(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT, workers=2) as server:
        (first, *_) = before = workers(server)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(workers(server)) == 2 and first not in workers(server))
        assert server.score("1").status == 200
        before = workers(server)
        server.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))


def test_threads_of_one_worker(tmp_path: Path) -> None:
    with ScoringServer(tmp_path, SCRIPT, threads=4) as server, ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(do, server, "wait", f"begun {number}") for number in range(3)]
        wait_until(lambda: len(list(tmp_path.glob("begun *"))) == 3)
        assert server.score("1").status == 200
        (tmp_path / "go").touch()
        assert {one.result().status for one in asked} == {200}
        assert len(workers(server)) == 1
