"""`wardian shell`: what a program finds, how it ends, the user's own shell with its prompt marked, and Jupyter kernels."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from tests.support.cli import Cli
    from tests.support.index import Index

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


def test_a_command_finds_the_environment_and_little_of_the_callers(host: Cli) -> None:
    host.ok("env", "create", "host", "--from", "host", "-V", "OMP_NUM_THREADS=4")
    caller = {
        "SEED": "7",
        "SECRET_OF_MINE": "x",
        "PYTHONPATH": "/elsewhere",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "TZ": "UTC",
        "VIRTUAL_ENV": "/x",
    }
    found = json.loads(
        host.ok("shell", "host", "-V", "SEED", "-V", "EXTRA=1", "--", "python3", "-c", SHOW, variables=caller).out
    )
    assert found["PATH"] == f"{Path(sys.executable).parent}:{SYSTEM_PATH}"
    assert found["OMP_NUM_THREADS"] == "4"
    assert (found["SEED"], found["EXTRA"], found["HTTPS_PROXY"], found["TZ"]) == ("7", "1", "http://127.0.0.1:1", "UTC")
    assert not {"SECRET_OF_MINE", "PYTHONPATH", "VIRTUAL_ENV", "WARDIAN_HOME", "WARDIAN_RUN_ID"} & found.keys()


def test_no_run_is_recorded_and_the_directory_is_the_callers(host: Cli) -> None:
    assert host.ok("shell", "host", "--", "pwd").out.strip() == str(host.directory)
    assert host.json("runs", "list")["runs"] == []


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("python3", "-c", "import sys; sys.exit(3)"), 3),
        (("sh", "-c", "kill -TERM $$"), -signal.SIGTERM),  # exec: the process itself ended so, a shell shows 128 + 15
        (("no-such-program",), 127),
        (("/etc/passwd",), 126),
        (("/etc/passwd/x",), 127),
    ],
)
def test_it_ends_as_the_command_does(host: Cli, command: tuple[str, ...], code: int) -> None:
    done = host.run("shell", "host", "--", *command)
    assert done.code == code
    if code in (126, 127):
        assert f"`{command[0]}`" in done.err


def test_when_it_cannot_start_that_is_told_from_the_command(host: Cli) -> None:
    missing = host.run("shell", "nosuch", "--", "true")
    assert (missing.code, "`nosuch`" in missing.err) == (125, True)
    unset = host.run("shell", "host", "-V", "NOT_SET_HERE", "--", "true")
    assert (unset.code, "`NOT_SET_HERE`" in unset.err) == (125, True)
    broken = host.write("broken.yml", "name: x\npython: {manager: nobody}\n")
    assert host.run("shell", str(broken), "--", "true").code == 125


def test_a_command_does_not_inherit_that_python_ignores_broken_pipes(host: Cli) -> None:
    ignored = int(host.ok("shell", "host", "--", "grep", "SigIgn", "/proc/self/status").out.split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_a_file_is_an_environment_too(host: Cli) -> None:
    host.write("env.yml", f"name: fromfile\npython:\n  manager: user\n  interpreter: {sys.executable}\n")
    assert host.ok("shell", "env.yml", "--", "python3", "-c", "print(1)").out == "1\n"
    assert host.json("env", "show", "fromfile")["version"] == "1"


def test_commands_from_a_pipe(host: Cli) -> None:
    done = host.run("shell", "host", stdin="echo from stdin\nexit 5\n")
    assert (done.code, done.out) == (5, "from stdin\n")


def test_nobody_writes_into_the_environment_root_neither(cli: Cli, index: Index, tmp_path: Path) -> None:
    index.add(make_wheel(tmp_path, "alpha", "1.0", files={"alpha/__init__.py": "x = 1\n"}))
    cli.ok("config", "set", "indexes.pypi", index.url)
    cli.write("requirements.txt", "alpha\n")
    code = "import alpha; print(alpha.__file__, flush=True); open(alpha.__file__, 'a').write('x = 2')"
    done = cli.run("shell", "./requirements.txt", "--", "python", "-c", code)
    assert done.code == 1
    assert "Read-only file system" in done.err or "Permission denied" in done.err
    assert Path(done.out.strip()).read_text() == "x = 1\n"
    assert cli.ok("shell", "./requirements.txt", "--", "python", "-c", "import alpha; print(alpha.x)").out == "1\n"


# -- interactive -------------------------------------------------------------------------------------------------------


class Terminal:
    """A `wardian shell` at a terminal of its own."""

    def __init__(self, cli: Cli, shell: str, home: Path):
        self._ours, theirs = pty.openpty()
        environ = {**cli.environ, "SHELL": shell, "HOME": str(home), "TERM": "dumb"}
        # a session of its own, with this as its terminal, as after a login
        command = ["setsid", "--ctty", *cli.argv("shell", "host")]
        self._process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=cli.directory)
        os.close(theirs)
        self.seen = ""
        self._read = 0

    def until(self, text: str) -> str:
        """Return what is shown from where the last call ended up to ``text``."""
        while (at := self.seen.find(text, self._read)) < 0:
            ready, _, _ = select.select([self._ours], [], [], 60)
            piece = b""
            with contextlib.suppress(OSError):  # the terminal is gone with the process
                piece = os.read(self._ours, 4096) if ready else b""
            assert piece, f"`{text}` does not come; there is: {self.seen!r}"
            self.seen += piece.decode(errors="replace")
        start, self._read = self._read, at + len(text)
        return self.seen[start : self._read]

    def type(self, line: str) -> None:
        os.write(self._ours, f"{line}\r".encode())

    def end(self) -> int:
        with contextlib.suppress(OSError):
            while os.read(self._ours, 4096):
                pass
        os.close(self._ours)
        return self._process.wait()


@pytest.mark.parametrize(
    ("shell", "start_file", "prompt"),
    [
        (
            "bash",
            (".bashrc", "export PATH=/from/start-file:$PATH\nPS1='mine> '\nalias greet='echo hello'\n"),
            "(host:1) mine> ",
        ),
        (
            "zsh",
            (".zshrc", "export PATH=/from/start-file:$PATH\nPROMPT='mine> '\nalias greet='echo hello'\n"),
            "(host:1) mine> ",
        ),
        (
            "fish",
            (".config/fish/config.fish", "set -gx PATH /from/start-file $PATH\nfunction greet; echo hello; end\n"),
            "(host:1) ",
        ),
        ("sh", (".profile", ""), "(host:1) "),
    ],
)
def test_the_users_own_shell_is_marked_and_has_the_environment_first(
    host: Cli, tmp_path: Path, shell: str, start_file: tuple[str, str], prompt: str
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is missing")
    start = tmp_path / start_file[0]
    start.parent.mkdir(parents=True, exist_ok=True)
    start.write_text(start_file[1])
    terminal = Terminal(host, program, tmp_path)
    terminal.until(prompt)
    terminal.type("env | grep ^PATH= | sed s/^/is:/")
    seen = terminal.until(f"is:PATH={Path(sys.executable).parent}:{SYSTEM_PATH}")
    terminal.until("(host:1) ")
    assert "/from/start-file" not in seen
    if start_file[1]:
        terminal.type("greet")
        terminal.until("hello")
    terminal.type("exit 5")
    assert terminal.end() == 5
    assert "host:1 · user-managed" in terminal.seen


def test_the_start_files_of_a_shell_are_gone_once_it_has_read_them(host: Cli, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    host.variables["TMPDIR"] = str(scratch)
    terminal = Terminal(host, "/bin/bash", tmp_path)
    terminal.until("(host:1) ")
    left = [path.name for path in scratch.iterdir() if path.name.startswith("wardian-shell-")]
    terminal.type("exit")
    terminal.end()
    assert left == []


# -- kernels -----------------------------------------------------------------------------------------------------------


def test_a_kernel_runs_in_the_environment_and_is_taken_away(host: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import KernelManager

    host.variables["JUPYTER_DATA_DIR"] = str(tmp_path / "jupyter")
    host.ok("env", "create", "host", "--from", "host", "-V", "MARK=of-the-environment")
    made = host.json("shell", "host", "--kernel")
    assert (made["name"], made["reference"]) == ("host", "host")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("NOT_FOR_KERNELS", "x")
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "jupyter" / "kernels")])
    assert "host" in specs.find_kernel_specs()
    manager = KernelManager(kernel_name="host", kernel_spec_manager=specs)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        said: list[str] = []
        client.execute_interactive(
            "import os, sys; print(sys.executable, os.environ['MARK'], 'NOT_FOR_KERNELS' in os.environ, 'JPY_PARENT_PID' in os.environ)",
            timeout=60, output_hook=lambda message: said.append(message["content"].get("text", "")),
        )  # fmt: skip
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()
    assert "".join(said).split() == [str(Path(sys.executable).parent / "python3"), "of-the-environment", "False", "True"]
    assert host.json("shell", "host", "--remove-kernel")["removed"] is True
    assert not Path(made["directory"]).exists()
    assert host.run("shell", "host", "--remove-kernel").code == 4


def test_kernels_have_names_and_replace_only_their_own(host: Cli, tmp_path: Path) -> None:
    host.variables["JUPYTER_DATA_DIR"] = str(tmp_path)
    assert host.json("shell", "host:1", "--kernel")["name"] == "host-1"
    assert host.json("shell", "host", "--kernel", "--name", "mine")["directory"] == str(tmp_path / "kernels" / "mine")
    host.ok("shell", "host", "--kernel", "--name", "mine")
    assert host.run("shell", "host", "--kernel", "--name", "No Good").code == 2
    theirs = tmp_path / "kernels" / "python3"
    theirs.mkdir()
    (theirs / "kernel.json").write_text('{"argv": [], "display_name": "theirs", "language": "python"}')
    for arguments in (("--kernel",), ("--remove-kernel",)):
        refused = host.run("shell", "host", *arguments, "--name", "python3")
        assert (refused.code, "not Wardian's" in refused.err) == (5, True)
    assert (theirs / "kernel.json").exists()


def test_without_ipykernel_there_is_no_kernel_but_a_hint(host: Cli, tmp_path: Path) -> None:
    host.variables["JUPYTER_DATA_DIR"] = str(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    host.ok("env", "create", "bare", "--interpreter", str(tmp_path / "bare/bin/python"))
    done = host.run("shell", "bare", "--kernel")
    assert done.code == 1
    assert done.err.endswith("hint:  `wardian env add bare ipykernel`\n")
    assert not (tmp_path / "kernels").exists()


def test_a_kernel_is_asked_for_alone(host: Cli) -> None:
    assert host.run("shell", "host", "--kernel", "--", "true").code == 2
    assert host.run("shell", "host", "--kernel", "--remove-kernel").code == 2
    assert host.run("shell", "host", "--name", "x").code == 2
