"""`wardian node`: what the engines that run jobs start on their nodes. For programs; people use `wardian run -t TARGET`."""

from __future__ import annotations

from pathlib import Path

import click

from wardian.cli.common import examples


@click.group(hidden=True)
def node() -> None:
    """What is started on the nodes of a target, by its engine."""


@node.command("exec", epilog=examples(
    "wardian node exec --sheet /shared/wardian/runs/01jd3k2v9q7x/sheet.json",
    "wardian node exec --lock lock.json --packages /shared/wardian/packages --cache /tmp/wardian -- python train.py",
))  # fmt: skip
@click.option(
    "--sheet",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The sheet of a run: run it, and write how it ended beside it.",
)
@click.option("--lock", type=click.Path(path_type=Path), metavar="FILE", help="A lock: install it, and become CMD.")
@click.option(
    "--packages",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="Of archives: <sha256>/<file>. No index is asked.",
)
@click.option(
    "--cache", type=click.Path(path_type=Path), metavar="DIRECTORY", help="Where it is installed; default: WARDIAN_CACHE."
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD [ARG]...]")
def exec_(sheet: Path | None, lock: Path | None, packages: tuple[Path, ...], cache: Path | None, words: tuple[str, ...]) -> int:
    """Run a run on this node, from its sheet; or install a lock, and become a command in its environment.

    Archives come from directories, checked by their digests. The exit code is the job's own, as `wardian run` has it.
    """
    from wardian.sdk.node import become_command, execute_sheet

    if sheet is not None:
        if lock is not None or packages or cache is not None or words:
            raise click.UsageError("--sheet says all: give nothing beside it")
        return execute_sheet(sheet)
    if lock is None or not words:
        raise click.UsageError("give --sheet FILE, or --lock FILE and a command behind `--`")
    return become_command(lock, packages, words, cache=cache)
