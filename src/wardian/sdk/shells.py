"""Programs in an environment without a run record: a command, or the user's own shell with its prompt marked."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from wardian.errors import RunFailed
from wardian.run.variables import caller_variables, environment_variables
from wardian.sdk.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.bootstrap import Parts
    from wardian.run.configuration import Prepared
    from wardian.sdk.workspace import Workspace
    from wardian.workspace.version import EnvironmentVersion

# an interactive shell belongs to a terminal and a person: it keeps what says which
_OF_THE_TERMINAL = ("USER", "LOGNAME", "SHELL", "COLORTERM", "DISPLAY", "WAYLAND_DISPLAY", "SSH_AUTH_SOCK")
_KNOWN_SHELLS = ("bash", "zsh", "fish", "sh", "dash", "ksh")
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True)
class Program:
    """A program that is ready to run in an environment.

    Attributes:
        argv: program and arguments; a program without ``/`` is found on the ``PATH`` of ``variables``.
        variables: its whole environment.
        scratch: a directory with the start-up files of a shell, which removes it; None: there is none.
    """

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    prepared: Prepared
    scratch: Path | None = None


def program(
    workspace: Workspace, version: EnvironmentVersion, command: Sequence[str], *, variables: Mapping[str, str | None]
) -> Program:
    """Return ``command``, or the user's shell if it is empty, ready to run in ``version``, which is installed first.

    Args:     variables: NAME → value; None passes the caller's own NAME on; later than the environment's.
    Raises:   what locking and installing raise; RunFailed: a user's interpreter that does not run.  InvalidInput.
    """
    from wardian.run.configuration import Command, RunConfiguration

    parts = workspace.parts
    argv = tuple(command) or (_users_shell(parts.environ),)
    asked = RunConfiguration(command=Command("program", argv[0], argv[1:]), variables=variables)
    given = caller_variables(asked, parts.settings.pass_variables, parts.environ)
    prepared = prepare(parts, workspace.environments, version, wants_python=False)
    found = environment_variables(prepared, parts.environ)
    if command:
        return Program(argv, {**found, **given}, prepared)
    found = {**{name: parts.environ[name] for name in _OF_THE_TERMINAL if name in parts.environ}, **found, **given}
    if not sys.stdin.isatty():
        return Program(argv, found, prepared)
    changes = {
        **prepared.variables,
        **given,
        "PATH": found["PATH"],
    }  # a start-up file of the user's may have set them otherwise
    return _interactive(argv[0], found, changes, prepared, str(version), parts.environ)


def become(program: Program, parts: Parts) -> NoReturn:
    """Replace this process by ``program``; its exit code and signals are then this process's own.

    As root its environment is read-only for it. The prefix is kept from being removed as long as the program, or a child
    that it left its files to, lives.

    Raises:   RunFailed: it cannot be executed; ``details["process_exit_code"]`` is 126 or 127, as a shell has it.
    """
    _hold(program.prepared, parts)
    _protect(program.prepared)
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the program would inherit that
        signal.signal(number, signal.SIG_DFL)
    name = program.argv[0]
    try:
        os.execvpe(name, program.argv, dict(program.variables))  # noqa: S606 - no shell is meant
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _not_started(program, f"`{name}` was not found in the environment", "command_not_found", _NOT_FOUND) from error
    except OSError as error:
        raise _not_started(
            program, f"`{name}` cannot be executed: {error.strerror}", "command_not_executable", _NOT_EXECUTABLE
        ) from error


def _not_started(program: Program, message: str, code: str, exit_code: int) -> RunFailed:
    if program.scratch is not None:
        shutil.rmtree(program.scratch, ignore_errors=True)
    return RunFailed(message, code=code, details={"process_exit_code": exit_code})


def _hold(prepared: Prepared, parts: Parts) -> None:
    key = prepared.environment.prefix_key
    if prepared.prefix is None or key is None:
        return
    from wardian.digest import Digest

    ready = parts.prefixes.find(Digest(key))
    for name in (key[:32], *(ready.requires if ready else ())):
        lock = parts.prefixes.use_lock(name)
        lock.acquire(shared=True)
        lock.keep_across_exec()


def _protect(prepared: Prepared) -> None:
    from wardian.tools import isolation

    if not prepared.read_only or not isolation.is_needed():
        return
    try:
        isolation.bind_read_only(prepared.read_only)
    except isolation.IsolationRefused as error:
        raise RunFailed(f"this is root, and the environment cannot be made read-only for it: {error.strerror}", code="isolation_refused",
                        hint="allow private mounts (CAP_SYS_ADMIN), or run as an ordinary user") from error  # fmt: skip


def _users_shell(environ: Mapping[str, str]) -> str:
    preferred = environ.get("SHELL", "")
    if Path(preferred).name in _KNOWN_SHELLS and os.access(preferred, os.X_OK):
        return preferred
    return shutil.which("bash") or "/bin/sh"


def _interactive(
    shell: str,
    variables: Mapping[str, str],
    changes: Mapping[str, str],
    prepared: Prepared,
    name: str,
    environ: Mapping[str, str],
) -> Program:
    """Return ``shell`` so that it reads the user's start-up files, then sets ``changes``, and shows ``(name)`` before its prompt."""
    kind = Path(shell).name
    if kind == "fish":
        return Program((shell, "--init-command", _fish(changes, name)), variables, prepared)
    scratch = Path(tempfile.mkdtemp(prefix="wardian-shell-"))
    exports = "\n".join(f"export {key}={shlex.quote(value)}" for key, value in changes.items())
    mark, gone = shlex.quote(f"({name}) "), f"command rm -rf -- {shlex.quote(str(scratch))}"
    if kind == "bash":
        (scratch / "rc").write_text(f'[ -r ~/.bashrc ] && . ~/.bashrc\n{exports}\nPS1={mark}"$PS1"\n{gone}\n')
        return Program((shell, "--rcfile", str(scratch / "rc"), "-i"), variables, prepared, scratch)
    if kind == "zsh":
        users, ours = shlex.quote(environ.get("ZDOTDIR") or environ.get("HOME", "/")), shlex.quote(str(scratch))
        (scratch / ".zshenv").write_text(
            f"ZDOTDIR={users}\n[ -r $ZDOTDIR/.zshenv ] && . $ZDOTDIR/.zshenv\n_wardian_zdotdir=$ZDOTDIR\nZDOTDIR={ours}\n"
        )
        (scratch / ".zshrc").write_text(
            f'ZDOTDIR=$_wardian_zdotdir; unset _wardian_zdotdir\n[ -r $ZDOTDIR/.zshrc ] && . $ZDOTDIR/.zshrc\n{exports}\nPROMPT={mark}"$PROMPT"\n{gone}\n'
        )
        return Program((shell, "-i"), {**variables, "ZDOTDIR": str(scratch)}, prepared, scratch)
    (scratch / "rc").write_text(f'{exports}\nPS1={mark}"$PS1"\nunset ENV\n{gone}\n')
    return Program((shell, "-i"), {**variables, "ENV": str(scratch / "rc")}, prepared, scratch)


def _fish(changes: Mapping[str, str], name: str) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    sets = [
        f"set -gx {key} {' '.join(map(quoted, value.split(':'))) if key == 'PATH' else quoted(value)}"
        for key, value in changes.items()
    ]
    return "\n".join([
        *sets, "functions -q fish_prompt; and functions -c fish_prompt __wardian_prompt",
        f"function fish_prompt; printf '%s' {quoted(f'({name}) ')}; functions -q __wardian_prompt; and __wardian_prompt; end",
    ])  # fmt: skip
