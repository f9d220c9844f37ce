from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.support.cli import Cli

from wardian.cli.runs_show import get_run

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = """
import os, sys
sys.stdout.write(" ".join(["out", *sys.argv[1:]]) + "\\n")
sys.stderr.write("err\\n")
open("outputs/result.txt", "w").write("42")
open("scratch.txt", "w").write("new")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A workspace with four runs; nobody changes it."""
    cli = Cli.at(tmp_path_factory.mktemp("lab"))
    cli.ok("env", "create", "host", "--interpreter", sys.executable)
    cli.write("a.py", SCRIPT)
    data = cli.write("data.csv", "1,2\n")
    cli.ok("run", "-e", "host", "-x", "first", "-V", "SEED=1", "-V", "API_TOKEN=ghp_abcdefghijklmnopqrstuvwxyz0123456789", "--input", f"data={data}",
           "a.py", "one")  # fmt: skip
    cli.run("run", "-e", "host", "-x", "first", "--", "sh", "-c", "exit 3")
    cli.ok("env", "create", "host", "--from", "host", "-V", "A=1")
    cli.ok("run", "-e", "host", "-x", "second", "a.py", "two")
    cli.ok("run", "-e", "host:1", "-x", "second", "a.py", "three")
    return cli


def ids(cli: Cli, *options: str) -> list[str]:
    return [run["id"] for run in cli.json("runs", "list", *options)["runs"]]


def test_the_latest_run_is_looked_at_as_by_its_id() -> None:
    """What it left elsewhere comes home with a look at the run, not with a list."""

    class Runs:
        def list(self, *, limit: int) -> list[SimpleNamespace]:
            return [SimpleNamespace(id="01k3p")][:limit]

        def get(self, run_id: str) -> str:
            return f"{run_id}, brought home"

    session = SimpleNamespace(workspace=SimpleNamespace(runs=Runs()))
    assert get_run(cast("Any", session), "latest") == cast("Any", "01k3p, brought home")


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_an_unknown_target_is_refused_with_those_that_there_are(lab: Cli, options: tuple[str, ...]) -> None:
    done = lab.run("run", "-e", "host", "-t", "slurm", *options, "a.py")
    assert done.code == 125
    assert "there is no target `slurm`" in done.err
    assert all(name in done.err for name in ("`local`", "`podman`", "`docker`"))
    assert len(ids(lab)) == 4


def test_list_filters_and_pages_newest_first(lab: Cli) -> None:
    all_four = ids(lab)
    assert len(all_four) == 4
    assert all_four == sorted(all_four, reverse=True)
    assert ids(lab, "--experiment", "second") == all_four[:2]
    assert ids(lab, "--state", "failed") == [all_four[2]]
    assert ids(lab, "--env", "host:1") == [all_four[0], all_four[2], all_four[3]]
    first = lab.json("runs", "list", "--limit", "3")
    assert [run["id"] for run in first["runs"]] == all_four[:3]
    second = lab.json("runs", "list", "--limit", "3", "--after", first["next"])
    assert ([run["id"] for run in second["runs"]], second["next"]) == (all_four[3:], None)
    shown = lab.ok("runs", "list", "--limit", "3")
    assert f"more: --after {first['next']}" in shown.err
    assert all_four[2] in shown.out
    assert lab.ok("runs", "list", "-x", "nothing").out == "there are no runs\n"


def test_show_has_everything_and_no_secret(lab: Cli) -> None:
    run_id = ids(lab)[3]
    document = lab.json("runs", "show", run_id)
    assert document["configuration"]["command"] == {"kind": "script", "name": "a.py", "arguments": ["one"]}
    assert (document["state"], document["exit_code"], document["code"]) == ("completed", 0, "exited")
    assert document["queued"] <= document["preparing"] <= document["running"] <= document["ended"]
    assert document["results"]["variables"] == {"API_TOKEN": None, "SEED": "1"}
    assert document["results"]["outputs"] == [{"path": "outputs/result.txt", "size_bytes": 2}]
    assert document["results"]["environment"]["observed"]["python"]
    text = lab.ok("runs", "show", run_id).out
    for part in (
        f"run {run_id}  completed (exit code 0)", "a.py one", "host:1", "SEED=1", "API_TOKEN=…", "result.txt  2 B", "scratch.txt", "data = ",
        document["snapshot_digest"], document["results"]["environment"]["definition_hash"], str(Path(document["directory"]) / "log.txt"),
    ):  # fmt: skip
        assert part in text, part
    assert "ghp_" not in text + lab.ok("runs", "show", run_id, "--json").out
    failed = lab.ok("runs", "show", ids(lab)[2]).out
    assert "failed (exit code 3)" in failed
    assert "reason       exit code 3" in failed


