"""Runs from submission to record, with real processes, in this process and in others."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.jobs import a_configuration, prepare_this_python

from wardian.digest import Digest
from wardian.errors import InvalidInput, NotFound, SolveFailed, WardianError
from wardian.formats.tree import tree_digest
from wardian.run.configuration import Command, Prepared, RunConfiguration
from wardian.run.records import RunStore
from wardian.run.submit import submit
from wardian.run.surroundings import Surroundings
from wardian.run.targets.local import LocalTarget
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.events import Event, Listener
    from wardian.run.record import RunRecord
    from wardian.run.submit import Prepare

REPOSITORY = Path(__file__).resolve().parents[2]


class Workspace:
    """A project, and what keeps its runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        self.runs = root / "runs"
        self.project.mkdir()
        self.database = Database.open(root / "workspace.db")
        self.store = RunStore(self.database)

    def write(self, text: str, name: str = "train.py") -> None:
        (self.project / name).write_text(text)

    def submit(
        self, text: str | None = None, *, prepare: Prepare = prepare_this_python, environ: dict[str, str] | None = None,
        listener: Listener = lambda _: None, stdout: Any = None, stderr: Any = None, command: Command | None = None, **changes: Any,
    ) -> RunRecord:  # fmt: skip
        if text is not None:
            self.write(text)
        configuration = a_configuration(self.project, **changes)
        if command is not None:
            configuration = replace(configuration, command=command)
        around = Surroundings(grace_s=2.0) if environ is None else Surroundings(environ=environ, grace_s=2.0)
        return submit(
            configuration, self.store, self.runs, prepare, surroundings=around, stdout=stdout, stderr=stderr, listener=listener,
            target=LocalTarget(standard_input=False),
        )  # fmt: skip

    def log(self, record: RunRecord) -> str:
        return (self.runs / record.id / "log.txt").read_text()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(tmp_path)
    yield made
    made.database.close()


def test_a_run_leaves_a_record_a_log_and_its_outputs(workspace: Workspace) -> None:
    (workspace.project / "config.json").write_text("{}")
    heard: list[Event] = []
    record = workspace.submit(
        "import os, sys, json, time\n"
        "print('metric', 0.97); print('careful', file=sys.stderr)\n"
        "open(os.environ['WARDIAN_OUTPUT_DIR'] + '/model.bin', 'w').write('12345')\n"
        "open('trace.txt', 'w').write('x')\n"
        "time.sleep(0.02); open('config.json', 'w').write('[1]')\n",
        experiment="demo",
        listener=heard.append,
    )
    assert workspace.store.get(record.id) == record
    assert (record.state, record.code, record.exit_code, record.process_exit_code) == ("completed", "exited", 0, 0)
    assert record.configuration.experiment == "demo"
    assert [file.path for file in record.results.outputs] == ["outputs/model.bin"]
    assert (record.results.output_files, record.results.output_bytes) == (1, 5)
    assert record.results.new_files == ("trace.txt",)
    assert record.results.changed_files == ("config.json",)
    assert record.results.snapshot_files == 2
    assert record.snapshot_digest == tree_digest(workspace.project)
    assert record.environment.summary == "tests:1"
    assert sorted(workspace.log(record).splitlines()) == ["careful", "metric 0.97"]
    assert (workspace.project / "config.json").read_text() == "{}"
    assert [event.text for event in heard if event.kind == "phase"] == ["preparing", "running"]
    times = [record.queued, record.preparing, record.running, record.ended]
    assert all(times)
    assert times == sorted(map(str, times))


@pytest.mark.parametrize(("command", "expected", "state", "code"), [
    (Command("program", "sh", ("-c", "exit 0")), 0, "completed", "exited"),
    (Command("program", "sh", ("-c", "exit 3")), 3, "failed", "exited"),
    (Command("program", "sh", ("-c", "exit 125")), 125, "failed", "exited"),
    (Command("program", "sh", ("-c", "kill -9 $$")), 137, "failed", "signal"),
    (Command("program", "sh", ("-c", "kill -TERM $$")), 143, "failed", "signal"),
    (Command("program", "./train.py"), 126, "failed", "not_executable"),
    (Command("program", "no-such-program"), 127, "failed", "not_found"),
    (Command("program", "sleep", ("600",)), 124, "failed", "timeout"),
    (Command("module", "no_such_module"), 1, "failed", "exited"),
    (Command("module", "train"), 7, "failed", "exited"),
    (Command("script", "train.py"), 7, "failed", "exited"),
])  # fmt: skip
def test_exit_codes(workspace: Workspace, command: Command, expected: int, state: str, code: str) -> None:
    timeout_s = 0.3 if command.name == "sleep" else 60.0
    record = workspace.submit("raise SystemExit(7)", command=command, timeout_s=timeout_s)
    assert (record.process_exit_code, record.state, record.code) == (expected, state, code)
    if code == "exited":
        assert record.exit_code == expected
    if code == "signal":
        assert (record.exit_code, record.signal) == (None, expected - 128)
    assert bool(record.reason) == (state != "completed")


