"""`wardian shell`: a shell, a command or a Jupyter kernel in an environment; no run is recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wardian.cli.common import Session, command, examples
from wardian.cli.completion import complete_reference


@click.command(epilog=examples(
    "wardian shell sklearn",
    'wardian shell sklearn -- python -c "import numpy; print(numpy.__version__)"',
    "wardian shell environment.yml -V CUDA_VISIBLE_DEVICES=0 -- pytest",
    "wardian shell sklearn --kernel              # registers a Jupyter kernel",
    "wardian shell sklearn --remove-kernel",
))  # fmt: skip
@click.argument("target", metavar="REF|FILE", shell_complete=complete_reference)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD [ARG]...]")
@click.option(
    "-V", "--variable", "variables", multiple=True, metavar="K[=V]", help="A variable; without a value, your own is passed on."
)
@click.option("--kernel", is_flag=True, help="Register a Jupyter kernel that runs in it (needs ipykernel among its packages).")
@click.option("--remove-kernel", is_flag=True, help="Take that kernel away.")
@click.option("--name", metavar="N", help="With --kernel, --remove-kernel: the kernel's name; default: from REF.")
@command
def shell(
    session: Session,
    target: str,
    words: tuple[str, ...],
    variables: tuple[str, ...],
    kernel: bool,
    remove_kernel: bool,
    name: str | None,
) -> int:
    """Open a shell in an environment, or run a command in it, without a run record.

    The environment's programs come first on PATH, its variables are set; of your own only a few are kept (HOME, LANG, TERM,
    proxies), and those given with -V. The exit code is the command's own; 125 if Wardian failed before it started, 126 and 127
    as in a shell.
    """
    if kernel or remove_kernel or name is not None:
        if words or variables or kernel == remove_kernel:
            raise click.UsageError("give one of --kernel and --remove-kernel, alone")
        return _kernel(session, target, name, remove=remove_kernel)
    from wardian.cli.env_build import version_of
    from wardian.sdk.shells import become, program

    given = {key: value if equals else None for key, equals, value in (text.partition("=") for text in variables)}
    ready = program(session.workspace, version_of(session, target), words, variables=given)
    for note in ready.prepared.notes:
        session.say(f"note:  {note}")
    if not words and sys.stdin.isatty():
        session.say(f"{ready.prepared.environment.summary}; `exit` leaves it")
    session.progress.stop()
    return become(ready, session.workspace.parts)


def _kernel(session: Session, target: str, name: str | None, *, remove: bool) -> int:
    from wardian.cli.env_build import version_of
    from wardian.definition.reference import is_file_reference
    from wardian.sdk.kernels import install_kernel, remove_kernel

    is_file = is_file_reference(target)
    if remove:
        gone = remove_kernel(session.workspace, Path(target).stem if is_file else target, name=name)
        session.show({**gone.as_document(), "removed": True}, lambda: f"removed the kernel {gone.name}")
        return 0
    version = version_of(session, target)
    made = install_kernel(session.workspace, str(version) if is_file else target, version, name=name)
    session.show(
        {**made.as_document(), "removed": False}, lambda: [f"kernel {made.name}: {made.display_name}", f"  {made.directory}"]
    )
    return 0
