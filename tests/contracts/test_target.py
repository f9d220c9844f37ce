"""The contract of targets, on every adapter."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.containers import PYTHON, PYTHONS, InImage, archive, dockerd, podman_space
from tests.support.jobs import STUBBORN, Recorder, noted_pids, python_job, still_there, wait_until
from tests.support.spark import OnThisPython

from wardian.errors import InvalidInput
from wardian.run.configuration import Resources
from wardian.run.targets.container import ContainerTarget
from wardian.run.targets.container_place import WORK
from wardian.run.targets.local import LocalTarget
from wardian.run.targets.target import Ended, Job, Stop
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.image.engine import ContainerEngine, LocalImage
    from wardian.run.targets.target import Observer, Target


@pytest.fixture(
    params=["local", "local, from a process with threads", "spark", "podman", pytest.param("docker", marks=pytest.mark.slow)]
)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if request.param == "spark":
        yield OnThisPython.at(tmp_path_factory.mktemp("spark"))
        return
    if request.param in ("podman", "docker"):
        engine, image = request.getfixturevalue(request.param)
        yield InImage(ContainerTarget(engine, pythons=PYTHONS, tick_s=0.05, standard_input=False), image)
        return
    over = threading.Event()
    others = [threading.Thread(target=over.wait)] if request.param != "local" else []
    for thread in others:
        thread.start()
    yield LocalTarget(tick_s=0.05, standard_input=False)
    over.set()
    for thread in others:
        thread.join()


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ContainerEngine, LocalImage]]:
    with podman_space() as space:
        engine = space.engine()
        yield engine, engine.load(archive(PYTHON, tmp_path_factory.getbasetemp().parent))


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ContainerEngine, LocalImage]]:
    with dockerd() as daemon:
        engine = daemon.engine()
        yield engine, engine.load(archive(PYTHON, tmp_path_factory.getbasetemp().parent))


def run(target: Target, job: Job, observer: Observer | None = None, stop: Stop | None = None) -> Ended:
    stop = stop or Stop()
    try:
        return target.run(job, observer or Recorder(), stop)
    finally:
        stop.close()


def left_of(target: Target, directory: Path) -> list[int]:
    """Return what still runs of the job that had ``directory``; pids that were noted in a container mean nothing here."""
    if isinstance(target, InImage):
        return processes.with_variable("WARDIAN_RUN_ID", directory.name)
    return still_there(noted_pids(directory))


def test_all_output_arrives_in_the_order_of_each_stream(target: Target, tmp_path: Path) -> None:
    code = "import sys\nfor i in range(20000):\n print(i)\n if i % 100 == 0: print(-i, file=sys.stderr)"
    seen = Recorder()
    assert run(target, python_job(code, tmp_path), seen) == Ended("exited", exit_code=0)
    assert seen.streams[1].split() == [str(i).encode() for i in range(20000)]
    assert seen.streams[2].split() == [str(-i).encode() for i in range(0, 20000, 100)]
    assert seen.pid > 0


def test_one_stream_for_both_keeps_the_order_between_them(target: Target, tmp_path: Path) -> None:
    code = "import sys\nfor i in range(500): print(i, file=(sys.stdout, sys.stderr)[i % 2], flush=True)"
    seen = Recorder()
    run(target, python_job(code, tmp_path, merged=True), seen)
    assert seen.streams[1].split() == [str(i).encode() for i in range(500)]


@pytest.mark.parametrize(("code", "expected"), [
    ("raise SystemExit(3)", Ended("exited", exit_code=3)),
    ("import os; os._exit(255)", Ended("exited", exit_code=255)),
    ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Ended("exited", signal=signal.SIGSEGV)),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Ended("exited", signal=signal.SIGKILL)),
])  # fmt: skip
def test_how_a_job_ended_is_told_as_it_was(target: Target, tmp_path: Path, code: str, expected: Ended) -> None:
    assert run(target, python_job(code, tmp_path)) == expected


def test_a_program_that_is_not_there_or_cannot_be_executed(target: Target, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("x")
    (tmp_path / "scriptless").write_text("no shebang line")
    (tmp_path / "scriptless").chmod(0o755)

    def cause(program: str) -> str:
        ended = run(target, Job((program,), tmp_path, {"PATH": "/usr/bin:/bin"}))
        assert program in ended.detail
        return ended.cause

    assert cause("no-such-program") == "not_found"
    assert cause("./no-such-program") == "not_found"
    assert cause("./data.txt") == "not_executable"
    assert cause("./scriptless") == "not_executable"
    assert cause("/usr") == "not_executable"


def test_a_job_sees_its_variables_and_directory_and_nothing_else(target: Target, tmp_path: Path) -> None:
    seen = Recorder()
    if isinstance(target, OnThisPython):
        pytest.skip("Spark adds variables of its own")
    strange = {"PATH": "/usr/bin:/bin", "A": "1", "B": "two words\nand a line", "C": "\udcff"}
    run(target, Job(("/usr/bin/env", "-0"), tmp_path, strange), seen)
    found = dict(os.fsdecode(item).split("=", 1) for item in seen.streams[1].split(b"\0") if item)
    assert found == strange
    seen = Recorder()
    run(target, Job(("pwd",), tmp_path, {"PATH": "/usr/bin:/bin"}), seen)
    assert seen.streams[1].decode().strip() == (WORK if isinstance(target, InImage) else str(tmp_path))


def test_a_job_has_default_signals_and_no_descriptors_of_ours(target: Target, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    code = (
        "import os, signal; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1],"
        " [s.name for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT) if signal.getsignal(s) != signal.SIG_DFL],"
        " int(open('/proc/self/status').read().split('SigIgn:')[1].split()[0], 16) & 0x7FFFFFFF, os.getsid(0) == os.getpid())"
    )
    seen = Recorder()
    run(target, python_job(code, tmp_path), seen)
    os.close(read_end)
    os.close(write_end)
    ignored_by_python_itself = (1 << signal.SIGPIPE - 1) | (1 << signal.SIGXFSZ - 1)
    assert seen.streams[1].decode().split() == ["[0,", "1,", "2]", "[]", str(ignored_by_python_itself), "True"]


def test_a_job_whose_time_is_up_is_stopped(target: Target, tmp_path: Path) -> None:
    code = "import time; print('on', flush=True); time.sleep(600)"
    began = time.monotonic()
    assert run(target, python_job(code, tmp_path, timeout_s=0.3)) == Ended("timeout", signal=signal.SIGTERM)
    assert 0.3 <= time.monotonic() - began < 5


def test_a_job_may_clean_up_when_it_is_asked_to_stop(target: Target, tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "def leave(*_): os.write(1, b'clean\\n'); raise SystemExit(7)\n"
        "signal.signal(signal.SIGTERM, leave); os.write(1, b'ready\\n')\n"
        "while True: time.sleep(60)"
    )
    stop = Stop()
    seen = Recorder(b"ready", lambda: stop.request("canceled"))
    assert run(target, python_job(code, tmp_path), seen, stop) == Ended("stopped", exit_code=7)
    assert seen.streams[1] == b"ready\nclean\n"


def test_interrupted_python_gets_its_keyboard_interrupt(target: Target, tmp_path: Path) -> None:
    code = "import os, time\ntry: os.write(1, b'ready\\n'); time.sleep(600)\nexcept KeyboardInterrupt: os.write(1, b'saved\\n'); raise"
    stop = Stop()
    seen = Recorder(b"ready", lambda: stop.request("interrupted", signal.SIGINT))
    assert run(target, python_job(code, tmp_path), seen, stop) == Ended("stopped", signal=signal.SIGINT)
    assert seen.streams[1] == b"ready\nsaved\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_children_that_ignore_signals_are_gone_within_ten_seconds(target: Target, tmp_path: Path, number: int) -> None:
    stop = Stop()
    seen = Recorder(b"ready", lambda: stop.request("interrupted", number))
    began = time.monotonic()
    ended = run(target, python_job(STUBBORN + "sit()", tmp_path, grace_s=1.0), seen, stop)
    assert time.monotonic() - began < 10
    assert ended == Ended("stopped", signal=signal.SIGKILL)
    assert len(noted_pids(tmp_path)) == 5
    assert left_of(target, tmp_path) == []


def test_a_second_request_means_at_once(target: Target, tmp_path: Path) -> None:
    stop = Stop()

    def twice() -> None:
        stop.request("interrupted", signal.SIGINT)
        stop.request("interrupted", signal.SIGINT)

    began = time.monotonic()
    ended = run(target, python_job(STUBBORN + "sit()", tmp_path, grace_s=60.0), Recorder(b"ready", twice), stop)
    assert time.monotonic() - began < 10
    assert ended.signal == signal.SIGKILL
    assert left_of(target, tmp_path) == []


def test_what_a_job_leaves_running_ends_with_it(target: Target, tmp_path: Path) -> None:
    began = time.monotonic()
    ended = run(target, python_job(STUBBORN + "raise SystemExit(3)", tmp_path))
    assert time.monotonic() - began < 10
    assert ended == Ended("exited", exit_code=3, stragglers=3)
    assert left_of(target, tmp_path) == []


def test_a_stopped_job_is_woken_to_end(target: Target, tmp_path: Path) -> None:
    code = "import os, signal; print('ready', flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    stop = Stop()
    began = time.monotonic()
    ended = run(target, python_job(code, tmp_path, grace_s=60.0), Recorder(b"ready", lambda: stop.request("canceled")), stop)
    assert time.monotonic() - began < 10
    assert ended.cause in ("stopped", "exited")


def test_a_request_before_the_start_counts(target: Target, tmp_path: Path) -> None:
    stop = Stop()
    stop.request("canceled")
    assert run(target, python_job("import time; time.sleep(600)", tmp_path), stop=stop) == Ended(
        "stopped", signal=signal.SIGTERM
    )


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_nothing_is_left_open_and_nobody_is_left_behind(target: Target, tmp_path: Path) -> None:
    run(target, python_job("pass", tmp_path))  # what is opened once and for all
    with contextlib.suppress(ChildProcessError):  # what other tests left, such as a connection that is kept
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    before = _descriptors()
    for _ in range(3):
        run(target, python_job("print(1)", tmp_path))
        run(target, Job(("no-such-program",), tmp_path, {}))
    assert _descriptors() == before
    with contextlib.suppress(ChildProcessError):  # nobody at all; or a docker daemon that the tests run on
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)


def test_an_observer_that_fails_ends_the_job(target: Target, tmp_path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(target, python_job(STUBBORN + "sit()", tmp_path), Recorder(b"ready", fail))
    assert left_of(target, tmp_path) == []


def test_the_observer_gets_its_occasions(target: Target, tmp_path: Path) -> None:
    seen = Recorder()
    run(target, python_job("import time\nfor _ in range(100): print('.', flush=True); time.sleep(0.005)", tmp_path), seen)
    assert seen.ticks >= 3


def test_a_killed_keeper_takes_its_job_along(target: Target, tmp_path: Path) -> None:
    before = set(processes.descendants(os.getpid()))

    def kill_keeper() -> None:
        new = [pid for pid in processes.descendants(os.getpid()) if pid not in before]
        os.kill(new[0], signal.SIGKILL)  # parents come before children

    job = python_job(STUBBORN + "sit()", tmp_path)
    assert run(target, job, Recorder(b"ready", kill_keeper)).cause == "lost"
    wait_until(lambda: not left_of(target, tmp_path))


@pytest.mark.root
def test_root_cannot_write_what_is_read_only(target: Target, tmp_path: Path) -> None:
    if isinstance(target, InImage):
        pytest.skip("what is read-only on this machine is not to be seen in a container")
    prefix, work = tmp_path / "prefix", tmp_path / "prefix/work"
    work.mkdir(parents=True)
    (prefix / "module.py").write_text("x = 1\n")
    code = f"""