def test_a_run_may_have_more_time_than_one_wait_can_be_long(workspace: Workspace) -> None:
    record = workspace.submit("raise SystemExit(7)", timeout_s=60 * 86_400.0)
    assert (record.state, record.code, record.exit_code) == ("failed", "exited", 7)


def test_what_cannot_run_is_refused_before_anything_is_recorded(workspace: Workspace, tmp_path: Path) -> None:
    def never(_record: RunRecord, _listener: Listener) -> Prepared:
        raise AssertionError

    with pytest.raises(NotFound, match=r"no script `train\.py`"):
        workspace.submit(prepare=never)
    workspace.write("")
    with pytest.raises(NotFound, match="`data` is not there"):
        workspace.submit(prepare=never, inputs={"data": tmp_path / "missing"})
    with pytest.raises(NotFound, match="no target `moon`"):
        submit(a_configuration(workspace.project, target="moon"), workspace.store, workspace.runs, never)
    with pytest.raises(InvalidInput, match="`HF_TOKEN`"):
        workspace.submit(prepare=never, variables={"HF_TOKEN": None}, environ={})
    assert len(workspace.store.list()) == 0
    assert not workspace.runs.exists()


def test_an_environment_that_cannot_be_prepared_ends_in_the_record(workspace: Workspace) -> None:
    def unsolvable(_record: RunRecord, _listener: Listener) -> Prepared:
        raise SolveFailed("numpy 1 and numpy 2", hint="choose")

    with pytest.raises(SolveFailed) as caught:
        workspace.submit("", prepare=unsolvable)
    record = workspace.store.get(caught.value.details["run_id"])
    assert (record.state, record.code, record.reason) == ("failed", "solve_failed", "numpy 1 and numpy 2")
    assert (record.process_exit_code, record.running) == (125, None)

    def broken(_record: RunRecord, _listener: Listener) -> Prepared:
        raise ZeroDivisionError("oh")

    with pytest.raises(ZeroDivisionError):
        workspace.submit("", prepare=broken)
    assert [(r.state, r.code) for r in workspace.store.list(limit=1)] == [("failed", "bug")]


