"""Whole runs in containers: what a script sees and leaves, how it ends, and that nothing stays behind whoever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.containers import BUSYBOX, IN_IMAGE, PYTHON, PYTHONS, Dockerd, PodmanSpace, archive, dockerd, podman_space
from tests.support.jobs import STUBBORN, wait_until

from wardian.errors import RunFailed
from wardian.image.engine import OWNER_LABEL, Container
from wardian.run.configuration import Command, Resources, RunConfiguration, RunEnvironment
from wardian.run.in_image import observe_in_image, prepare_in_image
from wardian.run.records import RunStore
from wardian.run.submit import submit
from wardian.run.surroundings import Surroundings
from wardian.run.targets.container import ContainerTarget
from wardian.run.targets.container_options import ContainerOptions
from wardian.run.targets.container_place import PREFIX, orphans
from wardian.run.targets.launcher_python import launcher_python
from wardian.tools import processes
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.image.engine import LocalImage
    from wardian.run.record import RunRecord

REPOSITORY = Path(__file__).resolve().parents[2]
Space = PodmanSpace | Dockerd
HIDDEN = "s3cret-value-of-a-token"


@pytest.fixture(scope="module", params=["podman", pytest.param("docker", marks=pytest.mark.slow)])
def space(request: pytest.FixtureRequest) -> Iterator[Space]:
    with podman_space() if request.param == "podman" else dockerd() as found:
        yield found


@pytest.fixture(scope="module")
def image(space: Space, tmp_path_factory: pytest.TempPathFactory) -> LocalImage:
    return space.engine().load(archive(PYTHON, tmp_path_factory.getbasetemp().parent))


class Runs:
    """Runs of one script at a time, below ``root``."""

    def __init__(self, root: Path, space: Space, image: LocalImage) -> None:
        self.root, self.space, self.image = root, space, image
        (root / "project").mkdir()
        self.store = RunStore(Database.open(root / "workspace.db"))
        self.environ = {"HOME": "/home/somebody", "TZ": "Asia/Tokyo", "LANG": "C.UTF-8", "NOT_PASSED": "x"}

    def run(self, script: str, *, options: ContainerOptions | None = None, **changes: object) -> RunRecord:
        (self.root / "project/train.py").write_text(script)
        values: dict[str, object] = {"source": self.root / "project", "target": "podman"} | changes
        configuration = RunConfiguration(Command("script", "train.py"), **values)  # type: ignore[arg-type]
        engine = self.space.engine()
        return submit(
            configuration, self.store, self.root / "runs",
            lambda *_: prepare_in_image(engine, self.image, RunEnvironment(summary="x"), {"OF_DEFINITION": "1"}, launcher_python(PYTHONS), interpreter=IN_IMAGE),
            surroundings=Surroundings(environ=self.environ, grace_s=2.0), target=ContainerTarget(engine, pythons=PYTHONS, options=options, standard_input=False),
        )  # fmt: skip

    def directory(self, record: RunRecord) -> Path:
        return self.root / "runs" / record.id

    def log(self, record: RunRecord) -> str:
        return (self.directory(record) / "log.txt").read_text()


@pytest.fixture
def runs(tmp_path: Path, space: Space, image: LocalImage) -> Iterator[Runs]:
    yield Runs(tmp_path, space, image)
    assert space.names() == []
    assert _places() == []


def _places(pid: int | None = None) -> list[str]:
    """Return the places that the process ``pid`` (None: this one) has made: others may have runs at the same time."""
    found = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            owner = json.loads(json.loads((path / "owner.json").read_text())[OWNER_LABEL])
            found += [path.name] if owner["pid"] == (pid or os.getpid()) else []
    return found


def test_a_run_may_have_longer_than_poll_can_wait(runs: Runs) -> None:
    record = runs.run("print('done')", timeout_s=30 * 86_400.0)
    assert (record.state, runs.log(record)) == ("completed", "done\n"), record.reason


def test_the_outputs_of_a_job_are_there_before_it_starts_and_are_the_callers(runs: Runs) -> None:
    script = "import os\nopen(os.environ['WARDIAN_OUTPUT_DIR'] + '/model/weights', 'w').write('1')\n"
    record = runs.run(script, outputs=("model", "empty"))
    assert [output.path for output in record.results.outputs] == ["outputs/model/weights"], runs.log(record)
    outputs = runs.directory(record) / "snapshot/outputs"
    assert {path.name: path.stat().st_uid for path in outputs.iterdir()} == {"model": os.getuid(), "empty": os.getuid()}


def test_a_script_sees_its_snapshot_inputs_and_variables(runs: Runs, tmp_path: Path) -> None:
    odd = tmp_path / "odd, name"
    odd.mkdir()
    (odd / "data.csv").write_text("1,2\n")
    script = """