def test_names_of_files_give_a_terminal_no_orders(tmp_path: Path) -> None:
    cli = Cli.at(tmp_path)
    cli.ok("env", "create", "host", "--interpreter", sys.executable)
    name = "\\x1b]0;owned\\x07\\x9b31m\\nrun"  # as Python source
    cli.write("a.py", f"for place in ('outputs/', ''):\n    open(place + '{name}', 'w').write('42')\n")
    cli.ok("run", "-e", "host", "a.py", "\x1b[2J")
    text = cli.ok("runs", "show", "latest").out
    assert text.count(name) == 2
    assert "a.py" in text
    assert all(line.isprintable() for line in (text + cli.ok("runs", "list").out).split("\n"))
    assert cli.json("runs", "show", "latest")["results"]["outputs"][0]["path"] == "outputs/\x1b]0;owned\x07\x9b31m\nrun"


def test_a_run_is_found_by_the_beginning_of_its_id_and_as_the_latest(lab: Cli) -> None:
    newest = ids(lab)[0]
    assert lab.json("runs", "show", "latest")["id"] == newest
    assert lab.json("runs", "show", newest[:-1])["id"] == newest
    ambiguous = lab.run("runs", "show", newest[0])
    assert ambiguous.code == 5
    assert all(run_id in ambiguous.err for run_id in ids(lab))


def test_logs_as_they_came_and_their_tail(lab: Cli) -> None:
    run_id = ids(lab)[3]
    assert sorted(lab.ok("runs", "logs", run_id).out.splitlines()) == ["err", "out one"]
    whole = lab.ok("runs", "logs", run_id, "--follow").out
    assert lab.ok("runs", "logs", run_id, "--tail", "1").out == whole.splitlines(keepends=True)[-1]
    assert lab.ok("runs", "logs", run_id, "--tail", "99").out == whole
    assert lab.ok("runs", "logs", run_id, "--tail", "0").out == ""
    assert lab.json("runs", "logs", run_id, "--tail", "1") == {
        "id": run_id,
        "state": "completed",
        "log": whole.splitlines(keepends=True)[-1],
    }
    assert lab.run("runs", "logs", run_id, "-f", "--json").code == 2
    assert lab.ok("runs", "logs", ids(lab)[2]).out == ""


def test_the_tail_of_a_long_log(host: Cli) -> None:
    host.write("long.py", "import sys\nfor i in range(60000):\n    print(i)\nsys.stdout.write('no end')\n")
    host.ok("run", "-e", "host", "long.py")
    assert host.ok("runs", "logs", "latest", "--tail", "3").out == "59998\n59999\nno end"
    assert host.ok("runs", "logs", "latest", "--tail", "50000").out.splitlines()[0] == "10001"
    assert len(host.ok("runs", "logs", "latest", "--tail", "60001").out.splitlines()) == 60001


# -- runs in progress --------------------------------------------------------------------------------------------------

WAITS = "import os, sys, time\nprint('begun', flush=True)\nwhile not os.path.exists(sys.argv[1]):\n    time.sleep(0.02)\nprint('released')\nsys.exit(int(sys.argv[2]))\n"


@pytest.fixture
def release(host: Cli, tmp_path: Path) -> Iterator[Path]:
    """The file that a waiting run waits for; it is there at the end in any case."""
    host.write("wait.py", WAITS)
    yield tmp_path / "release"
    (tmp_path / "release").touch()


def start(cli: Cli, release: Path, code: int = 0) -> str:
    return cli.ok("run", "-d", "-e", "host", "wait.py", str(release), str(code)).out.strip()


def test_follow_until_the_end(host: Cli, release: Path) -> None:
    run_id = start(host, release)
    follower = host.start("runs", "logs", "-f", run_id)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "begun\n"
    release.touch()
    assert follower.communicate()[0] == "released\n"
    assert follower.returncode == 0
    assert "-f follows it" not in host.ok("runs", "logs", run_id).err


def test_wait_tells_how_it_ended(host: Cli, release: Path) -> None:
    run_id, failing = start(host, release), start(host, release, 4)
    too_long = host.run("runs", "wait", run_id, "--timeout", "0.1s")
    assert too_long.code == 7
    assert run_id in too_long.err
    release.touch()
    assert host.ok("runs", "wait", run_id).out == f"{run_id} completed\n"
    failed = host.run("runs", "wait", failing, "--timeout", "60s")
    assert (failed.code, failed.out) == (1, f"{failing} failed: exit code 4\n")
    assert host.run("runs", "wait", failing, "--timeout", "soon").code == 2


