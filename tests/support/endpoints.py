"""Endpoints for tests: a workspace's records and keepers in processes of their own, over a stand-in for the scoring server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.containers import IN_IMAGE
from tests.support.jobs import wait_until

from wardian.errors import WardianError
from wardian.image.engine_list import engine_named
from wardian.serving.container_replica import ContainerWay
from wardian.serving.directory import EndpointDirectory
from wardian.serving.keeper import Keeper, Pace
from wardian.serving.local_replica import LocalWay
from wardian.serving.plan import Plan
from wardian.tools import processes
from wardian.workspace.database import Database
from wardian.workspace.endpoints import Endpoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.workspace.endpoint_record import ApiKey, EndpointRecord, Rollout

SERVER = Path(__file__).with_name("stand_in_server.py")
ROOT = Path(__file__).parent.parent.parent
QUICK = Pace(look_s=0.01, idle_s=0.2, first_pause_s=0.01, longest_pause_s=0.05, deaths=4, healthy_s=60.0, grace_s=1.0)


@dataclass
class Stage:
    """A workspace with endpoints whose servers are stand-ins. ``end()`` ends all that was started."""

    root: Path
    keepers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    engine: str = ""  # podman or docker: replicas run in containers of ``image``
    image: str = ""
    environ: dict[str, str] = field(default_factory=dict)  # of the engine

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.store = Endpoints(Database.open(self.root / "workspace.db"))

    def directory(self, name: str = "churn") -> EndpointDirectory:
        return EndpointDirectory.of(self.root / "endpoints", name)

    def deploy(self, name: str = "churn", *, replicas: int | None = None, port: int | None = None, keys: Sequence[ApiKey] = (), drain_s: float = 30.0,
               startup_timeout_s: float = 60.0, python: str = IN_IMAGE, **variables: str) -> Rollout:  # fmt: skip
        """Record a deployment of the stand-in, with the plan for its replicas, and wake the keeper if there is one."""
        server = {"drain_s": drain_s, "startup_timeout_s": startup_timeout_s}
        if self.engine:
            plan = Plan(self.engine, (python, f"/opt/serve/{SERVER.name}"), "/", variables, server, image=self.image,
                        mounts=((str(SERVER.parent), "/opt/serve"),))  # fmt: skip
        else:
            plan = Plan("local", (sys.executable, str(SERVER)), "/", {"PATH": os.defpath, **variables}, server)

        def place(number: int) -> None:
            path = self.directory(name).plan(number)
            path.parent.mkdir(parents=True)
            plan.write(path)

        _, _, rollout = self.store.deploy(name, {"target": "local"}, place=place, replicas=replicas, port=port, keys=keys)
        self.wake(name)
        return rollout

    def keep(self, name: str = "churn") -> subprocess.Popen[bytes]:
        """Start a keeper as a process of its own."""
        with self.directory(name).keeper_log.open("ab") as log:
            keeper = subprocess.Popen([sys.executable, "-m", "tests.support.endpoints", str(self.root), name, json.dumps(self.environ)], cwd=ROOT, stdout=log, stderr=log,
                                      start_new_session=True)  # fmt: skip
        self.keepers.append(keeper)
        wait_until(lambda: self._kept_by(name, keeper.pid), process=keeper)
        return keeper

    def _kept_by(self, name: str, pid: int) -> bool:
        record = self.store.find(name)
        return record is not None and record.keeper is not None and record.keeper.pid == pid

    def wake(self, name: str = "churn") -> None:
        record = self.store.find(name)
        if record is not None and record.keeper is not None:
            processes.send(record.keeper, signal.SIGUSR1)

    def record(self, name: str = "churn") -> EndpointRecord:
        return self.store.get(name)

    def wait_for(self, rollout: Rollout, state: str = "serving", name: str = "churn") -> Rollout:
        """Wait until a rollout has ended, and return it; it is in ``state``."""
        found = wait_until(lambda: (now := self.store.rollout(name, rollout.number)).state != "starting" and now)
        assert found.state == state, f"{found}\n{self.log(name)}"  # type: ignore[attr-defined]
        return found  # type: ignore[return-value]

    def replicas(self, name: str = "churn", state: str = "ready") -> list[dict[str, Any]]:
        return [document for _, document in self.directory(name).replica_documents() if document["state"] == state]

    def wait_for_replicas(self, count: int, name: str = "churn", *, without: int = 0) -> list[dict[str, Any]]:
        """Wait until there are just so many replicas, all of them ready, none of them the process ``without``."""

        def there() -> list[dict[str, Any]] | bool:
            documents = [document for _, document in self.directory(name).replica_documents()]
            return (
                len(documents) == count
                and all(d["state"] == "ready" and d["process"]["pid"] != without for d in documents)
                and (documents or True)
            )

        found = wait_until(there)
        return found if isinstance(found, list) else []

    def log(self, name: str = "churn") -> str:
        path = self.directory(name).log
        return path.read_text(errors="replace") if path.exists() else ""

    def score(self, body: str = "hello", *, name: str = "churn", key: str = "") -> dict[str, Any]:
        """Ask over a connection of its own; return the answer, with its status."""
        return score(self.record(name).port or 0, body, key=key)

    def end(self) -> None:
        for keeper in self.keepers:
            with contextlib.suppress(ProcessLookupError):
                keeper.kill()
            keeper.wait()
        for path in self.root.glob("endpoints/*/replicas/*/replica.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                processes.send(processes.ProcessIdentity.from_document(json.loads(path.read_text())["process"]), signal.SIGKILL)


def score(port: int, body: str = "hello", *, key: str = "") -> dict[str, Any]:
    """POST to /score over a connection of its own; return the answer, with its status."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/score", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {**json.loads(answer.read()), "status": answer.status}
    except urllib.error.HTTPError as error:
        return {**json.loads(error.read()), "status": error.code}


def a_recorded_endpoint(home: Path, name: str) -> None:
    """Write down an endpoint that nobody looks after."""
    database = Database.open(home / "workspaces/default/workspace.db")
    Endpoints(database).deploy(name, {"configuration": {"target": "local"}}, place=lambda _number: None)
    database.close()


def end_endpoints(home: Path) -> None:
    """End all endpoints below a Wardian home with their keepers, however a test has left them."""
    keepers = []
    for path in home.glob("workspaces/*/workspace.db"):
        with contextlib.suppress(WardianError):
            keepers += [record.keeper for record in Endpoints(Database.open(path)).list() if record.keeper is not None]
    for path in home.glob("workspaces/*/endpoints"):
        shutil.rmtree(path, ignore_errors=True)  # a keeper that finds nothing any more ends its replicas
    for keeper in keepers:
        processes.send(keeper, signal.SIGUSR1)
        assert processes.wait_until_gone(keeper, 60.0)


def main(arguments: Sequence[str]) -> None:
    """Be the keeper of an endpoint of a stage."""
    root, name, environ = Path(arguments[0]), arguments[1], json.loads(arguments[2])

    def way(target: str) -> LocalWay | ContainerWay:
        return LocalWay() if target == "local" else ContainerWay(engine_named(target, environ, root / "memory"))

    store = Endpoints(Database.open(root / "workspace.db"))
    Keeper(
        name, store, EndpointDirectory.of(root / "endpoints", name), way, lambda _keys: contextlib.nullcontext(), QUICK
    ).run()


if __name__ == "__main__":
    main(sys.argv[1:])
