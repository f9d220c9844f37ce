"""Endpoints under load while something is killed or changed: as many requests fail as docs/concepts/endpoints.md says, and no more."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import pytest
from tests.support.cli import Cli
from tests.support.endpoints import end_endpoints
from tests.support.jobs import wait_until

from wardian.errors import WardianError
from wardian.tools import processes
from wardian.tools.scoring_http import ScoringConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

CONNECTIONS = 6
SCORE = "import os, time\n\ndef init():\n    pass\n\ndef run(data):\n    time.sleep(0.002)\n    return [os.getpid(), os.environ.get('LEVEL')]\n"


class Load:
    """Requests over connections that are kept, from threads, until ``stop``; what failed, and what was answered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(CONNECTIONS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def _ask(self) -> None:
        connection = ScoringConnection(self._url, timeout_s=120)
        while not self._stop.is_set():
            try:
                answer = connection.post("/score", b"[1]", {"Content-Type": "application/json"})
            except WardianError as error:
                self.failures.append(error.message)
                continue
            if answer.status == 200:
                self.answers[answer.body.decode().partition(",")[2].strip(' "]')] += 1
            else:
                self.failures.append(f"{answer.status}")
        connection.close()

    def more(self, count: int = 50) -> None:
        """Wait until so many more were answered."""
        before = sum(self.answers.values())
        wait_until(lambda: sum(self.answers.values()) >= before + count)

    def failed(self) -> list[str]:
        """Return what failed since the last time."""
        self.more()
        found, self.failures = self.failures, []
        return found

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    found = Cli.at(tmp_path_factory.mktemp("faults"))
    found.variables |= {"WARDIAN_OFFLINE": "1"}
    found.write("score.py", SCORE)
    found.ok("env", "create", "mine", "--manager", "user", "--interpreter", sys.executable)
    yield found
    end_endpoints(found.home)


def shown(cli: Cli) -> dict[str, Any]:
    document: dict[str, Any] = cli.json("endpoint", "show", "faults")
    return document


def test_what_fails_when_something_is_killed_or_changed(cli: Cli) -> None:
    made = cli.json(
        "deploy",
        "faults",
        "--entry",
        "score.py",
        "-e",
        "mine",
        "--replicas",
        "2",
        "--workers",
        "2",
        "--no-auth",
        "-V",
        "LEVEL=1",
    )
    with Load(made["url"]) as load:
        assert load.failed() == []

        cli.ok("endpoint", "update", "faults", "-V", "LEVEL=2")
        wait_until(lambda: load.answers["2"])
        assert load.failed() == []
        cli.ok("endpoint", "rollback", "faults")
        cli.ok("endpoint", "restart", "faults")
        cli.ok("endpoint", "scale", "faults", "3")
        cli.ok("endpoint", "scale", "faults", "2")
        assert load.failed() == []
        assert (
            cli.run(
                "endpoint",
                "update",
                "faults",
                "--entry",
                "score.py",
                "-V",
                "LEVEL=3",
                "-t",
                "local",
                "--startup-timeout",
                "0.001",
            ).code
            == 1
        )
        assert load.failed() == []

        # a worker: what it was answering, one request for each of its threads
        for _ in range(3):
            front = shown(cli)["replicas"][0]["pid"]
            workers = processes.descendants(front)
            assert len(workers) == 2
            os.kill(workers[0], signal.SIGKILL)
            wait_until(lambda front=front, gone=workers[0]: gone not in (now := processes.descendants(front)) and len(now) == 2)  # type: ignore[misc]
            failed = load.failed()
            assert len(failed) <= 1, failed
            assert set(failed) <= {"500"}

        # a replica: what was under way there, at most one for each connection
        for _ in range(3):
            gone = shown(cli)["replicas"][0]["pid"]
            os.kill(gone, signal.SIGKILL)
            while len(now := _ready(cli)) != 2 or gone in now:
                load.more()
            failed = load.failed()
            assert len(failed) <= CONNECTIONS, failed

        # the keeper: nothing
        keeper = shown(cli)["keeper_pid"]
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: processes.identify(keeper) is None)
        load.more(200)
        assert load.failed() == []
        assert shown(cli)["keeper_pid"] != keeper
        cli.ok("endpoint", "update", "faults", "-V", "LEVEL=4")
        wait_until(lambda: load.answers["4"])
        assert load.failed() == []


def _ready(cli: Cli) -> set[int]:
    return {one["pid"] for one in shown(cli)["replicas"] if one["state"] == "ready"}