import os, pathlib, sys, time
data = pathlib.Path(os.environ["WARDIAN_INPUT_DATA"])
print("data", (data / "data.csv").read_text().strip())
try: (data / "new").write_text("x")
except OSError as error: print("input", error.strerror)
pathlib.Path(os.environ["WARDIAN_OUTPUT_DIR"], "model.txt").write_text("42")
pathlib.Path("elsewhere.txt").write_text("x")
pathlib.Path("/tmp/scratch").write_text("x")
home = pathlib.Path(os.environ["HOME"]); (home / ".cache").mkdir()
print("cwd", os.getcwd(), "output", os.environ["WARDIAN_OUTPUT_DIR"])
for name in ("OF_DEFINITION", "FROM_IMAGE", "TOKEN", "TZ", "NOT_PASSED", "WARDIAN_EXPERIMENT"): print(name, os.environ.get(name))
print(sys.executable)
"""
    record = runs.run(script, inputs={"data": odd}, variables={"TOKEN": HIDDEN}, experiment="tries")
    assert record.state == "completed", runs.log(record) + record.reason
    lines = dict(line.split(" ", 1) for line in runs.log(record).splitlines() if " " in line)
    assert lines["data"] == "1,2"
    assert lines["input"] == "Read-only file system"
    assert lines["cwd"] == "/wardian/run output /wardian/run/outputs"
    expected = {"OF_DEFINITION": "1", "FROM_IMAGE": "yes", "TOKEN": HIDDEN, "TZ": "Asia/Tokyo", "NOT_PASSED": "None"}
    assert {name: lines[name] for name in expected} == expected
    assert lines["WARDIAN_EXPERIMENT"] == "tries"
    model = runs.directory(record) / "snapshot/outputs/model.txt"
    assert (model.read_text(), model.stat().st_uid) == ("42", os.geteuid())
    assert [found.path for found in record.results.outputs] == ["outputs/model.txt"]
    assert record.results.new_files == ("elsewhere.txt",)


def test_what_an_image_tells_the_loader_is_for_its_own_programs_alone(runs: Runs, space: Space) -> None:
    engine = space.engine()
    told = ("LD_DEBUG=files", "LD_DEBUG_OUTPUT=/tmp/loader", "LD_LIBRARY_PATH=/opt/no/such")
    changes = [word for variable in told for word in ("--change", f"ENV {variable}")]
    for words in (
        ("create", "--name", "telling", runs.image.id, "true"),
        ("commit", *changes, "telling", "telling:1"),
        ("rm", "telling"),
    ):
        done = engine.call(*words)
        assert done.returncode == 0, done.stderr
    image = engine.find("telling:1")
    assert image is not None
    runs.image = image
    record = runs.run("""
import glob, os
told = "".join(open(path).read() for path in glob.glob("/tmp/loader.*"))
print(os.environ["LD_LIBRARY_PATH"], "libc.so" in told, "/wardian/python/" in told)
""")
    assert (record.state, runs.log(record)) == ("completed", "/opt/no/such True False\n"), record.reason


def test_the_observed_inventory_is_recorded(runs: Runs) -> None:
    record = runs.run("print('on')")
    observed = record.results.environment.observed
    assert observed is not None
    assert observed["observed"] is True
    assert observed["python"].startswith("3.")
    assert observed["executable"] == IN_IMAGE


@pytest.mark.parametrize(("script", "state", "code", "exit_code"), [
    ("raise SystemExit(3)", "failed", "exited", 3),
    ("import os; os._exit(125)", "failed", "exited", 125),
    ("import os; os._exit(137)", "failed", "exited", 137),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed", "signal", 137),
    ("import time; time.sleep(600)", "failed", "timeout", 124),
])  # fmt: skip
def test_how_it_ended(runs: Runs, script: str, state: str, code: str, exit_code: int) -> None:
    record = runs.run(script, timeout_s=1.0 if code == "timeout" else None)
    assert (record.state, record.code, record.process_exit_code) == (state, code, exit_code)
    assert (record.signal == signal.SIGKILL) == (code == "signal")


def test_a_program_that_is_not_there_is_127(runs: Runs) -> None:
    (runs.root / "project/x").write_text("")
    engine = runs.space.engine()
    record = submit(
        RunConfiguration(Command("program", "no-such-program"), source=runs.root / "project", target="podman"), runs.store,
        runs.root / "runs", lambda *_: prepare_in_image(engine, runs.image, RunEnvironment(), {}, launcher_python(PYTHONS), interpreter=IN_IMAGE),
        target=ContainerTarget(engine, pythons=PYTHONS, standard_input=False),
    )  # fmt: skip
    assert (record.state, record.code, record.process_exit_code) == ("failed", "not_found", 127)


def test_limits_and_shared_memory_and_further_arguments(runs: Runs) -> None:
    script = """
