"""An engine for tests, whose jobs are files: it starts nothing, a test says what becomes of each job. It outlives processes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.jobs import a_configuration

from wardian.errors import Unavailable
from wardian.run.configuration import RunEnvironment
from wardian.run.handover import Needs, Way, hand_over
from wardian.run.node.sheet import ENDED, STATUS, NodeEnd, NodeStatus
from wardian.run.records import RunStore
from wardian.run.remote_runs import RemoteRuns
from wardian.run.surroundings import Surroundings
from wardian.run.targets.remote import UNKNOWN, WAITING, Finding, Standing
from wardian.run.targets.shared_directory import SharedDirectory
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.run.configuration import Resources
    from wardian.run.record import RunRecord
    from wardian.run.targets.remote import Task


@dataclass
class FileEngine:
    """Jobs below ``directory``. See ``RemoteTarget``.

    Attributes:
        before, after: called by ``submit``, before it makes a job and before it answers.
        silent: it answers no question.
    """

    directory: Path
    name: str = "engine"
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    silent: bool = False
    questions: list[tuple[str, int]] = field(default_factory=list)

    def check(self, resources: Resources | None = None) -> Sequence[Finding]:  # noqa: ARG002
        return [Finding("engine", not self.silent, "answers")]

    def submit(self, task: Task) -> str:
        self._ask("submit", 1)
        self.before()
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in self.directory.iterdir():
            if json.loads(path.read_text())["key"] == task.key:
                return path.name
        handle = str(len(os.listdir(self.directory)) + 1)  # noqa: PTH208
        (self.directory / handle).write_text(
            json.dumps({"key": task.key, "argv": list(task.argv), "standing": asdict(Standing(WAITING, reason="Resources"))})
        )
        self.after()
        return handle

    def standings(self, handles: Sequence[str]) -> Mapping[str, Standing]:
        self._ask("standings", len(handles))
        return {handle: self._standing(handle) for handle in handles}

    def read_log(self, handle: str, offset: int, limit: int) -> bytes:  # noqa: ARG002
        return b""

    def cancel(self, handles: Sequence[str]) -> None:
        self._ask("cancel", len(handles))
        for handle in handles:
            if self._standing(handle).state == WAITING:
                self.say(handle, Standing("ended", reason="CANCELLED", cause="canceled"))

    def say(self, handle: str, standing: Standing) -> None:
        """Have the job stand so."""
        path = self.directory / handle
        path.write_text(json.dumps({**json.loads(path.read_text()), "standing": asdict(standing)}))

    def jobs(self) -> list[str]:
        """Return the keys of all jobs, in the order of submission."""
        paths = sorted(self.directory.iterdir(), key=lambda path: int(path.name)) if self.directory.is_dir() else []
        return [json.loads(path.read_text())["key"] for path in paths]

    def _standing(self, handle: str) -> Standing:
        try:
            return Standing(**json.loads((self.directory / handle).read_text())["standing"])
        except FileNotFoundError:
            return Standing(UNKNOWN)

    def _ask(self, what: str, count: int) -> None:
        if self.silent:
            raise Unavailable("the engine does not answer", code="engine_unavailable")
        self.questions.append((what, count))


class CountingDirectory(SharedDirectory):
    """A shared directory that counts what it is asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads = 0
        self.gone = False

    def have(self, paths: Sequence[str]) -> set[str]:
        self._refuse()
        return super().have(paths)

    def read(self, path: str, offset: int, limit: int) -> bytes | None:
        self._refuse()
        self.reads += 1
        return super().read(path, offset, limit)

    def fetch(self, path: str, place: str, *, limit_bytes: int | None = None) -> Sequence[str]:
        self._refuse()
        return super().fetch(path, place, limit_bytes=limit_bytes)

    def _refuse(self) -> None:
        if self.gone:
            raise Unavailable("the directory is not mounted", code="node_directory_unavailable")


@dataclass
class Cluster:
    """An engine and its nodes' directory, below one directory; and what a node would do there."""

    place: Path
    engine: FileEngine = field(init=False)
    carrier: CountingDirectory = field(init=False)

    def __post_init__(self) -> None:
        self.engine = FileEngine(self.place / "jobs")
        self.carrier = CountingDirectory(self.place / "nodes")

    @property
    def way(self) -> Way:
        return Way(self.engine, self.carrier, "engine", {"queue": "main"})

    def directory(self, run_id: str) -> Path:
        """The run's directory on the nodes' side."""
        return Path(self.carrier.root, "runs", run_id)

    def node_says(self, run_id: str, state: str = "running", at: str = "2026-01-01T00:00:10.000000Z") -> None:
        """Have the run's node write how it stands."""
        (self.directory(run_id) / STATUS).write_bytes(NodeStatus(state, at=at, node="n1").to_json())

    def node_ends(self, run_id: str, end: NodeEnd | None = None, log: str = "", files: Mapping[str, str] = {}) -> None:
        """Have the run's node end it, as an agent does; it exits with 0 if nothing is said."""
        directory = self.directory(run_id)
        for name, text in files.items():
            path = directory / "snapshot" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        with (directory / "log.txt").open("a") as stream:
            stream.write(log)
        end = end or NodeEnd(
            "exited",
            exit_code=0,
            began="2026-01-01T00:00:10Z",
            ended="2026-01-01T00:00:20Z",
            prepared="prefix cached",
            node="n1",
        )
        (directory / ENDED).write_bytes(end.to_json())

    @staticmethod
    def needs(_record: RunRecord) -> Needs:
        """Return what a node needs: little."""
        return Needs(RunEnvironment(name="tests", version="1", summary="tests:1"), ("/agent", "exec", "--sheet"))


class Scene:
    """A workspace's runs, a cluster, and a project to run."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.runs_dir = place / "runs"
        self.runs_dir.mkdir()
        self.project = place / "project"
        self.project.mkdir()
        (self.project / "train.py").write_text("print(1)\n")
        self.cluster = Cluster(place / "cluster")
        self.database = Database.open(place / "workspace.db")

    @property
    def store(self) -> RunStore:
        return RunStore(self.database, runs_dir=self.runs_dir)

    @property
    def remote(self) -> RemoteRuns:
        return RemoteRuns(self.store, self.runs_dir, lambda _: self.cluster.way)

    def submit(
        self,
        *arguments: str,
        environ: dict[str, str] | None = None,
        needs: Any = None,
        carried: Mapping[str, Path] | None = None,
        **changes: Any,
    ) -> RunRecord:
        configuration = a_configuration(self.project, "train.py", *arguments, target="hpc", **changes)
        return hand_over(configuration, self.store, self.runs_dir, self.cluster.way, needs or self.cluster.needs,
                         surroundings=Surroundings(environ=environ or {}), carried=carried)  # fmt: skip

    def submit_and_die(self, *, at: str) -> None:
        """Have another process submit, and end as by ``kill -9`` at that moment."""
        self.database.close()
        child = os.fork()
        if child == 0:
            self.database = Database.open(self.place / "workspace.db")

            def die(*_: object) -> Any:
                os._exit(9)

            if at == "needs":
                self.submit(needs=die)
            setattr(self.cluster.engine, at, die)
            self.submit()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        self.database = Database.open(self.place / "workspace.db")
