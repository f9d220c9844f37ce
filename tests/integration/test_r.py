"""R: packages from a conda channel, and scripts in images that the user manages, with R or with hardly anything at all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.conda_channel import r_packages, standard_channel
from tests.support.containers import BUSYBOX, STATIC, PodmanSpace, R, archive, podman_space
from tests.support.jobs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN = "s3cret-value-of-a-token"


@pytest.fixture
def conda(tmp_path: Path) -> Iterator[Cli]:
    channel = standard_channel(tmp_path / "channel")
    channel.add(*r_packages())
    with channel.index().serve() as server:
        yield Cli.at(tmp_path / "one", config=f'lock_platforms = ["linux/amd64"]\n[channels]\nlocal = "{server.url}"\n')


def test_packages_of_r_come_through_conda_and_its_rscript_runs_a_script(conda: Cli) -> None:
    conda.write("environment.yml", "name: stats\nchannels: [local]\ndependencies: [r-base=4.3, r-mass]\n")
    conda.write("train.R", "cat('hello')\n")
    done = conda.ok("run", "-f", "environment.yml", "train.R", "--epochs", "3")
    assert done.out == "Rscript runs train.R --epochs 3\n"
    assert conda.ok("shell", "stats", "--", "sh", "-c", "command -v Rscript").out.startswith(str(conda.cache))
    record = _last(conda)
    assert record["configuration"]["command"] == {
        "kind": "script",
        "name": "train.R",
        "arguments": ["--epochs", "3"],
        "runner": ["Rscript"],
    }
    again = conda.ok("runs", "reproduce", record["id"])
    assert again.out == done.out


def test_an_environment_of_r_alone_says_that_it_has_no_python(conda: Cli) -> None:
    conda.write("environment.yml", "name: stats\nchannels: [local]\ndependencies: [r-base]\n")
    conda.write("train.py", "print(1)\n")
    conda.write("train.sh", 'Rscript --version; echo "$1"\n')
    assert conda.ok("run", "-f", "environment.yml", "train.sh", "x").out.splitlines()[1:] == ["x"]
    done = conda.run("run", "-f", "environment.yml", "train.py")
    assert (done.code, done.out) == (125, "")
    assert done.err.splitlines()[-2:] == [
        "error: stats:1 has no Python, which is wanted here", "hint:  `wardian env add stats python`",
    ]  # fmt: skip
    assert conda.run("env", "build", "stats", "--print-python").err.startswith("error: stats:1 has no Python")
    assert "python  none" in conda.ok("env", "build", "stats").out


@pytest.fixture(scope="module")
def space() -> Iterator[PodmanSpace]:
    with podman_space() as found:
        yield found


def _home(place: Path, space: PodmanSpace, which: str, shared: Path) -> Cli:
    """A home with the environment ``bare``: the image ``which``, which podman has."""
    cli = Cli.at(place)
    cli.variables |= space.environ
    cli.variables |= {"WARDIAN_ENGINES": "podman"}
    cli.ok("env", "create", "bare", "--image", f"docker-archive:{archive(which, shared)}", "--manager", "user")
    return cli


def test_packages_of_r_from_conda_run_in_their_image(
    conda: Cli, space: PodmanSpace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = archive(BUSYBOX, tmp_path_factory.getbasetemp().parent)
    conda.variables |= space.environ | {"WARDIAN_BASE_IMAGE": f"docker-archive:{base}"}
    conda.write("environment.yml", "name: stats\nchannels: [local]\ndependencies: [r-mass]\n")
    conda.write("train.R", "cat('hello')\n")
    done = conda.ok("run", "-f", "environment.yml", "-t", "podman", "train.R", "x")
    assert done.out == "Rscript runs train.R x\n"
    assert "outputs: " in done.err
    conda.write("train.py", "print(1)\n")
    refused = conda.run("run", "-e", "stats", "-t", "podman", "train.py")
    assert (refused.code, "error: stats:1 has no Python" in refused.err) == (125, True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, space: PodmanSpace) -> Cli:
    return _home(tmp_path_factory.mktemp("bare"), space, BUSYBOX, tmp_path_factory.getbasetemp().parent)


SEES = """
echo "cwd $PWD"
echo "of the run $SEED, of the caller ${NOT_PASSED-unset}, of the image $FROM_IMAGE"
cat "$WARDIAN_INPUT_DATA/data.csv"
touch "$WARDIAN_INPUT_DATA/new" 2>/dev/null || echo "the input is read-only"
echo 42 > "$WARDIAN_OUTPUT_DIR/model.txt"
echo "argument $1"
exit 7
"""


def test_a_shell_script_in_an_image_without_python_has_all_that_runs_have(bare: Cli, space: PodmanSpace) -> None:
    bare.write("train.sh", SEES)
    bare.write("data/data.csv", "1,2\n")
    done = bare.run("run", "-e", "bare", "-V", "SEED=1", "--input", f"data={bare.directory / 'data'}", "train.sh", "one",
                    variables={"NOT_PASSED": "x"})  # fmt: skip
    assert done.code == 7, done.err
    assert done.out.splitlines() == [
        "cwd /wardian/run", "of the run 1, of the caller unset, of the image yes", "1,2", "the input is read-only", "argument one",
    ]  # fmt: skip
    record = _last(bare)
    assert (record["state"], record["exit_code"]) == ("failed", 7)
    assert [each["path"] for each in record["results"]["outputs"]] == ["outputs/model.txt"]
    observed = record["results"]["environment"]["observed"]
    assert (observed["python"], observed["r"]) == (None, None)
    assert space.names() == []


def test_a_python_script_in_an_image_without_python_is_refused_before_it_runs(bare: Cli) -> None:
    bare.write("train.py", "print(1)\n")
    done = bare.run("run", "-e", "bare", "train.py")
    assert done.code == 125
    assert "error: the interpreter `python3` does not run in the image" in done.err
    assert "it is not there" in done.err


def test_an_r_script_in_an_image_without_r_is_127(bare: Cli) -> None:
    bare.write("train.R", "cat(1)\n")
    done = bare.run("run", "-e", "bare", "train.R")
    assert done.code == 127
    assert "`Rscript`, which train.R is run by, was not found" in done.err


def test_it_is_stopped_and_nothing_stays_and_no_secret_is_seen(bare: Cli, space: PodmanSpace) -> None:
    bare.write("wait.sh", "echo ready; echo $TOKEN | wc -c; while true; do sleep 1; done\n")
    started = bare.json("run", "-e", "bare", "-d", "-V", "TOKEN", "wait.sh", variables={"TOKEN": HIDDEN})["id"]
    wait_until(lambda: str(len(HIDDEN) + 1) in bare.run("runs", "logs", started).out)
    seen = b"".join(_command_lines())
    assert b"/wardian/job/launch.py" in seen
    assert HIDDEN.encode() not in seen
    assert bare.json("runs", "cancel", started)["state"] == "canceled"
    assert bare.run("runs", "logs", started).out.splitlines() == ["ready", str(len(HIDDEN) + 1)]
    assert space.names() == []
    assert bare.run("run", "-e", "bare", "--time", "1s", "wait.sh", "-V", "TOKEN=x").code == 124


def _command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (process / "cmdline").read_bytes()


def test_one_static_program_is_enough_for_a_run(
    tmp_path: Path, space: PodmanSpace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cli = _home(tmp_path, space, STATIC, tmp_path_factory.getbasetemp().parent)
    cli.write("in.txt", "of the snapshot\n")
    done = cli.ok("run", "-e", "bare", "--", "busybox", "cp", "in.txt", "outputs/out.txt")
    assert "outputs: " in done.err
    assert cli.run("run", "-e", "bare", "--", "busybox", "false").code == 1
    assert cli.run("run", "-e", "bare", "--", "no-such-program").code == 127
    cli.write("x.sh", "echo\n")
    assert cli.run("run", "-e", "bare", "x.sh").code == 127


def test_an_r_script_runs_in_an_image_of_debians_r(
    tmp_path: Path, space: PodmanSpace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cli = _home(tmp_path, space, R, tmp_path_factory.getbasetemp().parent)
    cli.write("train.R", (
        "data <- read.csv(file.path(Sys.getenv('WARDIAN_INPUT_DATA')))\n"
        "fit <- lm(y ~ x, data)\n"
        "cat(sprintf('slope %.1f', coef(fit)[['x']]), commandArgs(trailingOnly = TRUE), '\\n')\n"
        "saveRDS(fit, file.path(Sys.getenv('WARDIAN_OUTPUT_DIR'), 'model.rds'))\n"
    ))  # fmt: skip
    cli.write("data.csv", "x,y\n1,2\n2,4\n3,6.1\n")
    done = cli.ok("run", "-e", "bare", "--input", f"data={cli.directory / 'data.csv'}", "train.R", "--epochs", "3")
    assert done.out == "slope 2.0 --epochs 3 \n"
    record = _last(cli)
    assert [each["path"] for each in record["results"]["outputs"]] == ["outputs/model.rds"]
    observed = record["results"]["environment"]["observed"]
    assert observed["python"] is None
    assert observed["r"]["version"].startswith("4.")
    assert {"base", "stats"} <= {each["name"] for each in observed["r"]["packages"]}
    same = cli.ok("run", "-e", "bare", "--input", f"data={cli.directory / 'data.csv'}", "--", "Rscript", "train.R", "x")
    assert same.out == "slope 2.0 x \n"
    cli.write("fails.R", "stop('no such column')\n")
    failed = cli.run("run", "-e", "bare", "fails.R")
    assert (failed.code, "no such column" in failed.err) == (1, True)


def _last(cli: Cli) -> Any:
    return cli.json("runs", "show", cli.json("runs", "list")["runs"][0]["id"])
