"""The Python that looks after jobs in containers: a copy of Wardian's own, with the libraries that it needs, so that any image will do."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from wardian.digest import Digest
from wardian.errors import Denied, RunFailed
from wardian.run.python_copy import PROGRAM, NotCopied, copied, copy_program, ensure_copy, look
from wardian.tools.own_python import LIBRARIES, LOADER

_SCHEME = "launcher-python-2"  # part of each copy's name

# everything that the launcher and the probe import, and what decodes names and output in any locale
_IMPORTS = """
import __future__, contextlib, encodings.ascii, encodings.latin_1, encodings.utf_8, errno, json, os, select, shutil, signal, subprocess, sys, time
"""


@dataclass(frozen=True, slots=True)
class LauncherPython:
    """A copy of this program's Python at ``path`` that needs nothing of where it is mounted: neither a shell nor a C library."""

    path: Path

    def command(self, place: str) -> tuple[str, ...]:
        """Return what executes it where it is mounted at ``place``; options and arguments follow.

        Its own loader starts it with its own libraries, whatever the image has.
        """
        program = (f"{place}/{PROGRAM}", "-I", "-S")
        if not (self.path / LOADER).exists():  # it is linked statically
            return program
        return (f"{place}/{LOADER}", "--library-path", f"{place}/{LIBRARIES}", *program)


def launcher_python(root: Path, *, interpreter: str = sys.executable) -> LauncherPython:
    """Return the copy of ``interpreter`` below ``root``, made at first need: about 30 MB.

    Idempotent, safe across processes; a copy is complete or not there. What an interpreter that is no longer used left is removed.
    Where ``root`` may only be read and has none, the copy is kept in a directory for temporary files, which is the user's own.

    Raises:   RunFailed: ``launcher_unavailable``: it cannot be copied.  DiskFull.  Denied: nothing can be written anywhere.
    """
    try:
        try:
            return _kept(root, interpreter)
        except Denied:
            place = _own_temporary()
            if place is None:
                raise
            return _kept(place, interpreter)
    except NotCopied as error:
        raise RunFailed(
            f"the Python that Wardian runs on, {interpreter}, cannot look after jobs in containers: {error}", code="launcher_unavailable",
            hint="install Wardian with an ordinary Python of this machine, or one of uv's",
        ) from error  # fmt: skip


def _kept(root: Path, interpreter: str) -> LauncherPython:
    program = Path(interpreter).resolve()
    found = program.stat()
    identity = json.dumps([_SCHEME, _IMPORTS, str(program), found.st_size, found.st_mtime_ns, sys.version])
    name = Digest.of(identity.encode())[:16]
    return LauncherPython(ensure_copy(root, name, PROGRAM, lambda place: _copy(interpreter, program, place)))


def _own_temporary() -> Path | None:
    """Return a directory that nobody else can have put anything into; None: there is none."""
    place = Path(tempfile.gettempdir(), f"wardian-launchers-{os.geteuid()}")
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
            return place
    return None


def _copy(interpreter: str, program: Path, place: Path) -> None:
    import py_compile

    looked = look(interpreter, _IMPORTS)
    home = place / looked.folder
    (home / "lib-dynload").mkdir(parents=True)
    for name in sorted({*looked.modules, str(looked.library / "os.py")}):
        source = Path(name)
        inside = (
            source.relative_to(looked.library) if source.is_relative_to(looked.library) else Path("lib-dynload", source.name)
        )
        target = copied(source, home / inside)
        if target.suffix == ".py":
            py_compile.compile(
                str(target), dfile=target.name, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, doraise=True
            )
    copy_program(program, looked, place)
