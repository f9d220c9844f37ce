"""Runs on a real Slurm through a real slurmrestd, with real tokens and without Slurm's commands."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest
from tests.support.cli import Cli
from tests.support.jobs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.slurm import Slurm


@pytest.fixture
def cli(tmp_path: Path, slurm: Slurm, slurmrestd: tuple[str, str]) -> Iterator[Cli]:
    """A command line with a target `hpc` whose token is in the secret `hpc-token`, on a machine without sbatch."""
    made = Cli.at(tmp_path)
    empty = tmp_path / "bin"
    empty.mkdir()
    made.variables |= {"PATH": str(empty)}
    made.ok("env", "create", "host", "--interpreter", sys.executable)
    keep(made, slurm.token())
    a_target(made, "hpc", slurmrestd[1])
    made.write(
        "train.py",
        "import sys\nprint('hello', *sys.argv[1:])\nopen('outputs/model', 'w').close()\nraise SystemExit(int(sys.argv[1]))\n",
    )
    yield made
    slurm.call("scancel", "--me", check=False)
    wait_until(lambda: not slurm.call("squeue", "-h", "-o", "%A"))


def keep(cli: Cli, token: str) -> None:
    cli.ok("secret", "set", "hpc-token", stdin=token)


def a_target(cli: Cli, name: str, where: str) -> None:
    cli.ok("target", "create", name, "--kind", "slurm", "--option", f"rest={where}", "--option", "token=hpc-token")


def run(cli: Cli, *words: str, target: str = "hpc") -> Any:
    return cli.run("run", "-t", target, "-e", "host", *words)


def newest(cli: Cli) -> Any:
    return cli.json("runs", "show", "latest")


@pytest.mark.slow
def test_a_run_by_rest_is_as_one_by_sbatch(cli: Cli, slurm: Slurm, tmp_path: Path) -> None:
    token = slurm.token()
    keep(cli, token)
    done = run(cli, "--cpus", "1", "--memory", "100M", "--time", "10m", "train.py", "3")
    assert (done.code, done.out) == (3, "hello 3\n"), done.err
    found = newest(cli)
    assert found["place"]["handle"] in slurm.jobs(found["id"])
    assert [one["path"] for one in found["results"]["outputs"]] == ["outputs/model"]
    assert "Requeue=0" in slurm.call("scontrol", "show", "job", found["place"]["handle"])
    for path in (cli.home / "workspaces/default").rglob("*"):
        if path.is_file() and "secrets" not in path.parts:
            assert token.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_run_in_the_background_says_that_nobody_answered(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    a_target(cli, "gone", f"http://127.0.0.1:{port}")
    (cli.home / "nodes").mkdir(exist_ok=True)
    done = cli.ok("run", "-d", "-t", "gone", "-e", "host", "train.py", "0")
    assert f"; run {done.out.strip()} is kept, and given to `gone` at the next look" in done.err
    assert newest(cli)["state"] == "queued"
    late = cli.run("runs", "wait", "latest", "--timeout", "1")
    assert f"is still queued after 1 s: slurmrestd does not answer at http://127.0.0.1:{port}" in late.err


@pytest.mark.slow
def test_a_target_is_tried_out(cli: Cli) -> None:
    done = cli.ok("target", "check", "hpc")
    assert "version 0.0.38" in done.out
    assert "a small job ran on" in done.out
    assert "ok       token" in done.out


@pytest.mark.slow
def test_a_token_that_has_expired_is_an_error_that_says_so(cli: Cli, slurm: Slurm) -> None:
    old = slurm.token(lifespan_s=1)
    keep(cli, old)
    wait_until(lambda: cli.run("target", "check", "hpc").code == 1, pause_s=0.5)
    assert "has expired: " in cli.run("target", "check", "hpc").out
    done = run(cli, "-d", "train.py", "0")
    assert done.code != 0
    assert "has expired: " in done.err
    assert "`wardian secret set hpc-token` keeps it" in done.err
    assert newest(cli)["state"] == "failed"
    assert slurm.jobs(newest(cli)["id"]) == []


@pytest.mark.slow
def test_a_run_whose_token_expires_meanwhile_is_not_lost(cli: Cli, slurm: Slurm) -> None:
    assert run(cli, "-d", "train.py", "0").code == 0
    keep(cli, "e30.eyJzdW4iOiJyb290IiwiZXhwIjoxfQ.x")
    wait_until(lambda: list((cli.home / "nodes/runs").glob("*/ended.json")))
    listed = cli.run("runs", "list")
    assert "has expired: 1970" in listed.err
    found = newest(cli)
    assert found["state"] == "queued"
    keep(cli, slurm.token())
    assert cli.json("runs", "wait", found["id"])["state"] == "completed"


def test_a_lost_answer_is_one_job(cli: Cli, slurm: Slurm, slurmrestd: tuple[str, str]) -> None:
    """The line is cut after the request has arrived and before its answer comes back; and the token is gone at the first look."""
    with Eater(slurmrestd[0].removeprefix("http://")) as eater:
        a_target(cli, "cut", f"http://{eater.host}")
        assert run(cli, "-d", "train.py", "0", target="cut").code == 0
        keep(cli, "e30.eyJzdW4iOiJyb290IiwiZXhwIjoxfQ.x")
        found = newest(cli)
        assert (found["state"], "handle" in found["place"]) == ("queued", False)
        assert "has expired" in found["reason"], "an earlier try may have been taken: it is not over"
        wait_until(lambda: slurm.jobs(found["id"]))
        keep(cli, slurm.token())
        assert cli.json("runs", "wait", found["id"])["state"] == "completed"
    assert len(slurm.jobs(found["id"])) == 1


class Eater:
    """A relay that swallows the answer to the first POST."""

    def __init__(self, target: str):
        name, _, port = target.partition(":")
        self._target = (name, int(port))
        self._done = False

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection, which requests may follow each other on."""
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            while request := _message(client):
                server.sendall(request)
                eats = request.startswith(b"POST") and not self._done
                answer = _message(server)
                if eats:
                    self._done = True
                    return
                client.sendall(answer)


def _message(source: socket.socket) -> bytes:
    """Return a request or an answer, head and body; nothing: the connection has ended."""
    content = b""
    while not _is_whole(content):
        piece = source.recv(1 << 20)
        if not piece:
            return b""
        content += piece
    return content


def _is_whole(content: bytes) -> bool:
    head, split, body = content.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return bool(split) and len(body) >= sum(lengths)