def test_cancel_and_delete(host: Cli, release: Path) -> None:
    run_id = start(host, release)
    refused = host.run("runs", "delete", run_id, "--yes")
    assert refused.code == 5
    assert f"wardian runs cancel {run_id}" in refused.err
    assert host.json("runs", "cancel", run_id)["state"] == "canceled"
    again = host.run("runs", "cancel", run_id)
    assert (again.code, "has ended already" in again.err) == (5, True)
    directory = Path(host.json("runs", "show", run_id)["directory"])
    unsure = host.run("runs", "delete", run_id)
    assert unsure.code == 5
    assert unsure.err.endswith(f"hint:  `wardian runs delete {run_id} --yes`\n")
    assert directory.is_dir()
    host.ok("runs", "delete", run_id, "--yes")
    assert not directory.exists()
    assert host.run("runs", "show", run_id).code == 4


@pytest.mark.parametrize("command", [("logs", "-f"), ("wait",)])
def test_an_interrupt_ends_the_watcher_not_the_run(host: Cli, release: Path, command: tuple[str, ...]) -> None:
    run_id = start(host, release)
    follower = host.start("runs", "logs", "-f", run_id)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "begun\n"
    watcher = follower if command[0] == "logs" else host.start("runs", *command, run_id, "--timeout", "300")
    if watcher is not follower:
        wait_until_open(watcher.pid)
    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate()
    # Python itself ends by the signal if that came amid an import; to a shell both are 130
    assert (watcher.returncode % 256, err.strip()) in ((130, "interrupted"), (256 - signal.SIGINT, "interrupted"))
    assert host.json("runs", "show", run_id)["state"] == "running"
    release.touch()
    host.ok("runs", "wait", run_id)
    follower.communicate()


def wait_until_open(pid: int) -> None:
    """Wait until the process has opened the records: it is past its start then."""
    while not any("workspace.db" in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()):
        time.sleep(0.02)


# -- again and elsewhere -----------------------------------------------------------------------------------------------


def test_reproduce_compares_what_is_left(host: Cli) -> None:
    host.write("a.py", SCRIPT.replace("sys.stderr.write", "len"))  # two streams are mixed as chance has it
    host.ok("run", "-e", "host", "a.py", "one")
    first = host.json("runs", "show", "latest")["id"]
    (host.directory / "a.py").unlink()
    again = host.json("runs", "reproduce", first)
    assert again["id"] != first
    assert again["configuration"]["command"]["arguments"] == ["one"]
    assert {key: again["comparison"][key] for key in ("other", "same", "same_log", "same_outputs")} == {
        "other": first, "same": True, "same_log": True, "same_outputs": 1,
    }  # fmt: skip
    done = host.ok("runs", "reproduce", first)
    assert f"the same as {first}: packages, exit code, log, 1 output\n" in done.err
    assert "out one\n" in done.out


def test_reproduce_says_what_differs_and_exits_as_the_script(host: Cli) -> None:
    host.write(
        "b.py",
        "import os, sys, time\nopen('outputs/when', 'w').write(str(time.time_ns()))\nprint(time.time_ns())\nsys.exit(3)\n",
    )
    host.run("run", "-e", "host", "b.py")
    done = host.run("runs", "reproduce", "latest")
    assert done.code == 3
    assert "in: log; outputs when\n" in done.err


def test_export_and_reproduce_in_another_home(host: Cli, tmp_path: Path) -> None:
    host.write("a.py", SCRIPT)
    host.ok("run", "-e", "host", "a.py", "carried")
    target = tmp_path / "run.wardian"
    document = host.json("runs", "export", "latest", "-o", str(target))
    assert document["size_bytes"] == target.stat().st_size
    assert document["left_out"] == []
    elsewhere = Cli.at(tmp_path / "elsewhere")
    done = elsewhere.ok("runs", "reproduce", str(target))
    assert "out carried\n" in done.out
    assert elsewhere.json("runs", "reproduce", str(target))["comparison"] is None
    missing = elsewhere.run("runs", "reproduce", "nothing.wardian")
    assert (missing.code, "nothing.wardian" in missing.err) == (4, True)
    (tmp_path / "damaged.wardian").write_bytes(target.read_bytes()[:2000])
    assert elsewhere.run("runs", "reproduce", str(tmp_path / "damaged.wardian")).code in (1, 2)


