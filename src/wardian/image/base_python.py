"""The Python that a base image brings: found by the image's PATH, checked, and made to run here without the image."""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import BuildFailed
from wardian.events import Event
from wardian.image.assemble import DEFAULT_PATH
from wardian.image.base_programs import Program, look, needed_libraries
from wardian.image.base_tree import list_base, take_files
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.small_file import read_small
from wardian.tools.disk import FileLock, remove_tree, sync_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.events import Listener
    from wardian.image.base import Base
    from wardian.image.base_tree import BaseTree, Node
    from wardian.lock.lock import Lock

_SCHEME = 2  # of what is kept; another one is found out anew
MARK = "python.json"
_MOST_BYTES = 2 << 30
_TIMEOUT_S = 30.0
_LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip",
                       "__pycache__", "pydoc_data", "lib2to3"})  # fmt: skip
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_PROBE = "import json, os, sys; print(json.dumps([list(sys.version_info[:2]), sys.version, os.fsencode(os.__file__).hex()]))"


@dataclass(frozen=True, slots=True)
class BasePython:
    """The interpreter of a base image.

    Attributes:
        path: in the image, where its PATH has it.  real_path: with all links followed.
        version: ``3.11.2``; empty: it could not be told without running it.
        libc: ``glibc 2.36`` | ``musl`` | empty: unknown.
        sha256: of its program.
        command: starts it here; None: it does not run on this machine, ``why_not`` says why.
        is_occupied: something lies in the image already where an environment goes.
    """

    path: str
    real_path: str
    version: str
    libc: str
    sha256: Digest
    command: tuple[str, ...] | None
    why_not: str = ""
    is_occupied: bool = False


class BasePythons:
    """Interpreters of base images, taken out of them once: below ``place``, by the digest of the base's manifest.

    Safe between processes and against ``kill -9``. Layers are hostile until shown otherwise: only regular files are written,
    at paths of our own making, after everything was compared with its digest.

    Args:     machine: what runs here, in OCI's word; None: this machine.
    """

    def __init__(self, place: Path, *, machine: str | None = None):
        self._place = place
        self._machine = _MACHINES.get(os.uname().machine, os.uname().machine) if machine is None else machine

    def ensure(self, base: Base, minor: str, listener: Listener) -> BasePython:
        """Return the Python ``minor`` (``3.11``) of ``base``: the first on its PATH of that name, else ``python3``, else ``python``.

        The first time, every layer is read once, and those that hold Python again.

        Raises:   BuildFailed: code ``base_python_missing``; names what there is.
                  BadArchive: a layer is damaged or hostile.  DiskFull, Unavailable, Denied.
        """
        ready = self._place / f"{base.digest}-{minor}-{_SCHEME}"
        if (found := _read(ready, self._machine)) is not None:
            with contextlib.suppress(OSError):
                os.utime(ready / MARK)  # clean-ups go by when it was used last
            return found
        with FileLock(self._place / "locks" / ready.name):
            if (found := _read(ready, self._machine)) is not None:
                return found
            listener(Event("progress", f"reading {base.name}: where its Python is"))
            remove_tree(ready, self._place / "trash")
            self._make(base, minor, ready)
        found = _read(ready, self._machine)
        if found is None:
            raise BuildFailed(f"the Python of {base.name} could not be kept at {ready}", code="base_python_missing")
        return found

    def _make(self, base: Base, minor: str, ready: Path) -> None:
        tree = list_base(base, look)
        path, real_path, node = _find(tree, base, minor)
        program = node.noted
        libraries, lacking = needed_libraries(tree, real_path, node)
        version = next(
            (v for one in [program, *(n.noted for n in libraries.values())] for v in one.versions if _minor(v) == minor), ""
        )
        glibc = next((n.noted.glibc for n in libraries.values() if n.noted.glibc), "")
        libc = f"glibc {glibc}" if glibc else "musl" if "musl" in program.loader else ""
        why_not = f"{lacking[0]} is not in the image" if lacking else ""
        if program.machine != base.config.platform.split("/")[1]:
            why_not = f"it is a program for {program.machine or 'an unknown machine'}"
        kept = {"path": path, "real_path": real_path, "version": version, "libc": libc, "sha256": program.sha256, "why_not": why_not,
                "is_occupied": tree.resolve(ENVIRONMENT_PATH) is not None, "machine": program.machine, "loader": posixpath.basename(program.loader)}  # fmt: skip
        temporary = ready.with_name(f".{ready.name}.{os.getpid()}")
        remove_tree(temporary, self._place / "trash")
        try:
            if not why_not and program.machine == self._machine:
                wanted = {temporary / "lib" / name: node for name, node in libraries.items()}
                wanted[temporary / "root" / real_path.lstrip("/")] = node
                for place, there in _standard_library(tree, real_path, minor).items():
                    wanted[temporary / "root" / place.lstrip("/")] = there
                take_files(base, wanted, most_bytes=_MOST_BYTES)
            temporary.mkdir(parents=True, exist_ok=True)
            # what was taken is tried where it is; that it is elsewhere afterwards makes no difference to it
            kept |= _try(temporary, kept, minor) if not why_not and program.machine == self._machine else {}
            write_atomically(temporary / MARK, json.dumps(kept).encode())
            temporary.rename(ready)
            sync_directory(self._place)
        finally:
            remove_tree(temporary, self._place / "trash")


