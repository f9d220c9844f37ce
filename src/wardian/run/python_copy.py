"""Copies of Wardian's own Python that need nothing of where they are put: neither a shell, nor a C library, nor a loader."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.image.elf import HEAD_BYTES, libraries_of, loader_of
from wardian.tools.disk import disk_errors
from wardian.tools.own_python import LIBRARIES, LOADER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM = "bin/python"
_UNUSED_S = 30 * 86_400.0  # since it was last taken: what an earlier Python left goes

# put behind the imports that a copy is to be good for
_TELL = """
import json, os, sys
modules = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
with open("/proc/self/maps") as stream:
    mapped = {line.split(None, 5)[5].rstrip("\\n") for line in stream if len(line.split(None, 5)) == 6}
print(json.dumps([modules, sorted(path for path in mapped if path.startswith("/")), os.path.dirname(os.__file__), sys.platlibdir]))
"""


class NotCopied(Exception):
    """An interpreter cannot be copied; the message says why."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What an interpreter has in use after some imports.

    Attributes:
        modules: the files of its modules.  mapped: files in its memory, itself and all libraries.
        library: the directory of its standard library.  folder: where that lies in a copy.
    """

    modules: tuple[str, ...]
    mapped: tuple[Path, ...]
    library: Path
    folder: str


def look(interpreter: str, imports: str, arguments: Sequence[str] = ()) -> Looked:
    """Return what ``interpreter`` has in use after the program ``imports``.

    Raises:   NotCopied: it fails.
    """
    done = subprocess.run([interpreter, "-I", "-S", "-c", imports + _TELL, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, cwd="/")  # fmt: skip
    if done.returncode != 0:
        raise NotCopied((done.stderr.strip().splitlines() or [f"it ends with {done.returncode}"])[-1])
    modules, mapped, library, folder = json.loads(done.stdout.splitlines()[-1])
    return Looked(tuple(modules), tuple(map(Path, mapped)), Path(library), f"{folder}/{Path(library).name}")


def copy_program(program: Path, looked: Looked, place: Path, *, others: Sequence[Path] = ()) -> None:
    """Copy the interpreter ``program`` to ``place/bin/python``, last, with its loader and all libraries that were looked at.

    Args:     others: programs or libraries whose libraries are copied too.
    Raises:   NotCopied: one of its libraries was not found.
    """
    loader = loader_of(_head(program))
    if loader:
        copied(Path(loader).resolve(), place / LOADER, mode=0o755)
        for needed, path in _libraries(program, [*looked.mapped, *others]).items():
            copied(path, place / LIBRARIES / needed)
    copied(program, place / PROGRAM, mode=0o755)


def copied(source: Path, target: Path, *, mode: int = 0o644) -> Path:
    """Copy a file and return ``target``.

    Raises:   NotCopied: it is no file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        if not source.is_file():  # within an archive, or built in
            raise NotCopied(f"{source} is no file") from error
        raise
    target.chmod(mode)
    return target


HALF = ".half-"  # what is being made


def ensure_copy(root: Path, name: str, complete: str, make: Callable[[Path], None]) -> Path:
    """Return the directory ``name`` below ``root``, which ``make`` fills if it is not there. It is complete or not there.

    Safe across processes. What was not asked for for a month goes when another one is made.

    Args:     complete: a file that a complete one has.
    """
    place = root / name
    if not (place / complete).exists():
        with disk_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            _remove_unused(root)
            half = Path(tempfile.mkdtemp(dir=root, prefix=HALF))
            try:
                half.chmod(0o755)  # whoever runs it may be anybody
                make(half)
                half.rename(place)
            except OSError:
                if not (place / complete).exists():  # else somebody was faster
                    raise
            finally:
                shutil.rmtree(half, ignore_errors=True)
    with contextlib.suppress(OSError):
        place.touch()
    return place


def _libraries(program: Path, mapped: list[Path]) -> dict[str, Path]:
    """Return the libraries of a program that runs: the name by which each is asked for, and its file."""
    found: dict[str, Path] = {}
    directories = dict.fromkeys(file.parent for file in mapped)
    real_files = {file.resolve() for file in mapped}
    for path in mapped:
        try:
            wanted = libraries_of(path.read_bytes()).needed
        except OSError:
            continue
        for name in wanted:
            if name in found:
                continue
            places = (directory / name for directory in directories)
            real = next((place.resolve() for place in places if place.exists() and place.resolve() in real_files), None)
            if real is None:
                raise NotCopied(f"its library {name} was not found")
            found[name] = real
    found.pop(program.name, None)
    return found


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def _remove_unused(root: Path) -> None:
    for path in root.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(path, ignore_errors=True)
