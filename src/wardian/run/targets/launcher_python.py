"""The Python that looks after jobs in containers: a copy of Wardian's own, with the libraries that it needs, so that any image will do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from wardian.digest import Digest
from wardian.errors import Denied, RunFailed
from wardian.image.elf import HEAD_BYTES, libraries_of, loader_of
from wardian.tools.disk import disk_errors

_SCHEME = "launcher-python-1"  # part of each copy's name
_UNUSED_S = 30 * 86_400.0  # since it was last taken: what an earlier Python left goes
_PROGRAM, _LOADER, _LIBRARIES = "bin/python", "libraries/loader", "libraries"

# everything that the launcher and the probe import, and what decodes names and output in any locale
_LISTING = """
import __future__, contextlib, encodings.ascii, encodings.latin_1, encodings.utf_8, errno, json, os, select, shutil, signal, subprocess, sys, time
modules = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
with open("/proc/self/maps") as stream:
    mapped = {line.split(None, 5)[5].rstrip("\\n") for line in stream if len(line.split(None, 5)) == 6}
print(json.dumps([modules, sorted(path for path in mapped if path.startswith("/")), os.path.dirname(os.__file__), sys.platlibdir]))
"""


@dataclass(frozen=True, slots=True)
class LauncherPython:
    """A copy of this program's Python at ``path`` that needs nothing of where it is mounted: neither a shell nor a C library."""

    path: Path

    def command(self, place: str) -> tuple[str, ...]:
        """Return what executes it where it is mounted at ``place``; options and arguments follow.

        Its own loader starts it with its own libraries, whatever the image has.
        """
        program = (f"{place}/{_PROGRAM}", "-I", "-S")
        if not (self.path / _LOADER).exists():  # it is linked statically
            return program
        return (f"{place}/{_LOADER}", "--library-path", f"{place}/{_LIBRARIES}", *program)


def launcher_python(root: Path, *, interpreter: str = sys.executable) -> LauncherPython:
    """Return the copy of ``interpreter`` below ``root``, made at first need: about 30 MB.

    Idempotent, safe across processes; a copy is complete or not there. What an interpreter that is no longer used left is removed.
    Where ``root`` may only be read and has none, the copy is kept in a directory for temporary files, which is the user's own.

    Raises:   RunFailed: ``launcher_unavailable``: it cannot be copied.  DiskFull.  Denied: nothing can be written anywhere.
    """
    try:
        return _kept(root, interpreter)
    except Denied:
        place = _own_temporary()
        if place is None:
            raise
        return _kept(place, interpreter)


def _kept(root: Path, interpreter: str) -> LauncherPython:
    program = Path(interpreter).resolve()
    found = program.stat()
    identity = json.dumps([_SCHEME, _LISTING, str(program), found.st_size, found.st_mtime_ns, sys.version])
    place = root / Digest.of(identity.encode())[:16]
    if not (place / _PROGRAM).exists():
        with disk_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            _remove_unused(root)
            half = Path(tempfile.mkdtemp(dir=root, prefix=".half-"))
            try:
                half.chmod(0o755)  # a container's user may be anybody
                _copy(interpreter, program, half)
                half.rename(place)
            except OSError:
                if not (place / _PROGRAM).exists():  # else somebody was faster
                    raise
            finally:
                shutil.rmtree(half, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.utime(place)
    return LauncherPython(place)


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

    done = subprocess.run(
        [interpreter, "-I", "-S", "-c", _LISTING],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if done.returncode != 0:
        raise _unavailable(interpreter, (done.stderr.strip().splitlines() or [f"it ends with {done.returncode}"])[-1])
    modules, mapped, library, folder = json.loads(done.stdout)
    home = place / folder / Path(library).name
    (home / "lib-dynload").mkdir(parents=True)
    for name in sorted({*modules, str(Path(library, "os.py"))}):
        source = Path(name)
        inside = source.relative_to(library) if source.is_relative_to(library) else Path("lib-dynload", source.name)
        target = _copied(source, home / inside, interpreter)
        if target.suffix == ".py":
            py_compile.compile(
                str(target), dfile=target.name, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, doraise=True
            )
    loader = loader_of(_head(program))
    if loader:
        _copied(Path(loader).resolve(), place / _LOADER, interpreter, mode=0o755)
        for needed, path in _libraries(program, [Path(path) for path in mapped], interpreter).items():
            _copied(path, place / _LIBRARIES / needed, interpreter)
    _copied(program, place / _PROGRAM, interpreter, mode=0o755)  # last: it says that the copy is complete


def _libraries(program: Path, mapped: list[Path], interpreter: str) -> dict[str, Path]:
    """Return the libraries of a program that runs: the name by which each is asked for, and its file."""
    found: dict[str, Path] = {}
    for path in mapped:
        try:
            wanted = libraries_of(path.read_bytes()).needed
        except OSError:
            continue
        for name in wanted:
            places = (file.parent / name for file in mapped)
            real = next((place.resolve() for place in places if place.exists() and place.resolve() in mapped), None)
            if real is None:
                raise _unavailable(interpreter, f"its library {name} was not found")
            found[name] = real
    found.pop(program.name, None)
    return found


def _copied(source: Path, target: Path, interpreter: str, *, mode: int = 0o644) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        if not source.is_file():  # within an archive, or built in
            raise _unavailable(interpreter, f"{source} is no file") from error
        raise
    target.chmod(mode)
    return target


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def _remove_unused(root: Path) -> None:
    for path in root.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(path, ignore_errors=True)


def _unavailable(interpreter: str, why: str) -> RunFailed:
    return RunFailed(
        f"the Python that Wardian runs on, {interpreter}, cannot look after jobs in containers: {why}", code="launcher_unavailable",
        hint="install Wardian with an ordinary Python of this machine, or one of uv's",
    )  # fmt: skip