def test_a_reproduced_run_names_the_run_and_the_file_that_it_came_from(host: Cli, tmp_path: Path) -> None:
    host.write(
        "a.py", "import sys\nopen('a.py', 'a').write('# changed')\nprint('hello')\n"
    )  # what it was is in its source alone
    host.ok("run", "-e", "host", "a.py")
    first = host.json("runs", "show", "latest")
    again = host.json("runs", "reproduce", first["id"])
    assert again["configuration"]["source"] == first["configuration"]["source"] == str(host.directory)
    assert again["configuration"]["reproduces"] == first["id"]
    assert host.json("runs", "reproduce", again["id"])["configuration"]["reproduces"] == again["id"]
    assert f"\n  reproduces   run {first['id']}\n" in host.ok("runs", "show", again["id"]).out
    target = tmp_path / "run.wardian"
    host.ok("runs", "export", again["id"], "-o", str(target))
    elsewhere = Cli.at(tmp_path / "elsewhere")
    from_file = elsewhere.json("runs", "reproduce", "./run.wardian", cwd=tmp_path)
    assert from_file["configuration"]["source"] == str(target)
    assert from_file["configuration"]["reproduces"] == again["id"]
    assert ".reproduce-" not in elsewhere.ok("runs", "show", "latest", "--json").out


def test_inputs_that_came_with_a_run_file_are_the_new_runs_own(host: Cli, tmp_path: Path) -> None:
    host.write(
        "a.py",
        "import os\nprint(open(os.environ['WARDIAN_INPUT_DATA'] + '/x').read(), open(os.environ['WARDIAN_INPUT_ONE']).read())\n",
    )
    host.write("data/x", "from a directory")
    host.write("one", "from a file")
    host.ok("run", "-e", "host", "--input", "data=data", "--input", "one=one", "a.py")
    target = tmp_path / "run.wardian"
    host.ok("runs", "export", "latest", "-o", str(target))
    elsewhere = Cli.at(tmp_path / "elsewhere")
    again = elsewhere.json("runs", "reproduce", str(target))
    inputs = {name: Path(path) for name, path in again["configuration"]["inputs"].items()}
    assert inputs == {name: Path(again["directory"]) / "inputs" / name for name in ("data", "one")}
    assert {name: found["path"] for name, found in again["results"]["inputs"].items()} == {
        name: str(path) for name, path in inputs.items()
    }
    assert (inputs["data"] / "x").read_text() == "from a directory"
    done = elsewhere.ok("runs", "reproduce", "latest")  # the reproduction can be reproduced, and exported whole
    assert done.out == "from a directory from a file\n"
    assert elsewhere.json("runs", "export", again["id"], "-o", str(tmp_path / "second.wardian"))["left_out"] == []
    assert [path for path in (elsewhere.home / "workspaces/default/runs").iterdir() if path.name.startswith(".reproduce")] == []


def test_secrets_among_the_arguments_are_kept_nowhere_and_given_again(host: Cli, tmp_path: Path) -> None:
    host.write("a.py", "import sys\nprint([len(word) for word in sys.argv[1:]])\n")
    given = ("--api-key=hunter2", "--password", "hunter2", "--epochs", "3")
    first = host.ok("run", "-e", "host", "a.py", *given)
    assert first.out == "[17, 10, 7, 8, 1]\n"
    assert "note:  these arguments look like secrets and are not kept" in first.err
    run_id = host.json("runs", "show", "latest")["id"]
    target = tmp_path / "run.wardian"
    host.ok("runs", "export", run_id, "-o", str(target))
    for told in (host.ok("runs", "list"), host.ok("runs", "show", run_id), host.ok("runs", "show", run_id, "--json")):
        assert "hunter2" not in told.out
        assert "--password" in told.out
    for path in [target, *(p for p in host.home.rglob("*") if p.is_file())]:
        assert b"hunter2" not in path.read_bytes(), path
    for what in (run_id, str(target)):
        missing = host.run("runs", "reproduce", what)
        assert (missing.code, "`--api-key=…`, `--password …`" in missing.err) == (2, True)
        assert f"`wardian runs reproduce {what} -- '--api-key=…' --password '…' --epochs 3`" in missing.err
        assert host.run("runs", "reproduce", what, "--", *given[:2], "…", *given[3:]).code == 2
        other = host.run("runs", "reproduce", what, "--", *given[:4], "4")
        assert (other.code, "these are not the arguments" in other.err) == (2, True)
        again = host.ok("runs", "reproduce", what, "--", *given)
        assert again.out == first.out
    assert host.json("runs", "show", "latest")["configuration"]["command"]["hidden"] == [0, 2]


def test_export_does_not_take_a_directory(host: Cli) -> None:
    assert host.run("runs", "export", "latest", "-o", str(host.directory)).code == 2
    assert host.run("runs", "export", "latest", "-o", "x.wardian").code == 4, "there is no run yet"


