"""From what a user types to the script in the source directory."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput, NotFound
from wardian.run.configuration import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.run.source_tree import SourceTree

_PYTHON = re.compile(r"(python|pypy)[0-9.]*")
_OF_PYTHON = (".py", ".pyw", ".pyc", ".pyz", ".zip")
_RUNNERS = {".r": ("Rscript",), ".sh": ("sh",), ".bash": ("bash",)}  # by suffix, in small letters
_FIRST_LINE_BYTES = 512


def script_command(script: str, arguments: Sequence[str], *, source: Path, directory: Path) -> Command:
    """Return the command that runs ``script`` in a copy of ``source``.

    The source directory is the one that a user stands in unless ``--source`` names another, so paths that a script takes
    from its project hold in the copy. The script is looked for below ``source`` first, then below ``directory``.

    Args:     script: as typed.  source, directory: absolute; ``directory`` is the caller's working directory.
    Raises:   NotFound: ``script_not_found``.  InvalidInput: ``script_outside_source``.
    """
    place = next((path for path in (source / script, directory / script) if os.path.lexists(path)), None)
    if place is None:
        raise NotFound(f"there is no script `{script}` in {source}", hint=_close(script, source), code="script_not_found")
    # without resolving a link at the end: the copy has it too
    inside = Path(os.path.realpath(place.parent)) / place.name
    root = Path(os.path.realpath(source))
    if not inside.is_relative_to(root) or inside == root:
        raise InvalidInput(
            f"the script {place} is outside of the source directory {source}, which is what a run gets a copy of",
            hint=f"add `--source {place.parent}`, or change to that directory", code="script_outside_source",
        )  # fmt: skip
    return Command("script", inside.relative_to(root).as_posix(), tuple(arguments))


def with_runner(command: Command, source: Path | None) -> Command:
    """Return ``command`` with the program that runs its script, if it has none yet.

    A file with a suffix of Python's, and one that nothing says anything about, is run by the environment's Python. Else the program
    of its first line (``#!``) counts, by its name: the environment's own is meant, not that of a machine. Else its suffix does:
    ``.R`` Rscript, ``.sh`` sh, ``.bash`` bash.

    Args:     source: what the script's path is relative to; None: there is nothing to look at.
    """
    suffix = os.path.splitext(command.name)[1].lower()  # noqa: PTH122 - on the warm path
    if command.kind != "script" or command.runner or suffix in _OF_PYTHON:
        return command
    named = _first_line(source / command.name) if source is not None else ()
    if not named:
        named = _RUNNERS.get(suffix, ())
    return replace(command, runner=named) if named and not _PYTHON.fullmatch(named[0]) else command


def _first_line(script: Path) -> tuple[str, ...]:
    """Return the program that the first line of a script names, without its directory, and its options; nothing: none is named."""
    try:
        if not script.is_file():  # a directory with __main__.py; reading a pipe would wait
            return ()
        with script.open("rb") as stream:
            head = stream.read(_FIRST_LINE_BYTES)
        line = head.split(b"\n", 1)[0].decode()
    except (OSError, UnicodeDecodeError):  # whether it can be run shows later
        return ()
    words = line[2:].split() if line.startswith("#!") and "\0" not in line else []
    if words and words[0].rsplit("/", 1)[-1] == "env":
        words = words[1:]
        while words and (words[0].startswith("-") or "=" in words[0]):  # options, of which `-S` is the usual one, and variables
            words = words[1:]
    if not words:
        return ()
    return (words[0].rsplit("/", 1)[-1], *words[1:])


def check_script(command: Command, tree: SourceTree | None) -> None:
    """Check that the script of ``command`` is in the snapshot that ``tree`` will become, before anything is prepared.

    Raises:   NotFound: ``script_not_found``: it is not there, or is left out.
    """
    if command.kind != "script":
        return
    if tree is None:
        raise InvalidInput(f"the script `{command.name}` has no source directory", hint="add `--source DIR`", code="bad_source")
    wanted = os.path.normpath(command.name)
    if any(wanted in (file.path, os.path.dirname(file.path)) for file in tree.files):  # noqa: PTH120 - a directory with __main__.py
        return
    if os.path.lexists(tree.root / command.name):
        raise NotFound(f"the script `{command.name}` is left out of the snapshot of {tree.root}",
                       hint="an ignore file (`.wardianignore`, `.amlignore`, `.gitignore`) names it, or its directory",
                       code="script_not_found")  # fmt: skip
    raise NotFound(
        f"there is no script `{command.name}` in {tree.root}", hint=_close(command.name, tree.root), code="script_not_found"
    )


def _close(script: str, source: Path) -> str:
    from difflib import get_close_matches

    here = [path.name for path in source.iterdir() if path.suffix.lower() in (".py", *_RUNNERS)] if source.is_dir() else []
    if found := get_close_matches(script, here, n=1, cutoff=0.6):
        return f"did you mean `{found[0]}`?"
    return "a program of the environment is run with `-- COMMAND`, a module with `-m MODULE`"