def check_base_python(python: BasePython, lock: Lock, base: Base, *, requires: str = "") -> None:
    """Check that the interpreter of ``base`` can be the one of ``lock``: same minor, wanted by all, a C library new enough for all.

    Args:     requires: what the definition itself asks for, such as ``>=3.11``.
    Raises:   BuildFailed: codes ``base_python_differs``, ``base_libc_too_old``.
    """
    from packaging.specifiers import SpecifierSet

    if lock.python is None:
        return
    if python.version and _minor(python.version) != _minor(lock.python.version):
        raise BuildFailed(f"{base.name} has Python {python.version}, the lock is for {lock.python.version}", code="base_python_differs",
                          hint=f"name a base image with Python {_minor(lock.python.version)}, or set `source: managed`")  # fmt: skip
    wants = [("the definition", requires), *((f"{a.name} {a.version}", a.requires_python) for a in lock.artifacts)]
    for who, specifier in wants:
        if python.version and specifier and not SpecifierSet(specifier).contains(python.version, prereleases=True):
            raise BuildFailed(f"{base.name} has Python {python.version}, and {who} needs {specifier}", code="base_python_differs",
                              hint="name a base image with a Python that fits, or set `source: managed`")  # fmt: skip
    for artifact in lock.of_kind("wheel", "sdist"):
        needs = libc_needed(artifact.installed_file)
        if needs and python.libc and not _suffices(python.libc, needs):
            raise BuildFailed(
                f"{artifact.name} {artifact.version} needs {' or '.join(needs)}, and {base.name} has {python.libc}",
                code="base_libc_too_old", hint="name a base image of a newer system, or lock for an older one",
            )  # fmt: skip


def libc_needed(wheel: str) -> tuple[str, ...]:
    """Return the C libraries that a wheel can do with, by its file name, such as ``glibc 2.28``; none: it says nothing.

    Source:   PEP 600, PEP 656; PEP 513, 571 and 599 for the old names
    """
    tags = wheel.removesuffix(".whl").rpartition("-")[2].split(".")
    old = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}
    found = []
    for tag in tags:
        if match := re.match(r"manylinux_(\d+)_(\d+)_", tag):
            found.append(f"glibc {match[1]}.{match[2]}")
        elif (name := tag.partition("_")[0]) in old:
            found.append(f"glibc {old[name]}")
        elif tag.startswith("musllinux_"):
            found.append("musl")
    return tuple(dict.fromkeys(found))


def _suffices(libc: str, needs: Sequence[str]) -> bool:
    kind, _, version = libc.partition(" ")
    offered = tuple(map(int, version.split("."))) if version else ()
    for need in needs:
        wanted, _, least = need.partition(" ")
        if wanted == kind and (not least or tuple(map(int, least.split("."))) <= offered):
            return True
    return False


