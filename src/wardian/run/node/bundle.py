"""The node's agent as a directory that runs anywhere: this Wardian, its own Python, the libraries and programs that installing needs.

A node needs neither Python nor conda nor a C library for it; what an environment itself needs of a node is another matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from wardian import errors
from wardian.definition.platform import this_platform
from wardian.digest import Digest
from wardian.errors import RunFailed, WardianError
from wardian.run.node.sheet import AGENTS
from wardian.run.python_copy import PROGRAM, NotCopied, copied, copy_program, ensure_copy, look
from wardian.small_file import read_small
from wardian.tools.disk import write_atomically
from wardian.tools.own_python import LIBRARIES, LOADER, MARK, PROGRAMS
from wardian.tools.uv import uv_program

_SCHEME = "node-agent-1"
_MEMORY = ".identity"  # beside the agents
_SITE, _MAIN, _START = "site", "main.py", f"{PROGRAMS}/wardian-node"
# what Wardian imports to install a lock, and to speak to a registry
DISTRIBUTIONS = ("certifi", "charset-normalizer", "idna", "packaging", "py-rattler", "requests", "urllib3", "zstandard")
# of the standard library, what no installation imports, and of packages, what no program does
_LEFT_OUT = frozenset({"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "site-packages", "dist-packages",
                       "__pycache__", "curses", "unittest", "xmlrpc", "venv", "wsgiref", "sqlite3", "dbm",
                       "distutils", "entries"})  # fmt: skip
_NO_CODE = (".pyi", ".pyx", ".pxd", ".c", ".h", ".a", ".o", ".typed", ".exe")
_NOT_IMPORTED = ("_cffi",)  # zstandard's second backend
# extension modules that would bring half a desktop's libraries along
_NO_EXTENSION = re.compile(
    r"(_tkinter|_curses|_curses_panel|readline|nis|_crypt|_dbm|_gdbm|_sqlite3|ossaudiodev|spwd|_?xx|_test|_ctypes_test).*"
)
_IMPORTS = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import rattler, zstandard
place = os.path.join(os.path.dirname(os.__file__), "lib-dynload")
left_out = json.loads(sys.argv[2])
for file in os.listdir(place) if os.path.isdir(place) else ():
    if file.endswith(".so") and file not in left_out:
        __import__(file.partition(".")[0])
"""
_MAIN_TEXT = """import sys

sys.dont_write_bytecode = True
sys.path.insert(0, __file__.rpartition("/")[0] + "/site")
from wardian.sdk.node import main

sys.exit(main())
"""
_START_TEXT = """#!/bin/sh
# for people; engines are told the whole command
place=${0%/*}/..
if [ -e "$place/libraries/loader" ]; then
    exec "$place/libraries/loader" --library-path "$place/libraries" "$place/bin/python" -I -S "$place/main.py" "$@"
fi
exec "$place/bin/python" -I -S "$place/main.py" "$@"
"""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that lies at ``path`` on this machine, for nodes of ``platform``; ``digest`` names it.

    A copy of it is made at ``agents/<digest>`` of a node directory.
    """

    path: Path
    digest: Digest
    platform: str

    @property
    def place(self) -> str:
        """Where it lies below the root of a node directory."""
        return f"{AGENTS}/{self.digest}"

    def command(self, root: str) -> tuple[str, ...]:
        """Return what starts it on a node whose directory is ``root``; ``exec --sheet FILE`` follows. No shell is needed."""
        place = f"{root}/{self.place}"
        program = (f"{place}/{PROGRAM}", "-I", "-S", f"{place}/{_MAIN}")
        if not (self.path / LOADER).exists():
            return program
        return (f"{place}/{LOADER}", "--library-path", f"{place}/{LIBRARIES}", *program)


def node_agent(root: Path, *, interpreter: str = sys.executable) -> Agent:
    """Return the agent of this Wardian below ``root``, made at first need: some 200 MB, within seconds.

    Idempotent, safe across processes; it is complete or not there. Those that were not asked for for a month are removed.

    Raises:   RunFailed: ``agent_unavailable``: it cannot be made of what is installed here.  DiskFull.  Denied.
    """
    try:
        program = Path(interpreter).resolve()
        digest = _known_identity(root, program)
        place = ensure_copy(root, digest, MARK, lambda half: _make(half, interpreter, program, digest))
        return Agent(place, digest, this_platform().name)
    except NotCopied as error:
        raise RunFailed(
            f"this Wardian cannot be sent to nodes: {error}", code="agent_unavailable",
            hint="install it on Linux, with pip or uv, on an ordinary Python or one of uv's",
        ) from error  # fmt: skip


def _known_identity(root: Path, program: Path) -> Digest:
    """Return what ``_identity`` does; from memory while no file has another size or time, and nothing was installed or removed."""
    found = program.stat()
    signs: list[object] = [_SCHEME, sys.version, str(program), found.st_size, found.st_mtime_ns]
    signs += [(place, os.stat(place).st_mtime_ns) for place in sys.path if place.endswith("-packages") and os.path.isdir(place)]  # noqa: PTH112, PTH116
    for directory, _, files in os.walk(_own_package()):
        for name in files:
            if name.endswith(".py"):
                status = os.stat(f"{directory}/{name}")  # noqa: PTH116 - hundreds
                signs.append((f"{directory}/{name}", status.st_size, status.st_mtime_ns))
    signature, memory = Digest.of(repr(signs).encode()), root / _MEMORY
    with contextlib.suppress(OSError, ValueError):
        before, known = read_small(memory).decode().split()
        if before == signature and (root / known / MARK).exists():
            return Digest(known)
    digest = _identity(program)
    with contextlib.suppress(OSError, WardianError):  # else the next one looks again
        write_atomically(memory, f"{signature} {digest}".encode())
    return digest


def _identity(program: Path) -> Digest:
    """Return the digest of all that goes into the agent: by content where it is ours, by the installers' word where it is not."""
    if not sys.platform.startswith("linux"):
        raise NotCopied("it runs on Linux alone")
    hasher = hashlib.sha256(
        json.dumps([_SCHEME, _IMPORTS, _MAIN_TEXT, _START_TEXT, DISTRIBUTIONS, sys.version, str(program)]).encode()
    )
    for path in (program, Path(uv_program())):
        found = path.stat()
        hasher.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    for name in DISTRIBUTIONS:
        hasher.update((_distribution(name).read_text("RECORD") or "").encode())
    ours = _own_package()
    for path in _own_files():
        hasher.update(f"{path.relative_to(ours)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return Digest(hasher.hexdigest())


def _make(place: Path, interpreter: str, program: Path, digest: Digest) -> None:
    site = place / _SITE
    for name in DISTRIBUTIONS:
        distribution = _distribution(name)
        for file in distribution.files or ():
            if ".." not in file.parts and not file.is_absolute() and _is_wanted(Path(file)):
                copied(Path(str(distribution.locate_file(file))), site / file)
    ours = _own_package()
    for path in _own_files():
        copied(path, site / "wardian" / path.relative_to(ours))
    uv = Path(uv_program())
    copied(uv, place / PROGRAMS / "uv", mode=0o755)
    library = Path(os.__file__).parent
    left_out = [path.name for path in (library / "lib-dynload").glob("*.so") if _NO_EXTENSION.fullmatch(path.name)]
    looked = look(interpreter, _IMPORTS, [str(site), json.dumps(left_out)])
    home = place / looked.folder
    for path in sorted(looked.library.rglob("*")):
        inside = path.relative_to(looked.library)
        if (
            path.is_file()
            and _is_wanted(inside)
            and path.suffix in (".py", ".so")
            and not inside.parts[0].startswith("config-")
        ):
            copied(path, home / inside)
    for name in looked.modules:  # where extension modules lie elsewhere
        if not Path(name).is_relative_to(looked.library) and not Path(name).is_relative_to(site):
            copied(Path(name), home / "lib-dynload" / Path(name).name)
    (home / "lib-dynload").mkdir(exist_ok=True)
    (place / _MAIN).write_text(_MAIN_TEXT)
    (place / _START).write_text(_START_TEXT)
    (place / _START).chmod(0o755)
    copy_program(program, looked, place, others=[uv])
    _compile(interpreter, place)
    (place / MARK).write_text(
        json.dumps({"schema": 1, "digest": digest, "wardian": metadata.version("wardian"), "platform": this_platform().name})
    )


def _compile(interpreter: str, place: Path) -> None:
    """Compile all modules, so that they are valid wherever and whenever the agent is unpacked."""
    done = subprocess.run(
        [interpreter, "-I", "-S", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", str(place), str(place)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    if done.returncode != 0:
        raise NotCopied(f"its modules cannot be compiled: {(done.stdout + done.stderr).strip()[-300:]}")


def _distribution(name: str) -> metadata.Distribution:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise NotCopied(f"{name} is not installed") from None
    if not found.files:
        raise NotCopied(f"{name} was not installed by pip or uv: it has no list of its files")
    return found


def _own_package() -> Path:
    return Path(errors.__file__).parent


def _own_files() -> list[Path]:
    ours = _own_package()
    return sorted(path for path in ours.rglob("*.py") if _is_wanted(path.relative_to(ours)))


def _is_wanted(inside: Path) -> bool:
    return not _LEFT_OUT & set(inside.parts) and inside.suffix not in _NO_CODE and not inside.name.startswith(_NOT_IMPORTED)
