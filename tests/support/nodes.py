"""A node directory for tests: runs with their sheets, archives, and the node's agent as a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.base_images import session_place
from tests.support.wheels import make_wheel

from wardian.definition.platform import this_platform
from wardian.digest import Digest
from wardian.lock.lock import Artifact, Lock, Provenance
from wardian.lock.python import host_python
from wardian.run.configuration import Command
from wardian.run.node.bundle import Agent, node_agent
from wardian.run.node.sheet import ENDED, NodeEnd, NodeStatus, Secrets, Sheet, of_rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

RUN_ID = "01abcdefghjk"
SCRIPT = "train.py"


@dataclass(frozen=True)
class NodeRun:
    """A run below the node directory ``root``."""

    root: Path
    run_id: str = RUN_ID

    @property
    def directory(self) -> Path:
        return self.root / "runs" / self.run_id

    @property
    def sheet(self) -> Path:
        return self.directory / "sheet.json"

    @property
    def snapshot(self) -> Path:
        return self.directory / "snapshot"

    def end(self, rank: int = 0) -> NodeEnd:
        """Return how it ended."""
        return NodeEnd.from_json((self.directory / of_rank(ENDED, rank)).read_bytes())

    def status(self) -> NodeStatus:
        """Return how it stands."""
        return NodeStatus.from_json((self.directory / "status.json").read_bytes())

    def has_ended(self) -> bool:
        """Return whether it has."""
        return (self.directory / ENDED).exists()

    def log(self, rank: int = 0) -> str:
        """Return what it wrote."""
        return (self.directory / of_rank("log.txt", rank)).read_text()

    def reading(self, word: str) -> bool:
        """Return whether it has written ``word``."""
        return word in self.log()


def a_run(root: Path, script: str = "print('done')", *arguments: str, secrets: Secrets | None = None, lock: Lock | None = None,
          run_id: str = RUN_ID, files: Mapping[str, str] = {}, **changes: Any) -> NodeRun:  # fmt: skip
    """Write a run of ``script`` as its submitter does. Without a lock, its interpreter is this test's own."""
    run = NodeRun(root, run_id)
    run.snapshot.mkdir(parents=True)
    for name, text in {SCRIPT: script, **files}.items():
        (run.snapshot / name).write_text(text)
    values: dict[str, Any] = {"command": Command("script", SCRIPT, arguments), "interpreter": None if lock else sys.executable,
                              "lock_digest": lock.digest if lock else None, "heartbeat_s": 0.1}  # fmt: skip
    run.sheet.write_bytes(Sheet(run_id, **values | changes).to_json())
    if lock is not None:
        (run.directory / "lock.json").write_text(lock.to_json())
    if secrets is not None:
        (run.directory / "secrets.json").write_bytes(secrets.to_json())
    return run


def agent_argv(*arguments: str | Path) -> list[str]:
    """Return the command of an agent of this checkout."""
    return [sys.executable, "-m", "wardian.sdk.node", "exec", *map(str, arguments)]


def start_agent(run: NodeRun, *, environ: Mapping[str, str] = {}, **options: Any) -> subprocess.Popen[str]:
    """Start an agent for ``run``; in a session of its own, as engines do."""
    return subprocess.Popen(agent_argv("--sheet", run.sheet), env={**os.environ, **environ}, text=True, start_new_session=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)  # fmt: skip


def run_agent(run: NodeRun, *, environ: Mapping[str, str] = {}) -> tuple[int, str]:
    """Return the exit code of an agent for ``run``, and what it says."""
    with start_agent(run, environ=environ) as agent:
        said, _ = agent.communicate(timeout=300)
    return agent.returncode, said


@dataclass
class Carried:
    """Archives in the directory ``packages``, and a lock of them."""

    packages: Path
    artifacts: list[Artifact] = field(default_factory=list)

    def add(self, path: Path, artifact: Artifact) -> Artifact:
        """Put an archive where it is looked for."""
        place = self.packages / artifact.sha256
        place.mkdir(parents=True)
        (place / path.name).write_bytes(path.read_bytes())
        self.artifacts.append(artifact)
        return artifact

    def lock(self, **changes: Any) -> Lock:
        """Return the lock."""
        values: dict[str, Any] = {"platform": this_platform().name, "provenance": Provenance(Digest.of(b""))}
        return Lock(artifacts=tuple(self.artifacts), **values | changes)


def host_lock(root: Path, scratch: Path, wheels: Sequence[tuple[str, str]] = (("hello-node", "1.0"),)) -> Carried:
    """Return a lock of this machine's Python and some wheels, carried to ``root``."""
    carried = Carried(root / "packages", [host_python(platform.python_version())])
    for name, version in wheels:
        path = make_wheel(scratch, name, version)
        content = path.read_bytes()
        carried.add(path, Artifact(kind="wheel", source="index:pypi", name=name, version=version, file=path.name,
                                   sha256=Digest.of(content), size_bytes=len(content)))  # fmt: skip
    return carried


def agent_here(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """Return the agent of this checkout, made once for all test processes."""
    return node_agent(session_place(tmp_path_factory.getbasetemp()) / "wardian-node-directory" / "agents")