import errno, os
def tried(what):
    try: what()
    except OSError as error: return errno.errorcode[error.errno]
    return "done"
p = {str(prefix)!r}
print(tried(lambda: open(p + "/module.py", "a")), tried(lambda: open(p + "/new.py", "w")), tried(lambda: os.remove(p + "/module.py")),
      tried(lambda: os.chmod(p + "/module.py", 0o777)), tried(lambda: open("here.txt", "w")))
"""
    seen = Recorder()
    run(target, python_job(code, work, read_only=(prefix,)), seen)
    assert seen.streams[1].decode().split() == ["EROFS", "EROFS", "EROFS", "EROFS", "done"]
    (prefix / "module.py").write_text("x = 2\n")  # nobody else sees it
    assert (work / "here.txt").exists()


def test_resources_that_a_place_does_not_have_are_refused(target: Target) -> None:
    target.check(Resources(cpus=1, memory_bytes=1 << 20, nodes=1))
    with pytest.raises(InvalidInput, match=r"2 nodes are asked for.*100000 cpus are asked for") as caught:
        target.check(Resources(cpus=100_000, nodes=2))
    assert caught.value.stable_code == "resources_missing"


@pytest.mark.parametrize("kind", ["local", "podman", pytest.param("docker", marks=pytest.mark.slow)])
def test_a_job_reads_what_this_process_would(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    target: Target = LocalTarget()
    if kind != "local":
        engine, image = request.getfixturevalue(kind)
        target = InImage(ContainerTarget(engine, pythons=PYTHONS), image)
    text, saved = tmp_path / "in.txt", os.dup(0)
    text.write_text("from the caller")
    with text.open() as stream:
        os.dup2(stream.fileno(), 0)
    try:
        seen = Recorder()
        run(target, Job((sys.executable, "-c", "print(input())"), tmp_path, {}), seen)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert seen.streams[1] == b"from the caller\n"


def test_an_engine_does_not_take_what_is_typed_for_others(podman: tuple[ContainerEngine, LocalImage], tmp_path: Path) -> None:
    ours, theirs = os.openpty()  # a terminal, but not this session's
    saved = os.dup(0)
    os.dup2(theirs, 0)
    os.write(ours, b"for the shell\n")
    try:
        seen = Recorder()
        job = Job((sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"), tmp_path, {})
        run(InImage(ContainerTarget(podman[0], pythons=PYTHONS), podman[1]), job, seen)
        assert seen.streams[1] == b"''\n"
        assert os.read(theirs, 100) == b"for the shell\n"
    finally:
        os.dup2(saved, 0)
        for descriptor in (saved, ours, theirs):
            os.close(descriptor)


def test_a_job_does_not_wait_for_input_that_it_does_not_read(
    podman: tuple[ContainerEngine, LocalImage], tmp_path: Path
) -> None:
    read_end, write_end = os.pipe()  # open, and nothing comes
    saved = os.dup(0)
    os.dup2(read_end, 0)
    try:
        seen = Recorder()
        ended = run(
            InImage(ContainerTarget(podman[0], pythons=PYTHONS), podman[1]),
            Job((sys.executable, "-c", "print('done')"), tmp_path, {}),
            seen,
        )
        assert (ended.exit_code, seen.streams[1]) == (0, b"done\n")
    finally:
        os.dup2(saved, 0)
        for descriptor in (saved, read_end, write_end):
            os.close(descriptor)
