"""Exit codes as semantics §7 has them; what an error says, to people and as JSON; a bug is no traceback on the screen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from tests.support.index import Index
from tests.support.wheels import make_wheel

from wardian.cli.main import cli as command_line
from wardian.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.cli import Cli, Done


def nothing_wrong(cli: Cli) -> Done:
    return cli.run("env", "list")


def a_run_failed(cli: Cli) -> Done:
    cli.run("run", "-e", "host", "--", "false")
    return cli.run("runs", "wait", "latest")


def a_check_failed(cli: Cli) -> Done:
    return cli.run("doctor", variables={"WARDIAN_HOME": "/proc/sys", "WARDIAN_OFFLINE": "1"})


def an_unknown_option(cli: Cli) -> Done:
    return cli.run("env", "list", "--nothing")


def an_unknown_command(cli: Cli) -> Done:
    return cli.run("env", "lst")


def a_wrong_definition(cli: Cli) -> Done:
    cli.write("wrong.yml", "name: x\npython:\n  manager: uv\n  pip: ['numpy >= one']\n")
    return cli.run("env", "hash", "wrong.yml")


def a_wrong_setting(cli: Cli) -> Done:
    return cli.run("env", "list", variables={"WARDIAN_TIMEOUT_S": "soon"})


def a_missing_thing(cli: Cli) -> Done:
    return cli.run("env", "show", "nosuch")


def a_thing_that_needs_yes(cli: Cli) -> Done:
    return cli.run("env", "delete", "host")


def a_missing_login(cli: Cli) -> Done:
    with Index(cli.directory / "private", user="u", password="p") as private:
        cli.write("requirements.txt", f"--index-url {private.url}\nalpha\n")
        return cli.run("env", "lock", "requirements.txt")


def a_server_that_is_gone(cli: Cli) -> Done:
    with Index(cli.directory / "gone") as gone:
        url = gone.url
    cli.write("requirements.txt", f"--index-url {url}\nalpha\n")
    return cli.run("env", "lock", "requirements.txt", variables={"UV_HTTP_RETRIES": "0"})


CASES: list[tuple[Callable[[Cli], Done], int, str, str]] = [
    # what, exit code, what the error names, what the hint names
    (nothing_wrong, 0, "", ""),
    (a_run_failed, 1, "", ""),
    (a_check_failed, 1, "", ""),
    (an_unknown_option, 2, "--nothing", "wardian env list --help"),
    (an_unknown_command, 2, "`wardian env lst`; did you mean `wardian env list`?", "wardian env --help"),
    (a_wrong_definition, 2, "wrong.yml:4", ""),
    (a_wrong_setting, 2, "$WARDIAN_TIMEOUT_S: `soon`", ""),
    (a_missing_thing, 4, "`nosuch`", "wardian env list"),
    (a_thing_that_needs_yes, 5, "host", "wardian env delete host --yes"),
    (a_missing_login, 6, "credentials", "wardian secret set"),
    (a_server_that_is_gone, 7, "does not answer", "wardian doctor"),
]


@pytest.mark.parametrize(("what", "code", "names", "hint"), CASES, ids=[case[0].__name__ for case in CASES])
def test_the_exit_code_and_the_words(host: Cli, what: Callable[[Cli], Done], code: int, names: str, hint: str) -> None:
    done = what(host)
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    if names:
        assert re.match(r"(?:.*\n)*?error: ", done.err)
        assert names in done.err
    if hint:
        assert hint in done.err.rpartition("hint:  ")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "stable_code"),
    [
        (("env", "show", "nosuch", "--json"), 4, "not_found"),
        (("env", "show", "a:b:c", "--json"), 2, "invalid_reference"),
        (("runs", "show", "nosuch", "--json"), 4, "run_not_found"),
        (("workspace", "use", "nosuch", "--json"), 4, "workspace_not_found"),
        (("gc", "--limit", "lots", "--json"), 2, "usage"),
        (("env", "lst", "--json"), 2, "usage"),
        (("config", "set", "nothing", "1", "--json"), 2, "invalid_setting"),
    ],
)
def test_errors_as_json_are_one_line_on_stderr(cli: Cli, arguments: tuple[str, ...], code: int, stable_code: str) -> None:
    done = cli.run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert done.err.count("\n") == 1
    error = json.loads(done.err)["error"]
    assert error["message"]
    assert error["code"].endswith(stable_code)


def test_a_bug_is_written_down_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    @click.command("broken")
    @click.option("-V")
    @click.option("--password")
    def broken(v: str, password: str) -> None:
        assert password
        raise ZeroDivisionError(f"by {len(v)}")

    command_line.add_command(broken)
    try:
        code = main(["broken", "-V", "API_KEY=s3cret", "--password", "s3cret"])
    finally:
        del command_line.commands["broken"]
    said = capsys.readouterr().err
    assert code == 3
    assert "a bug in Wardian: ZeroDivisionError: by 14" in said
    assert "Traceback" not in said
    report = Path(said.partition("the report is in ")[2].partition(";")[0])
    assert report.parent == tmp_path
    text = report.read_text()
    assert "Traceback" in text
    assert "s3cret" not in text


def test_an_interrupt_is_130(host: Cli) -> None:
    process = host.start("run", "-e", "host", "--", "sh", "-c", "echo begun; sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130


def test_output_that_cannot_be_written_is_no_success(cli: Cli) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            cli.argv("config", "show"), stdout=full, stderr=subprocess.PIPE, text=True, env=cli.environ, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: stdout cannot be written to: No space left on device\n")


FULL_AND_DONE = [
    # how it is called, the exit code
    (("run", "-e", "host", "--", "echo", "all"), 125),
    (("run", "--json", "-e", "host", "--", "echo", "all"), 125),
    (("run", "-e", "host", "--", "sh", "-c", "echo all; exit 3"), 3),
    (("run", "-e", "host", "--", "true"), 0),
    (("runs", "reproduce", "latest"), 1),
    (("runs", "logs", "latest"), 1),
    (("runs", "list"), 1),
]


@pytest.mark.parametrize(("arguments", "code"), FULL_AND_DONE, ids=[" ".join(words) for words, _ in FULL_AND_DONE])
def test_lost_output_of_a_run_is_told_and_its_record_is_whole(host: Cli, arguments: tuple[str, ...], code: int) -> None:
    host.ok("run", "-e", "host", "--", "echo", "all")
    with Path("/dev/full").open("w") as full:
        process = host.start(*arguments, stdout=full)
        said = process.communicate()[1]
    assert process.returncode == code
    assert ("stdout cannot be written to: No space left on device" in said) == (code != 0), said
    newest = host.json("runs", "show", "latest")
    assert newest["exit_code"] == newest["process_exit_code"] == (3 if code == 3 else 0)
    assert host.ok("runs", "logs", newest["id"]).out == ("" if arguments[-1] == "true" else "all\n")


def test_stderr_that_cannot_be_written_stops_nothing(host: Cli) -> None:
    with Path("/dev/full").open("w") as full:
        process = host.start("run", "-e", "host", "--", "sh", "-c", "echo begun; exit 3", stderr=full)
        assert (process.communicate()[0], process.returncode) == ("begun\n", 3)
        lost = host.start("run", "-e", "host", "--", "sh", "-c", "echo told >&2", stderr=full)
        assert (lost.communicate()[0], lost.returncode) == ("", 125)
    assert host.ok("runs", "logs", "latest").out == "told\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run",), 125), (("run", "--nothing", "a.py"), 125), (("run", "-e", "host", "--cpus", "many", "a.py"), 125),
        (("run", "-e", "host", "--time", "soon", "--", "true"), 125), (("run", "-e", "A=B", "--", "true"), 125),
        (("run", "-e", "nosuch", "--", "true"), 125), (("run", "--help"), 0), (("shell",), 125), (("shell", "--nothing"), 125),
        (("shell", "host", "--", "sh", "-c", "exit 4", "--kernel"), 4), (("shell", "nosuch", "--", "echo", "--kernel"), 125),
        (("shell", "host", "--kernel", "--nothing"), 2), (("runs", "show"), 2),
    ],
)  # fmt: skip
def test_whatever_wardian_itself_fails_of_is_125_where_the_exit_code_is_a_programs(
    host: Cli, arguments: tuple[str, ...], code: int
) -> None:
    assert host.run(*arguments).code == code


def test_a_reader_of_a_run_that_has_gone_is_no_fault(host: Cli) -> None:
    process = host.start("run", "-e", "host", "--", "seq", "300000")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "1\n"
    process.stdout.close()
    assert process.wait() == 0
    assert "error" not in process.stderr.read()
    process.stderr.close()
    assert host.ok("runs", "logs", "latest", "--tail", "1").out == "300000\n"


def test_a_reader_that_has_gone_is_no_fault(cli: Cli) -> None:
    process = cli.start("config", "show", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_no_arguments_show_the_help(cli: Cli) -> None:
    for arguments, usage in (((), "Usage: wardian [OPTIONS]"), (("env",), "Usage: wardian env [OPTIONS]")):
        done = cli.run(*arguments)
        assert done.code == 2
        assert done.err.startswith(usage)


# -- habits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run list", "wardian runs list"),
        ("run logs latest --tail 3", "wardian runs logs latest --tail 3"),
        ("run -e A=B train.py", "wardian run -V A=B train.py"),
        ("env show -n sklearn -v 4", "wardian env show sklearn:4"),
        ("env show --name sklearn --version=4 --json", "wardian env show sklearn:4 --json"),
        ("env show --name sklearn", "wardian env show sklearn"),
        ("shell -n sklearn -v 2 -- python -V", "wardian shell sklearn:2 -- python -V"),
        ("run -n sklearn -v 2 train.py", "wardian run -e sklearn:2 train.py"),
        ("model create --name churn --path model", "wardian model create churn model"),
        ("model register -n churn -v 3 -p model --run latest", "wardian model register churn model --run latest --version 3"),
        ("model show -n churn -v 3", "wardian model show churn:3"),
        ("endpoint create -n churn -m churn:2", "wardian deploy churn -m churn:2"),
        ("endpoint deploy churn -m churn:2", "wardian deploy churn -m churn:2"),
        ("model deploy -n churn -m churn:2 --no-auth", "wardian deploy churn -m churn:2 --no-auth"),
        ("deploy -n churn -m churn:2", "wardian deploy churn -m churn:2"),
        ("endpoint show -n churn", "wardian endpoint show churn"),
        ("endpoint bench churn asked.jsonl -n 500", "wardian endpoint bench churn --requests asked.jsonl -n 500"),
    ],
)
def test_what_was_meant_is_the_hint(cli: Cli, typed: str, meant: str) -> None:
    done = cli.run(*typed.split())
    assert done.code in (2, 125)
    if "--json" in typed:
        assert json.loads(done.err)["error"]["hint"] == f"did you mean `{meant}`?"
    else:
        assert done.err.endswith(f"hint:  did you mean `{meant}`?\n")


def test_a_script_that_is_called_like_a_command_just_runs(host: Cli) -> None:
    host.write("list", "print('a script')\n")
    assert host.ok("run", "-e", "host", "list").out == "a script\n"


@pytest.mark.parametrize(
    ("typed", "same_as"),
    [
        ("job list", "runs list"), ("jobs ls", "runs list"), ("environment ls", "env list"), ("workspace ls", "workspace list"),
        ("secret ls", "secret list"),
    ],
)  # fmt: skip
def test_other_names(host: Cli, typed: str, same_as: str) -> None:
    assert host.json(*typed.split()) == host.json(*same_as.split())


def test_env_register_clone_and_refresh(cli: Cli, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with Index(tmp_path / "index") as index:
        index.add(make_wheel(wheels, "alpha", "1.0"))
        cli.ok("config", "set", "indexes.pypi", index.url)
        cli.write("requirements.txt", "alpha\n")
        assert cli.json("env", "register", "one", "-r", "requirements.txt")["reference"] == "one:1"
        assert cli.json("env", "clone", "two", "--from", "one")["reference"] == "two:1"
        cli.ok("env", "lock", "one")
        assert cli.run("env", "refresh", "one").code == 0


def test_what_a_definition_holds_gives_a_terminal_no_orders(cli: Cli) -> None:
    cli.write("wrong.yml", 'name: "\\e[31mred\\u202e"\ndependencies: ["\\e[2Jfoo", "\\x9b5mbar"]\n')
    text = cli.run("env", "hash", "wrong.yml").err
    assert "`\\x1b[31mred\\u202e` is not a name" in text
    assert "`\\x1b[2Jfoo` is not a conda match spec" in text
    assert all(line.isprintable() for line in text.split("\n"))
    error = json.loads(cli.run("env", "hash", "wrong.yml", "--json").err)["error"]
    assert "`\x9b5mbar`" in error["message"]


def test_names_in_notes_give_a_terminal_no_orders(cli: Cli) -> None:
    cli.ok("env", "create", "host", "--interpreter", sys.executable)
    cli.write("s.py", "")
    os.mkfifo(cli.directory / "p\x1b[41m\u202e")
    text = cli.ok("run", "-e", "host", "s.py").err
    assert "p\\x1b[41m\\u202e is left out of the snapshot" in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_what_is_interrupted_while_it_loads_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import sys, time\nprint('loading', flush=True)\ntime.sleep(600)\n")
    command = [
        sys.executable,
        "-c",
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from wardian.cli.start import script; script()",
    ]
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    loading = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert loading.stdout is not None
    assert loading.stdout.readline() == "loading\n"
    loading.send_signal(signal.SIGINT)
    _, said = loading.communicate()
    assert (loading.returncode, said) == (130, "interrupted\n")


def test_the_command_is_what_answers_so() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"wardian": "wardian.cli.start:script"}