import os, socket
found = os.statvfs("/dev/shm"); print(found.f_blocks * found.f_frsize)
print(socket.gethostname())
"""
    record = runs.run(
        script, resources=Resources(memory_bytes=200 << 20, cpus=1),
        options=ContainerOptions(shm_bytes=48 << 20, arguments=("--network", "none", "--hostname", "inside")),
    )  # fmt: skip
    assert runs.log(record).split() == [str(48 << 20), "inside"]


def test_more_memory_than_its_limit_ends_a_script(runs: Runs) -> None:
    record = runs.run("x = bytearray(400 << 20); print(len(x))", resources=Resources(memory_bytes=100 << 20))
    assert (record.state, record.signal) == ("failed", signal.SIGKILL)


def test_a_limit_that_is_too_small_for_an_interpreter_is_named(runs: Runs) -> None:
    with pytest.raises(RunFailed, match=r"the job's memory limit of 5,242,880 bytes is too small") as caught:
        runs.run("print('ran')", resources=Resources(memory_bytes=5 << 20))
    assert caught.value.stable_code == "memory_limit_too_small"


@pytest.mark.parametrize("interpreter", ["/opt/no/such/python", "no-such-python", "/etc/passwd"])
def test_a_wrong_interpreter_is_named_before_the_script_runs(runs: Runs, interpreter: str) -> None:
    with pytest.raises(RunFailed, match=interpreter) as caught:
        observe_in_image(runs.space.engine(), runs.image, interpreter, launcher_python(PYTHONS))
    assert caught.value.stable_code == "interpreter_missing"


def test_an_image_without_python_says_so(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> None:
    engine = runs.space.engine()
    busybox = engine.load(archive(BUSYBOX, tmp_path_factory.getbasetemp().parent))
    with pytest.raises(RunFailed, match="python3") as caught:
        observe_in_image(engine, busybox, "python3", launcher_python(PYTHONS))
    assert caught.value.stable_code == "interpreter_missing"


def test_what_engines_refuse_is_said_in_their_words(runs: Runs) -> None:
    with pytest.raises(RunFailed, match="no-such-runtime-flag") as caught:
        runs.run("print(1)", options=ContainerOptions(arguments=("--no-such-runtime-flag",)))
    assert caught.value.stable_code == "container_failed"


def test_a_secret_is_in_no_list_of_processes_and_nowhere_in_the_engine(runs: Runs, space: Space) -> None:
    gate = runs.root / "gate"
    gate.mkdir()
    os.mkfifo(gate / "pipe")
    seen: list[str] = []

    def look() -> None:
        pids = processes.descendants(os.getpid())
        seen.extend(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace") for pid in pids)
        name = space.names()[0]
        seen.append(space.engine().call("container", "inspect", name).stdout)
        (gate / "pipe").write_text("go")

    script = "import os, pathlib; print(len(os.environ['TOKEN']), flush=True); pathlib.Path(os.environ['WARDIAN_INPUT_GATE'], 'pipe').read_text()"

    def when_it_runs() -> None:
        wait_until(lambda: any(len(log.read_text()) > 1 for log in runs.root.glob("runs/*/log.txt")))
        look()

    other = threading.Thread(target=when_it_runs)
    other.start()
    record = runs.run(script, variables={"TOKEN": HIDDEN}, inputs={"gate": gate})
    other.join()
    assert record.state == "completed", runs.log(record)
    assert len(seen) > 2
    assert not any(HIDDEN in text for text in seen)


class Driven:
    """A run in a process of its own."""

    def __init__(self, root: Path, space: Space, image: LocalImage, script: str) -> None:
        (root / "project").mkdir()
        (root / "project/train.py").write_text(script)
        self.store = RunStore(Database.open(root / "workspace.db"))
        command = [sys.executable, "-m", "tests.support.container_driver", str(root), str(space.place), image.id]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, process_group=0, stdin=subprocess.DEVNULL)
        wait_until(lambda: any("ready" in log.read_text() for log in root.glob("runs/*/log.txt")), timeout_s=60)
        self.run_id = self.store.list().items[0].id

    def left(self) -> list[int]:
        return processes.with_variable("WARDIAN_RUN_ID", self.run_id)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "canceled")])
def test_interrupt_and_cancel_stop_the_container(
    tmp_path: Path, space: Space, image: LocalImage, number: int, code: str
) -> None:
    driven = Driven(tmp_path, space, image, STUBBORN + "sit()")
    driven.process.send_signal(number)
    driven.process.wait(timeout=30)
    record = driven.store.get(driven.run_id)
    assert (record.state, record.code) == ("canceled", code)
    assert driven.left() == []
    assert space.names() == []
    assert _places(driven.process.pid) == []


@pytest.mark.parametrize("number", [1, 2, 3], ids=["wardian", "wardian and keeper", "wardian, keeper and engine"])
def test_nothing_is_left_when_processes_are_killed(tmp_path: Path, space: Space, image: LocalImage, number: int) -> None:
    driven = Driven(tmp_path, space, image, STUBBORN + "sit()")
    doomed = [driven.process.pid, *processes.descendants(driven.process.pid)][:number]
    for pid in doomed:
        os.kill(pid, signal.SIGSTOP)  # so that none acts on another's end
    for pid in reversed(doomed):
        os.kill(pid, signal.SIGKILL)
    driven.process.wait(timeout=30)
    wait_until(lambda: driven.left() == [], timeout_s=30)
    wait_until(lambda: space.names() == [], timeout_s=30)
    assert driven.store.get(driven.run_id).state == "failed"
    # a keeper that is left removes them, maybe at this moment; else the next run does: see below
    wait_until(lambda: set(_places(driven.process.pid)) <= {place.name for place in orphans()}, timeout_s=30)
    for name in _places(driven.process.pid):
        shutil.rmtree(Path(tempfile.gettempdir(), name), ignore_errors=True)


def test_the_next_run_removes_what_dead_ones_left(runs: Runs, space: Space, image: LocalImage) -> None:
    code = (
        "import sys; from wardian.run.targets.container_place import Place; from wardian.run.targets.target import Job; from pathlib import Path;"
        "print(Place.make(Job(('x',), Path('/'), {'WARDIAN_RUN_ID': 'dead'})).name)"
    )
    name = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    assert name.startswith(PREFIX)
    assert runs.run("print(1)").state == "completed"
    assert not Path(tempfile.gettempdir(), name).exists()


def test_a_probe_removes_what_a_killed_one_left(runs: Runs, space: Space) -> None:
    code = (
        "from wardian.image.engine_run import owner_labels; import json; print(json.dumps(owner_labels('wardian-probe-dead')))"
    )
    labels = json.loads(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)
    engine = space.engine()
    assert observe_in_image(engine, runs.image, IN_IMAGE, launcher_python(PYTHONS))["observed"]
    left = engine.command(Container("wardian-probe-dead", runs.image.id, ("true",), labels=labels, removes_itself=False))
    assert left is not None
    subprocess.run(left.start, env=dict(left.environ), check=True)
    assert space.names() == ["wardian-probe-dead"]
    assert observe_in_image(engine, runs.image, IN_IMAGE, launcher_python(PYTHONS))["observed"]
    assert space.names() == []


def test_a_way_that_works_here_is_found_by_failing_and_remembered(space: Space, image: LocalImage, tmp_path: Path) -> None:
    engine = space.engine(memory=tmp_path)
    assert observe_in_image(engine, image, IN_IMAGE, launcher_python(PYTHONS))["observed"]
    container = Container("wardian-never-started", image.id, ("true",))
    found, plain = engine.command(container), space.engine(memory=tmp_path / "nothing").command(container)
    assert found is not None
    assert plain is not None
    works = subprocess.run([*found.start], env=dict(found.environ), capture_output=True, text=True, check=False)
    assert works.returncode == 0, works.stderr
    fails = subprocess.run([*plain.start], env=dict(plain.environ), capture_output=True, text=True, check=False)
    assert (fails.returncode == 0) == (found.start == plain.start)  # another way was taken only where the engine's own fails
    again = space.engine(memory=tmp_path).command(container)
    assert again is not None
    assert again.start == found.start
    engine.call("rm", "--all", "--force", "--time", "0")