def test_names_that_are_not_utf8_go_through_a_run_its_record_and_its_file(host: Cli, tmp_path: Path) -> None:
    script = "import os, sys\nprint(os.fsencode(sys.argv[1]), sorted(os.listdir(b'.')))\nopen(b'outputs/o\\xe9', 'w')\nopen(b'n\\xe9', 'w')\n"
    host.write("s\udce9.py", script)
    (host.directory / "caf\udce9.txt").write_text("x")
    first = host.ok("run", "-e", "host", "s\udce9.py", "a\udce9")
    assert first.out == "b'a\\xe9' [b'caf\\xe9.txt', b'outputs', b's\\xe9.py']\n"
    document = host.json("runs", "show", "latest")
    assert document["configuration"]["command"] == {"kind": "script", "name": "s\0e9.py", "arguments": ["a\0e9"]}
    assert [document["results"]["outputs"][0]["path"], *document["results"]["new_files"]] == ["outputs/o\0e9", "n\0e9"]
    shown = host.ok("runs", "show", "latest")
    assert all(part in shown.out for part in (r"s\xe9.py", r"a\xe9", r"outputs/o\xe9", r"n\xe9"))
    target = tmp_path / "r\udce9.wardian"
    assert host.json("runs", "export", "latest", "-o", str(target))["output"] == str(tmp_path / "r\0e9.wardian")
    assert host.ok("runs", "reproduce", document["id"]).out == first.out
    elsewhere = Cli.at(tmp_path / "elsewhere")
    assert elsewhere.ok("runs", "reproduce", str(target)).out == first.out
    assert elsewhere.json("runs", "show", "latest")["snapshot_digest"] == document["snapshot_digest"]
    missing = host.run("run", "-e", "host", "no\udce9.py")
    assert (missing.code, r"there is no script `no\xe9.py`" in missing.err) == (125, True)
    unknown = host.run("run", "-e", "host", "--", "no\udce9")
    assert (unknown.code, r"`no\xe9` was not found" in unknown.err) == (127, True)


def test_a_terminal_that_knows_ascii_alone(host: Cli) -> None:
    host.ok("run", "-e", "host", "--", "echo", "grün")
    ascii_alone = {"PYTHONIOENCODING": "ascii"}
    assert r"echo 'gr\xfcn'" in host.ok("runs", "show", "latest", variables=ascii_alone).out
    assert host.json("runs", "show", "latest", variables=ascii_alone)["configuration"]["command"]["arguments"] == ["grün"]


def test_how_long_a_killed_run_took_is_not_known(host: Cli) -> None:
    process = host.start("run", "-e", "host", "--", "sh", "-c", "echo begun; sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate()
    killed = host.json("runs", "show", "latest")
    assert (killed["state"], killed["code"]) == ("failed", "supervisor_gone")
    assert "last known to be alive at" in killed["reason"]
    assert "≥ " in host.ok("runs", "list").out
    shown = host.ok("runs", "show", "latest").out
    assert "took         ≥ " in shown
    assert "(when it was last known to be alive)" in shown


@pytest.mark.parametrize(
    ("inputs", "said"),
    [(["A"], "--input takes NAME=PATH, not `A`"), (["=x"], "--input takes NAME=PATH, not `=x`"), (["a="], "--input takes NAME=PATH, not `a=`"),
     (["a=one", "a=two"], "the input `a` is given twice")],
)  # fmt: skip
def test_an_input_that_is_none_or_given_twice_is_named(host: Cli, inputs: list[str], said: str) -> None:
    host.write("a.py", "")
    done = host.run("run", "-e", "host", *(word for text in inputs for word in ("--input", text)), "a.py")
    assert done.code == 125
    assert said in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [(("-V", "A=1", "-V", "A=2"), "the variable `A` is given twice"), (("-V", "A=1", "-V", "A"), "the variable `A` is given twice"),
     (("-t", "podman", "--option", "shm=1G", "--option", "shm=2G"), "--option shm=… is given twice, with `1G` and `2G`")],
)  # fmt: skip
def test_what_is_given_twice_and_not_alike_is_refused(host: Cli, words: tuple[str, ...], said: str) -> None:
    host.write("a.py", "")
    done = host.run("run", "-e", "host", *words, "a.py")
    assert (done.code, done.out) == (125, "")
    assert said in done.err


def test_a_time_of_one_second_is_one_second(host: Cli) -> None:
    host.write("a.py", "import time; time.sleep(60)")
    done = host.run("run", "-e", "host", "--time", "1s", "a.py")
    assert done.code == 124
    assert "stopped after 1 second: its time was up" in done.err
