"""The agent as engines start it: a process of its own, on a user's interpreter; what it leaves in the run's directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support import mounts
from tests.support.jobs import still_there, wait_until
from tests.support.nodes import NodeRun, a_run, agent_argv, run_agent, start_agent

from wardian.run.configuration import Command, Resources
from wardian.run.node.sheet import NodeEnd, Secrets
from wardian.tools import processes

SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"
WAIT = "import time; print('ready', flush=True); time.sleep(600)"


def test_a_run_ends_with_its_log_its_outputs_and_its_end(tmp_path: Path) -> None:
    script = "import os, sys; print('out'); print('err', file=sys.stderr); open(os.environ['WARDIAN_OUTPUT_DIR'] + '/model/m', 'w'); sys.exit(3)"
    run = a_run(tmp_path, script, outputs=("model",))
    assert run_agent(run)[0] == 3
    end = run.end()
    assert (end.cause, end.exit_code, end.code, end.reason, end.attempt) == ("exited", 3, "exited", "exit code 3", 1)
    assert end.node == os.uname().nodename
    assert end.began is not None
    assert end.ended is not None
    assert end.began < end.ended
    assert end.prepared.startswith("user-managed, Python")
    assert end.observed is not None
    assert run.log() == "out\nerr\n"
    assert (run.snapshot / "outputs/model/m").exists()
    assert run.status().state == "ending"


def test_the_job_finds_its_variables_and_nothing_of_its_engines(tmp_path: Path) -> None:
    run = a_run(
        tmp_path, SHOW, "--lr", "1", environment_variables={"A": "environment", "B": "environment"}, variables={"B": "run"},
        pass_variables=("CUDA_*",), inputs={"data": str(tmp_path)}, experiment="mnist",
    )  # fmt: skip
    code, said = run_agent(
        run, environ={"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0", "LANG": "C.UTF-8", "SECRET_OF_NODE": "x"}
    )
    assert code == 0, said
    arguments, variables, directory = json.loads(run.log())
    assert arguments == ["--lr", "1"]
    assert directory == str(run.snapshot)
    assert (variables["A"], variables["B"], variables["CUDA_VISIBLE_DEVICES"]) == ("environment", "run", "0")
    assert variables["WARDIAN_INPUT_DATA"] == str(tmp_path)
    assert variables["WARDIAN_OUTPUT_DIR"] == str(run.snapshot / "outputs")
    assert (variables["WARDIAN_RUN_ID"], variables["WARDIAN_EXPERIMENT"]) == (run.run_id, "mnist")
    assert variables["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert not {"SLURM_JOB_ID", "SECRET_OF_NODE", "RANK", "MASTER_ADDR"} & variables.keys()


def test_secrets_reach_the_job_and_are_gone_when_they_are_read(tmp_path: Path) -> None:
    secrets = Secrets({"API_TOKEN": "s3cret-v"}, {1: "s3cret-a"})
    script = "import os, sys, pathlib; print(os.environ['API_TOKEN'] == 's3cret-v', sys.argv[2] == 's3cret-a', pathlib.Path('../secrets.json').exists())"
    run = a_run(tmp_path, script, secrets=secrets, command=Command("script", "train.py", ("--token", "…"), hidden=(1,)))
    assert run_agent(run)[0] == 0
    assert run.log() == "True True False\n"
    left = [path for path in run.directory.rglob("*") if path.is_file()]
    assert all(b"s3cret" not in path.read_bytes() for path in left if path.name != "train.py")


def test_a_run_that_may_be_started_again_keeps_its_secrets_until_it_has_ended(tmp_path: Path) -> None:
    run = a_run(
        tmp_path,
        "import pathlib; print(pathlib.Path('../secrets.json').exists())",
        secrets=Secrets({"A": "b"}),
        may_restart=True,
    )
    assert run_agent(run)[0] == 0
    assert run.log() == "True\n"
    assert not (run.directory / "secrets.json").exists()


def test_secrets_that_are_missing_are_told(tmp_path: Path) -> None:
    run = a_run(tmp_path, command=Command("script", "train.py", ("…",), hidden=(0,)))
    assert run_agent(run)[0] == 125
    assert run.end().code == "secrets_gone"


@pytest.mark.parametrize(
    ("changes", "code", "exit_code"),
    [
        ({"interpreter": "/not/there"}, "interpreter_missing", 125),
        ({"inputs": {"data": "/not/there"}}, "input_not_found", 125),
        ({"lock_digest": "0" * 64, "interpreter": None}, "unreadable_lock", 125),
        ({"cache": "$NOT_SET_ANYWHERE/x", "lock_digest": "0" * 64}, "bad_node_cache", 125),
        ({"command": Command("program", "not-there-at-all")}, "not_found", 127),
        ({"command": Command("program", "/")}, "not_executable", 126),
        ({"variables": {"WARDIAN_RUN_ID": "another"}}, "bad_variable", 125),
        ({"outputs": ("../../out",)}, "bad_output", 125),
        ({"timeout_s": 0.2}, "timeout", 124),
    ],
)
def test_what_kept_a_run_from_its_end_is_told(tmp_path: Path, changes: dict[str, Any], code: str, exit_code: int) -> None:
    run = a_run(tmp_path, WAIT, **changes)
    assert run_agent(run)[0] == exit_code
    assert run.end().code == code
    assert run.end().process_exit_code == exit_code
    assert run.end().reason


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 7}', "x" * (5 << 20)])
def test_a_sheet_that_is_none_ends_the_run(tmp_path: Path, text: str) -> None:
    run = a_run(tmp_path)
    run.sheet.write_text(text)
    code, said = run_agent(run)
    assert (code, run.end().cause, run.end().code) == (125, "failed", "bad_sheet")
    assert "Traceback" not in said


def test_a_sheet_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    code, said = run_agent(NodeRun(tmp_path))
    assert code == 125
    assert "cannot be read: No such file" in said


@pytest.mark.parametrize("how", ["the file", "SIGTERM", "SIGINT"])
def test_a_run_can_be_canceled(tmp_path: Path, how: str) -> None:
    run = a_run(tmp_path, WAIT)
    with start_agent(run) as agent:
        wait_until(lambda: run.reading("ready"), process=agent)
        if how == "the file":
            (run.directory / "cancel").touch()
        else:
            agent.send_signal(getattr(signal, how))
        assert agent.wait(120) == (130 if how == "SIGINT" else 143)
    assert run.end().cause == "stopped"
    assert run.end().code == ("interrupted" if how == "SIGINT" else "canceled")


@pytest.mark.skipif(bool(mounts.why_not()) or os.geteuid() != 0, reason="needs mounts")
def test_a_job_that_fills_the_disk_has_an_end(tmp_path: Path) -> None:
    script = "with open('big', 'wb') as file:\n    while True: file.write(bytes(65536)); file.flush()\n"
    with mounts.Namespace() as namespace:
        namespace.tmpfs(tmp_path / "disk", 2 << 20)
        run = a_run(namespace.see(tmp_path / "disk"), script)
        sheet = str(tmp_path / "disk" / run.sheet.relative_to(namespace.see(tmp_path / "disk")))
        done = subprocess.run(
            [*namespace.wrapper(tmp_path), *agent_argv("--sheet", sheet)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        assert (run.end().cause, run.end().exit_code) == ("exited", 1)
        assert not (run.directory / "room.tmp").exists()


def test_a_start_that_its_engine_ends_leaves_the_run_to_the_next_start(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\nfirst = not os.path.exists('one')\nopen('one', 'w').close()\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('ready', flush=True)\nif first: time.sleep(600)\n"
    )
    run = a_run(tmp_path, script, secrets=Secrets({"A": "b"}), may_restart=True, heartbeat_s=600)
    with start_agent(run) as first:
        wait_until(lambda: run.reading("ready"), process=first)
        first.send_signal(signal.SIGTERM)
        first.wait(120)
    assert (run.has_ended(), run.status().state) == (False, "released")
    (claim,) = (run.directory / "claims").glob("1")
    claim.write_text("{}")  # of another machine: nothing but its own word says that it is over
    assert run_agent(run) == (0, "")
    assert (run.end().cause, run.end().attempt) == ("exited", 2)
    assert run.log() == "ready\nready\n"


def test_a_run_whose_directory_is_removed_runs_no_longer(tmp_path: Path) -> None:
    run = a_run(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    with start_agent(run) as agent:
        wait_until(lambda: run.reading("\n"), process=agent)
        pid = int(run.log())
        shutil.rmtree(run.directory)
        agent.wait(120)
    assert still_there([pid]) == []
    assert not run.directory.exists()


@pytest.mark.parametrize("changes", [{}, {"may_restart": True}])
def test_a_wish_to_cancel_ends_a_run_for_good(tmp_path: Path, changes: dict[str, Any]) -> None:
    run = a_run(tmp_path, WAIT, **changes)
    with start_agent(run) as agent:
        wait_until(lambda: run.reading("ready"), process=agent)
        (run.directory / "cancel").touch()
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(120) == 143
    assert run.end().cause == "stopped"


def test_a_run_that_was_canceled_before_it_began_never_runs(tmp_path: Path) -> None:
    run = a_run(tmp_path, "open('ran', 'w')")
    (run.directory / "cancel").touch()
    assert run_agent(run)[0] == 143
    assert not (run.snapshot / "ran").exists()
    assert (run.end().cause, run.end().code) == ("stopped", "canceled")


def test_a_second_start_of_a_run_that_has_ended_returns_its_end(tmp_path: Path) -> None:
    run = a_run(tmp_path, "open('ran', 'a').write('x'); raise SystemExit(5)")
    assert [run_agent(run)[0] for _ in range(2)] == [5, 5]
    assert (run.snapshot / "ran").read_text() == "x"


def test_a_second_start_waits_while_the_first_is_alive(tmp_path: Path) -> None:
    run = a_run(
        tmp_path,
        "import os, time; open('ran', 'a').write('x')\nwhile not os.path.exists('go'): time.sleep(0.01)\nraise SystemExit(5)",
    )
    with start_agent(run) as first:
        wait_until((run.snapshot / "ran").exists, process=first)
        with start_agent(run) as second:
            assert second.stdout is not None
            assert "waiting for attempt 1" in second.stdout.readline()
            (run.snapshot / "go").touch()
            assert (first.wait(120), second.wait(120)) == (5, 5)
    assert (run.snapshot / "ran").read_text() == "x"


def test_a_second_start_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    script = "import os, time\nif os.path.exists('pid'): raise SystemExit(0)\nopen('pid', 'w').write(str(os.getpid())); print('ready', flush=True); time.sleep(600)"
    run = a_run(tmp_path, script, heartbeat_s=60)  # nothing is waited for: on this machine it is known that it is gone
    with start_agent(run) as first:
        wait_until(lambda: run.reading("ready"), process=first)
        job = int((run.snapshot / "pid").read_text())
        first.kill()
    assert not run.has_ended()
    assert run_agent(run)[0] == 0
    assert (run.end().exit_code, run.end().attempt) == (0, 2)
    assert still_there([job]) == []


def test_one_that_was_stopped_and_goes_on_ends_its_job_and_writes_nothing(tmp_path: Path) -> None:
    script = "import os, time\nif os.path.exists('pid'): raise SystemExit(4)\nopen('pid', 'w').write(str(os.getpid())); print('ready', flush=True)\nwhile True: print('x' * 100, flush=True); time.sleep(0.001)"
    run = a_run(tmp_path, script)
    with start_agent(run) as first:
        wait_until(lambda: run.reading("ready"), process=first)
        job = int((run.snapshot / "pid").read_text())
        first.send_signal(signal.SIGSTOP)
        try:
            assert run_agent(run)[0] == 4  # seen by its own clock, as by another machine's
            said, written = run.end(), run.log()
        finally:
            first.send_signal(signal.SIGCONT)
        assert first.wait(120) == 4
        wait_until(lambda: still_there([job]) == [])
    assert run.end() == said
    assert said.attempt == 2
    assert run.log() == written


def test_the_engines_count_of_its_starts_is_the_attempt(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    assert run_agent(run, environ={"SLURM_RESTART_COUNT": "2"})[0] == 0
    assert run.end().attempt == 3


def test_a_job_dies_with_its_agent(tmp_path: Path) -> None:
    run = a_run(tmp_path, WAIT)
    with start_agent(run) as agent:
        wait_until(lambda: run.reading("ready"), process=agent)
        agent.kill()
    wait_until(lambda: not processes.with_variable("WARDIAN_OUTPUT_DIR", str(run.snapshot / "outputs")))
    assert not run.has_ended()
    assert run.status().state == "running"


def test_two_nodes_are_told_their_ranks_and_one_address(tmp_path: Path) -> None:
    run = a_run(tmp_path, SHOW, resources=Resources(nodes=2))
    given = {"SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "gpu[07-09]"}
    with start_agent(run, environ={**given, "SLURM_PROCID": "1"}) as second:
        assert run_agent(run, environ={**given, "SLURM_PROCID": "0"})[0] == 0
        assert second.wait(120) == 0
    found = [json.loads(run.log(rank))[1] for rank in (0, 1)]
    assert [(one["RANK"], one["WARDIAN_NODE_RANK"], one["LOCAL_RANK"]) for one in found] == [("0", "0", "0"), ("1", "1", "0")]
    assert {(one["WORLD_SIZE"], one["MASTER_ADDR"], one["MASTER_PORT"]) for one in found} == {
        ("2", "gpu07", found[0]["WARDIAN_MASTER_PORT"])
    }
    assert run.end(1).exit_code == 0


def test_a_run_has_failed_when_another_node_has_and_the_first_is_stopped(tmp_path: Path) -> None:
    script = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(9)\ntime.sleep(600)"
    run = a_run(tmp_path, script, resources=Resources(nodes=2), secrets=Secrets({"A": "b"}))
    given = {"WARDIAN_WORLD_SIZE": "2", "WARDIAN_MASTER_ADDR": "n1"}
    with start_agent(run, environ={**given, "WARDIAN_NODE_RANK": "0"}) as first:
        assert run_agent(run, environ={**given, "WARDIAN_NODE_RANK": "1"})[0] == 9
        assert first.wait(120) == 9
    assert (run.end().cause, run.end().exit_code) == ("exited", 9)
    assert run.end().reason == f"node 1 ({os.uname().nodename}): exit code 9"
    assert not (run.directory / "secrets.json").exists()


def test_a_run_has_failed_when_another_node_gives_no_sign_of_life(tmp_path: Path) -> None:
    run = a_run(tmp_path, "import time; time.sleep(600)", resources=Resources(nodes=2))
    code, _ = run_agent(run, environ={"WARDIAN_WORLD_SIZE": "2", "WARDIAN_MASTER_ADDR": "n1", "WARDIAN_NODE_RANK": "0"})
    assert (code, run.end().code) == (125, "node_lost")
    assert "node 1" in run.end().reason


def test_an_engine_that_does_not_say_which_node_it_is_is_told_so(tmp_path: Path) -> None:
    run = a_run(tmp_path, resources=Resources(nodes=2))
    code, said = run_agent(run)
    assert (code, run.end().code) == (125, "rank_unknown")
    assert "the engine says nothing" in said


@pytest.mark.root
def test_a_job_of_root_cannot_write_where_archives_lie(tmp_path: Path) -> None:
    script = "try: open('../../../packages/x', 'w')\nexcept OSError as error: print(error.strerror)"
    (tmp_path / "packages").mkdir()
    run = a_run(tmp_path, script)
    assert run_agent(run)[0] == 0
    assert not (tmp_path / "packages/x").exists()


def test_the_agent_imports_nothing_slow(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    code = f"import sys; from wardian.sdk.node import main; assert main(['exec', '--sheet', {str(run.sheet)!r}]) == 0; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"yaml", "sqlite3", "requests", "urllib3", "rattler", "click", "rich", "tomlkit", "packaging.metadata", "pathspec"}
    assert not slow & set(done.stdout.split())
    assert run.end() == NodeEnd.from_json(run.end().to_json())
