"""The `wardian` command: which nouns there are, and what becomes of an error."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import json_text, write_err, write_out
from wardian.cli.lazy import LazyGroup
from wardian.errors import WardianError

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXAMPLES = """
\b
Examples:
  wardian env create sklearn -r requirements.txt
  wardian run -e sklearn train.py
  wardian run -f environment.yml train.py --epochs 3
  wardian env diff sklearn:1 sklearn:2
  wardian runs list
"""

_BY_SIGNAL = 128  # as a shell has it
_WARDIAN_FAILED = 125  # semantics §6: where every other exit code is the user's program's, as in docker, podman and timeout

COMMANDS = {
    "run": ("wardian.cli.run:run", "Run a script in an environment; record exactly what it ran with."),
    "shell": ("wardian.cli.shell:shell", "A shell, a command or a Jupyter kernel in an environment."),
    "env": ("wardian.cli.env:env", "Environments: create, list, lock, compare, upgrade, export …"),
    "runs": ("wardian.cli.runs:runs", "Runs: list, show, logs, wait, cancel, export, reproduce."),
    "model": (
        "wardian.cli.model:model",
        "Models: create, list, show, download, label: what runs made, with what it was made with.",
    ),
    "deploy": ("wardian.cli.deploy:deploy", "Deploy a model to an endpoint, in the environment that trained it."),
    "endpoint": (
        "wardian.cli.endpoint:endpoint",
        "Endpoints: list, show, logs, score, bench, update, scale, rollback, restart, key, delete.",
    ),
    "build": ("wardian.cli.build:build", "Builds: list, show, logs, cancel: every solve, installation, image and push."),
    "image": ("wardian.cli.image:image", "Images: show, copy, compare."),
    "catalog": ("wardian.cli.catalog:catalog", "Curated environments: fill a registry with them, try them."),
    "target": ("wardian.cli.target:target", "Targets: places to run, by name: create, list, show, check, delete."),
    "workspace": ("wardian.cli.workspace:workspace", "Workspaces: create, list, use, show, delete."),
    "secret": ("wardian.cli.secret:secret", "Logins for indexes, channels and registries."),
    "config": ("wardian.cli.config:config", "Settings: show them and where they come from; set one."),
    "gc": ("wardian.cli.gc:gc", "What the caches could give back; --apply removes it."),
    "doctor": ("wardian.cli.doctor:doctor", "What works on this machine, and what to do about the rest."),
}
_OF_KERNELS = ("--kernel", "--remove-kernel", "--name")  # with these `shell` runs no program
HIDDEN = {"node": ("wardian.cli.node:node", "What engines start on the nodes of a target.")}
ALIASES = {
    "job": "runs",
    "jobs": "runs",
    "builds": "build",
    "images": "image",
    "models": "model",
    "endpoints": "endpoint",
    "service": "endpoint",
    "targets": "target",
    "environment": "env",
    "catalogue": "catalog",
}


def _completion(ctx: click.Context, _param: click.Parameter, shell: str | None) -> None:
    if shell is None or ctx.resilient_parsing:
        return
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is not None:
        write_out(kind(cli, {}, "wardian", "_WARDIAN_COMPLETE").source())
    ctx.exit()


@click.group(
    cls=LazyGroup, commands_at=COMMANDS, hidden_at=HIDDEN, aliases=ALIASES, epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip
@click.version_option(package_name="wardian", prog_name="wardian")
@click.option("--completion", type=click.Choice(["bash", "zsh", "fish"]), is_eager=True, expose_value=False, callback=_completion,
              help='Print what completes commands, references and run ids: `eval "$(wardian --completion bash)"`.')  # fmt: skip
def cli() -> None:
    """Environments for machine learning: define once, lock, build, run, reproduce."""


class Terminated(KeyboardInterrupt):
    """Somebody ended this process by a signal: it cleans up as after ^C."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Nothing but a bug of ours shows a traceback, and that in a file."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    try:
        code = cli.main(args=given, prog_name="wardian", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _usage(error, given)
    except (KeyboardInterrupt, click.exceptions.Abort) as stopped:
        return _interrupted(stopped)
    except WardianError as error:
        return _failed(error, given)
    except OSError as error:  # of the system, where nobody knew better what it means
        return _failed(_of_system(error), given)
    except Exception as error:  # noqa: BLE001 - the one place that turns a bug into words
        return _bug(error, given)
    return code if isinstance(code, int) else 0


def _interrupted(stopped: BaseException) -> int:
    ended = stopped if isinstance(stopped, Terminated) else stopped.__cause__  # click raises one of its own
    if isinstance(ended, Terminated):
        write_err(f"ended by {signal.Signals(ended.number).name}\n")
        return _BY_SIGNAL + ended.number
    write_err("interrupted\n")
    return _BY_SIGNAL + signal.SIGINT


def _open_closed_streams() -> None:
    """Give a process that was started with closed descriptors, as from some daemons, streams that lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - open as long as the process


def _of_system(error: OSError) -> WardianError:
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return WardianError(
            "the directory that this was called from is gone", hint="change to one that is there", code="no_directory"
        )
    place = f": {error.filename}" if error.filename else ""
    return WardianError(f"the system says: {error.strerror or error}{place}", code="system_error")


def _wants_json(given: Sequence[str]) -> bool:
    before = given[: given.index("--")] if "--" in given else given
    return "--json" in before


def _failed(error: WardianError, given: Sequence[str]) -> int:
    document = error.as_document()
    if error.exit_code in (2, 4) and (meant := _meant(given)):
        document["hint"] = f"did you mean `{meant}`?"
    _write(document, given)
    return int(error.details.get("process_exit_code", _exit_code(error.exit_code, given)))


def _usage(error: click.ClickException, given: Sequence[str]) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        write_err(error.format_message() + "\n")
        return _exit_code(2, given)
    context: Any = getattr(error, "ctx", None)
    document = {"code": "usage", "message": error.format_message()}
    if meant := _meant(given):
        document["hint"] = f"did you mean `{meant}`?"
    elif context is not None:
        document["hint"] = f"`{context.command_path} --help` shows examples"
    _write(document, given)
    return _exit_code(2, given)


def _write(document: dict[str, Any], given: Sequence[str]) -> None:
    if _wants_json(given):
        write_err(json_text({"error": document}) + "\n")
        return
    write_err(f"error: {document['message']}\n")
    if document.get("hint"):
        write_err(f"hint:  {document['hint']}\n")


def _meant(given: Sequence[str]) -> str | None:
    from wardian.cli.habits import meant

    return meant(given)


def _exit_code(code: int, given: Sequence[str]) -> int:
    """Return ``code``, or what says the same where the exit code is another program's."""
    return _WARDIAN_FAILED if _is_program(given) else code


def _is_program(given: Sequence[str]) -> bool:
    """Whether the exit code belongs to a program of the user's, so that ours must be told from it."""
    before = given[: given.index("--")] if "--" in given else given
    return given[:1] in (["run"], ["node"]) or (
        given[:1] == ["shell"] and not any(word.startswith(_OF_KERNELS) for word in before)
    )


def _bug(error: Exception, given: Sequence[str]) -> int:
    from wardian.cli.crash import write_report
    from wardian.run.argument_secrets import without_secrets

    place = write_report(error, without_secrets(given)[0])
    write_err(
        f"error: a bug in Wardian: {type(error).__name__}: {str(error)[:300]}\nhint:  the report is in {place}; please send it\n"
    )
    return _exit_code(3, given)


def script() -> None:
    """The console script's entry point."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminated)
    code = main()
    try:
        sys.stderr.flush()
    except OSError:  # else Python, which tries again at its end, exits with a code of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if others and code > _BY_SIGNAL:  # interrupted, and a thread does not come back from the network: nobody waits for it
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _terminated(number: int, _frame: object) -> None:
    raise Terminated(number)


if __name__ == "__main__":
    script()
