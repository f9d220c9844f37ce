"""A shell, or one command, in a prepared environment: at the caller's terminal, without a record."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import RunFailed
from wardian.tools import isolation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from wardian.run.configuration import Prepared

# an interpreter that looks elsewhere for its modules is not the environment's
_NOT_PASSED = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "__PYVENV_LAUNCHER__")
_SHELL_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)


def run_shell(
    prepared: Prepared,
    command: Sequence[str] = (),
    *,
    environ: Mapping[str, str],
    directory: Path | None = None,
    name: str = "",
) -> int:
    """Run ``command``, or the user's shell, in the environment, and return its exit code (128 + n: ended by signal n).

    It has the caller's terminal, working directory (or ``directory``) and variables; the environment's variables and ``PATH``
    come first. Root cannot write into the environment there either. ``name`` stands in the prompt of a bash.

    Raises:   RunFailed: ``not_found``, ``not_executable``; ``isolation_refused``.
    """
    variables = {name: value for name, value in environ.items() if name not in _NOT_PASSED}
    variables |= {**prepared.variables, "PYTHONNOUSERSITE": "1"}
    entries = [str(entry) for entry in prepared.path_entries]
    variables["PATH"] = os.pathsep.join([*entries, environ.get("PATH", os.defpath)])
    if command:
        return _run(prepared, list(command), variables, directory)
    shell = environ.get("SHELL") or "/bin/sh"
    if Path(shell).name != "bash":
        return _run(prepared, [shell], variables, directory)
    with tempfile.NamedTemporaryFile("w", prefix="wardian-", suffix=".bashrc") as start:
        # the user's own start file may put other things first on the path
        path = shlex.quote(os.pathsep.join(entries))
        prompt = shlex.quote(f"({name}) ") if name else ""
        start.write(f'[ -f ~/.bashrc ] && . ~/.bashrc\nexport PATH={path}${{PATH:+:$PATH}}\nPS1={prompt}"${{PS1-}}"\n')
        start.flush()
        return _run(prepared, [shell, "--rcfile", start.name, "-i"], variables, directory)


def _run(prepared: Prepared, argv: list[str], variables: Mapping[str, str], directory: Path | None) -> int:
    started: list[subprocess.Popen[bytes]] = []
    failed: list[OSError] = []

    def start() -> None:
        try:
            if prepared.read_only and isolation.is_needed():
                isolation.bind_read_only(prepared.read_only)
            program = argv[0] if "/" in argv[0] else _found(argv[0], variables["PATH"])
            started.append(subprocess.Popen(argv, executable=program, env=dict(variables), cwd=directory))
        except OSError as error:
            failed.append(error)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        # ^C and ^\ reach the command through the terminal; the others were for us alone
        if started and number in (signal.SIGTERM, signal.SIGHUP):
            started[0].send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in _SHELL_SIGNALS}
    try:
        # a mount namespace belongs to a thread, and what it starts is born into it: ours stays as it is
        thread = threading.Thread(target=start, name="wardian-shell")
        thread.start()
        thread.join()
        if failed:
            raise _explained(failed[0], argv[0]) from failed[0]
        code = started[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    return code if code >= 0 else 128 - code


def _found(program: str, path: str) -> str:
    import shutil

    found = shutil.which(program, path=path)
    if found is None:
        raise FileNotFoundError(2, "No such file or directory", program)
    return found


def _explained(error: OSError, program: str) -> RunFailed:
    if isinstance(error, isolation.IsolationRefused):
        return RunFailed(f"this process is root, and its environment cannot be made read-only for it: {error}",
                         hint="allow private mounts (CAP_SYS_ADMIN), or run as an ordinary user", code="isolation_refused")  # fmt: skip
    if isinstance(error, FileNotFoundError):
        return RunFailed(
            f"`{program}` was not found", hint="the environment's own programs come first on PATH", code="not_found"
        )
    return RunFailed(f"`{program}` cannot be executed: {error.strerror}", code="not_executable")