def test_what_a_script_sees(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    record = workspace.submit(
        "import json, os, sys\nprint(json.dumps([dict(os.environ), os.getcwd(), sys.argv, sys.flags.no_user_site]))",
        inputs={"train": tmp_path / "data.csv"},
        variables={"EPOCHS": "3", "PASSED": None},
        environ={"HOME": "/home/u", "PASSED": "on", "PYTHONPATH": "/caller", "LANG": "C.UTF-8"},
    )
    variables, directory, argv, no_user_site = json.loads(workspace.log(record))
    assert directory == str(workspace.runs / record.id / "snapshot")
    assert argv == ["train.py"]
    assert no_user_site == 1
    assert {name: value for name, value in variables.items() if name not in ("PATH", "LC_CTYPE")} == {
        "HOME": "/home/u", "LANG": "C.UTF-8", "EPOCHS": "3", "PASSED": "on", "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1",
        "WARDIAN_INPUT_TRAIN": str(tmp_path / "data.csv"), "WARDIAN_RUN_ID": record.id, "WARDIAN_EXPERIMENT": "default",
        "WARDIAN_OUTPUT_DIR": f"{directory}/outputs",
    }  # fmt: skip
    assert record.results.variables == {"EPOCHS": "3", "PASSED": "on"}


def test_secrets_reach_the_script_and_no_record(workspace: Workspace) -> None:
    record = workspace.submit(
        "import os; print(len(os.environ['HF_TOKEN']), len(os.environ['MY_PASSWORD']))",
        variables={"HF_TOKEN": "hunter2-given", "MY_PASSWORD": None},
        environ={"MY_PASSWORD": "hunter2-passed"},
    )
    assert workspace.log(record) == "13 14\n"
    assert record.results.variables == {"HF_TOKEN": None, "MY_PASSWORD": None}
    for path in [p for p in workspace.root.rglob("*") if p.is_file()]:
        assert b"hunter2" not in path.read_bytes(), path


SECRETIVE = Command(
    "script", "train.py", ("--api-key=hunter2", "--password", "hunter2", "https://u:hunter2@h/?token=hunter2", "3")
)
LENGTHS = "import os, sys; print([len(word) for word in sys.argv[1:]], [name for name in os.environ if 'ARGUMENTS' in name])"


def test_secrets_among_the_arguments_reach_the_script_and_no_record(workspace: Workspace) -> None:
    record = workspace.submit(LENGTHS, command=SECRETIVE)
    assert workspace.log(record) == "[17, 10, 7, 33, 1] []\n".replace("33", str(len(SECRETIVE.arguments[3])))
    kept = record.configuration.command
    assert kept.arguments == ("--api-key=…", "--password", "…", "https://u:…@h/?token=…", "3")
    assert kept.hidden == (0, 2, 3)
    assert "`--api-key=…`, `--password …`, `https://u:…@h/?token=…`" in record.results.notes[0]
    for path in [p for p in workspace.root.rglob("*") if p.is_file()]:
        assert b"hunter2" not in path.read_bytes(), path
    with pytest.raises(InvalidInput, match="`--password …`") as caught:
        workspace.submit(command=kept)
    assert caught.value.stable_code == "arguments_not_kept"


def test_inputs_are_watched(workspace: Workspace, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("1")
    script = (
        "import os\ntry: open(os.environ['WARDIAN_INPUT_DATA'] + '/b.csv', 'w')\nexcept OSError as error: print(error.errno)"
    )
    record = workspace.submit(script, inputs={"data": data}, digest_inputs=True)
    assert record.results.inputs["data"].digest == tree_digest(data) or os.geteuid() != 0
    if os.geteuid() == 0:
        assert workspace.log(record) == "30\n"  # EROFS
        assert record.results.notes == ()
    else:
        assert record.results.notes == ("the input `data` changed while the run was on",)


def test_the_callers_streams_get_what_the_log_gets(workspace: Workspace) -> None:
    out, err = io.BytesIO(), io.BytesIO()
    record = workspace.submit("import sys\nprint('o')\nprint('e', file=sys.stderr)", stdout=out, stderr=err)
    assert (out.getvalue(), err.getvalue()) == (b"o\n", b"e\n")
    both = io.BytesIO()
    code = "import sys\nfor i in range(200): print(i, file=(sys.stdout, sys.stderr)[i % 2])"
    record = workspace.submit(code, stdout=both, stderr=both)
    assert both.getvalue().decode() == workspace.log(record) == "".join(f"{i}\n" for i in range(200))


def test_a_caller_who_stops_reading_loses_nothing_of_the_log(workspace: Workspace) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as stream:
        record = workspace.submit("for i in range(1000): print(i)", stdout=stream)
    assert record.state == "completed"
    assert workspace.log(record).count("\n") == 1000


def test_the_environment_is_held_as_long_as_the_run_lasts(workspace: Workspace) -> None:
    held: list[bool] = []
    flag = workspace.root / "held"

    @contextlib.contextmanager
    def hold() -> Iterator[None]:
        flag.touch()
        try:
            yield
        finally:
            held.append(workspace.store.list().items[0].state == "completed")
            flag.unlink()

    record = workspace.submit(
        f"import os; print(os.path.exists({str(flag)!r}))", prepare=lambda r, e: replace(prepare_this_python(r, e), hold=hold())
    )
    assert workspace.log(record) == "True\n"
    assert held == [True]


def test_a_write_into_the_environment_is_told(workspace: Workspace, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "site-packages").mkdir(parents=True)
    (prefix / "site-packages/module.py").write_text("x = 1\n")
    for path in (prefix / "site-packages/module.py", prefix / "site-packages", prefix):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def prepare(record: RunRecord, listener: Listener) -> Prepared:
        return replace(prepare_this_python(record, listener), prefix=prefix, read_only=(prefix,))

    record = workspace.submit(f"open({str(prefix)!r} + '/site-packages/new.py', 'w')", prepare=prepare)
    assert record.exit_code == 1
    [note] = record.results.notes
    assert f"{prefix}/site-packages/new.py" in note
    assert "outputs/" in note
    assert [path.name for path in (prefix / "site-packages").iterdir()] == ["module.py"]


def test_threads_may_submit_too(workspace: Workspace) -> None:
    workspace.write("import time; time.sleep(0.2); print('x' * 1000)")
    records: list[RunRecord] = []
    threads = [threading.Thread(target=lambda: records.append(workspace.submit())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.state for record in records] == ["completed"] * 4
    assert not any(record.takes_signals for record in records)
    assert len({record.id for record in records}) == 4
    assert {workspace.log(record) for record in records} == {"x" * 1000 + "\n"}


def test_processes_that_submit_at_once_get_a_run_each(workspace: Workspace) -> None:
    workspace.write("print('x')")
    driver = [sys.executable, "-m", "tests.support.run_driver", str(workspace.root), "submit"]
    started = [subprocess.Popen(driver, cwd=REPOSITORY, stdout=subprocess.PIPE) for _ in range(6)]
    answers = [json.loads(process.communicate()[0]) for process in started]
    assert [answer["state"] for answer in answers] == ["completed"] * 6
    assert len({answer["id"] for answer in answers}) == 6
    assert [answer["zombies"] for answer in answers] == [0] * 6


def test_a_hundred_megabytes_of_output_are_all_there_and_memory_stays_flat(workspace: Workspace) -> None:
    workspace.write(
        "import sys\nline = b'%07d ' + b'x' * 91 + b'\\n'\n"
        "for i in range(0, 1000000, 1000): sys.stdout.buffer.write(b''.join(line % n for n in range(i, i + 1000)))\n"
    )
    driver = [sys.executable, "-m", "tests.support.run_driver", str(workspace.root), "submit"]
    answer = json.loads(subprocess.run(driver, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout)
    log = workspace.runs / answer["id"] / "log.txt"
    line = b"%07d " + b"x" * 91 + b"\n"
    assert log.stat().st_size == 100_000_000
    assert Digest.of_file(log) == Digest.of(b"".join(line % n for n in range(1_000_000)))
    assert answer["grown_kib"] < 20_000


@pytest.mark.root
def test_a_full_disk_spoils_the_log_and_not_the_run(workspace: Workspace) -> None:
    small = workspace.runs
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        out = io.BytesIO()
        record = workspace.submit("for i in range(300): print('x' * 9999)", stdout=out, stderr=io.BytesIO())
        assert record.state == "completed"
        assert "log.txt is not complete: No space left on device" in record.results.notes
        assert len(out.getvalue()) == 3_000_000
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_run_without_a_source_directory_has_an_empty_one(workspace: Workspace) -> None:
    configuration = RunConfiguration(Command("program", "ls", ("-a",)))
    record = submit(
        configuration, workspace.store, workspace.runs, prepare_this_python, target=LocalTarget(standard_input=False)
    )
    assert workspace.log(record).split() == [".", "..", "outputs"]
    assert record.results.snapshot_files == 0


def test_what_a_script_leaves_running_is_told(workspace: Workspace) -> None:
    record = workspace.submit("import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)")
    assert record.state == "completed"
    assert record.results.notes == ("1 process was still running when the script ended, and had to end too",)


def test_a_script_that_removes_its_own_directory(workspace: Workspace) -> None:
    record = workspace.submit("import os, shutil; shutil.rmtree(os.getcwd())")
    assert record.state == "completed"
    assert record.results.outputs == ()


def test_a_name_that_is_no_text_is_recorded(workspace: Workspace) -> None:
    record = workspace.submit("open(b'outputs/\\xff', 'w'); print('\\ud800'.encode('utf-8', 'surrogatepass').hex())")
    assert [file.path for file in workspace.store.get(record.id).results.outputs] == ["outputs/\udcff"]


def test_signals_have_their_own_handlers_back(workspace: Workspace) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    workspace.submit("")
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    with pytest.raises(WardianError):
        workspace.submit("", inputs={"data": Path("/nowhere/at/all")})
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_stream_that_cannot_take_the_output_is_noted_and_one_that_went_away_is_not(workspace: Workspace) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        record = workspace.submit("print('all of it')\n", stdout=full)
    assert (record.state, workspace.log(record)) == ("completed", "all of it\n")
    assert record.results.notes == (
        "not all that it wrote could be passed on to stdout ([Errno 28] No space left on device); log.txt has it",
    )
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb", buffering=0) as gone:
        record = workspace.submit("print('all of it')\n", stdout=gone)
    assert (record.state, record.results.notes, workspace.log(record)) == ("completed", (), "all of it\n")