def _find(tree: BaseTree, base: Base, minor: str) -> tuple[str, str, Node]:
    """Return where PATH has the interpreter, its path without links, and its file."""
    places = (dict(base.config.variables).get("PATH") or DEFAULT_PATH).split(":")
    there: dict[str, str] = {}
    for name in (f"python{minor}", "python3", "python"):
        for place in places:
            path = posixpath.join("/", place, name)
            found = tree.resolve(path)
            if found is None or found[1].kind != "file" or not found[1].executable:
                continue
            real, node = found
            if any(one.startswith(f"{ENVIRONMENT_PATH}/") for one in (path, real)):
                there[path] = "in the place of the environment, which goes there"
                continue
            if not isinstance(node.noted, Program):
                there[path] = "a script or an unknown program"
                continue
            versions = {_minor(version) for one in _programs(tree, real, node) for version in one.versions}
            named = re.search(r"python(3\.\d+)", posixpath.basename(real))
            if minor in versions or (named is not None and named[1] == minor):
                return path, real, node
            there[path] = "Python " + (
                named[1] if named is not None else ", ".join(sorted(versions)) or "of an unknown version"
            )
    has = "; ".join(f"{path} is {what}" for path, what in there.items()) or f"none on its PATH, {':'.join(places)}"
    raise BuildFailed(f"{base.name} has no Python {minor}: {has}", code="base_python_missing",
                      hint=f"name a base image with Python {minor}, or set `source: managed`: then the environment brings its own")  # fmt: skip


def _programs(tree: BaseTree, real_path: str, node: Node) -> list[Program]:
    return [node.noted, *(found.noted for found in needed_libraries(tree, real_path, node)[0].values())]


def _standard_library(tree: BaseTree, real_path: str, minor: str) -> dict[str, Node]:
    """Return the files that the interpreter looks for from its own place on, by path in the image."""
    prefix = posixpath.dirname(posixpath.dirname(real_path))
    found: dict[str, Node] = {}
    seen: set[str] = set()
    for library in ("lib", "lib64"):
        for version in (minor, f"{minor}t"):
            place = posixpath.join(prefix, library, f"python{version}")
            real = tree.resolve(place)
            if real is None or real[0] in seen:
                continue
            seen.add(real[0])
            for inside, node in tree.files_below(place, lambda name: name in _LEFT_OUT or name.startswith("config-")):
                found[f"{place}/{inside}"] = node
    return found


def _command(directory: Path, kept: dict[str, Any]) -> tuple[str, ...]:
    program = str(directory / "root" / kept["real_path"].lstrip("/"))
    start = (str(directory / "lib" / kept["loader"]), "--library-path", str(directory / "lib")) if kept["loader"] else ()
    home = ("/usr/bin/env", f"PYTHONHOME={directory}/root{kept['home']}") if kept.get("home") else ()
    return (*home, *start, program)


def _try(directory: Path, kept: dict[str, Any], minor: str) -> dict[str, str]:
    """Return what running the interpreter shows: its version, or why it does not run. It must find its own library, not ours."""
    home = posixpath.dirname(posixpath.dirname(kept["real_path"]))
    said = ""
    for changes in ({}, {"home": home}):
        command = _command(directory, {**kept, **changes})
        try:
            done = subprocess.run([*command, "-s", "-S", "-B", "-c", _PROBE], capture_output=True, text=True, check=True, env={}, cwd="/",
                                  timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL)  # fmt: skip
            found, version, place = json.loads(done.stdout)
            library = os.fsdecode(bytes.fromhex(place))  # it may have another locale than this process
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
            said = f"it does not run here: {lines[-1][:300] if lines else error}"
            continue
        if ".".join(map(str, found)) != minor:
            return {"why_not": f"it is Python {version.split()[0]}"}
        if Path(library).is_relative_to(directory / "root"):
            return {"version": version.split()[0], **changes}
        said = f"it does not find its library, but takes {library}"
    return {"why_not": said}


def _read(ready: Path, machine: str) -> BasePython | None:
    try:
        kept = json.loads(read_small(ready / MARK))
        python = BasePython(
            kept["path"],
            kept["real_path"],
            kept["version"],
            kept["libc"],
            Digest(kept["sha256"]),
            None,
            kept["why_not"],
            bool(kept["is_occupied"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if python.why_not:
        return python
    if kept["machine"] != machine:
        return replace(python, why_not=f"it is a program for {kept['machine']}, this machine is {machine}")
    if not (ready / "root").is_dir():
        return None
    return replace(python, command=_command(ready, kept))


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
