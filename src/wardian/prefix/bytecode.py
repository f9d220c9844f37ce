"""Compiles the modules of a prefix after it is ready: the first run does not wait for it, the next ones start faster (ADR 0011)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.prefix.cache import BYTE_CODE, MARK, PrefixCache, Ready
from wardian.small_file import read_small
from wardian.tools.disk import FileLock, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Runs under the prefix's own interpreter. Unchecked-hash files: valid whatever the times of their sources; each is
# written beside its place and renamed, so a reader never sees half of one.
_COMPILE = r"""
import hashlib, json, os, stat, sys
import importlib.util, importlib._bootstrap_external as external
root = sys.argv[1]
done = {}
for directory, names, files in os.walk(root):
    names[:] = [n for n in names if n != "__pycache__"]
    sources = [f for f in files if f.endswith(".py")]
    if not sources or "site-packages" not in directory:
        continue
    cache = os.path.join(directory, "__pycache__")
    mode = stat.S_IMODE(os.stat(directory).st_mode)
    try:
        os.chmod(directory, mode | stat.S_IWUSR)
        os.makedirs(cache, exist_ok=True)
        os.chmod(cache, 0o755)
        for name in sources:
            path = os.path.join(directory, name)
            target = importlib.util.cache_from_source(path, optimization="")
            if os.path.exists(target):
                continue
            try:
                with open(path, "rb") as stream:
                    source = stream.read()
                code = compile(source, path, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError):
                continue
            data = bytes(external._code_to_hash_pyc(code, importlib.util.source_hash(source), False))
            temporary = target + ".tmp"
            with open(temporary, "wb") as stream:
                stream.write(data)
            os.chmod(temporary, 0o444)
            os.replace(temporary, target)
            done[os.path.relpath(target, root)] = hashlib.sha256(data).hexdigest()
    except OSError:
        pass
    finally:
        if os.path.isdir(cache):
            os.chmod(cache, 0o555)
        os.chmod(directory, mode & ~0o222)  # a killed compiler before this one may have left it open
print(json.dumps(done))
"""


# it goes with whoever started it; and where memory runs short, it goes first, and not the job beside it
_GENTLY = r"""
import os
os.nice(19)
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
except (ImportError, OSError, AttributeError):
    pass
try:
    with open("/proc/self/oom_score_adj", "w") as stream:
        stream.write("1000")
except OSError:
    pass
"""


def _unheard(_process: subprocess.Popen[str]) -> None:
    """Take no notice."""


def compile_prefix(
    cache: PrefixCache, name: str, *, on_started: Callable[[subprocess.Popen[str]], object] = _unheard, gently: bool = False
) -> int:
    """Compile the modules of the prefix directory ``name``; return how many files were written.

    Idempotent; one process at a time per prefix, others return 0 at once. A killed compiler leaves files that are
    whole; the next call finds and lists them.

    Args:     on_started: gets the process that compiles, which may be killed.  gently: at the lowest priority.
    """
    prefix = cache.root / name
    lock = FileLock(cache.root / "locks" / f"{name}.bytecode")
    if not lock.try_acquire():
        return 0
    with lock:
        use = cache.use_lock(name)
        use.acquire(shared=True)
        with use:
            try:
                ready = Ready.from_json(read_small(prefix / MARK))
            except OSError:
                return 0
            if ready is None or not ready.python or (prefix / BYTE_CODE).exists():
                return 0
            script = (_GENTLY if gently else "") + _COMPILE
            with subprocess.Popen([ready.python, "-I", "-S", "-B", "-c", script, str(prefix)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True, env={"PATH": os.defpath}) as process:  # fmt: skip
                on_started(process)
                out, _ = process.communicate()
            if process.returncode != 0:
                return 0
            files = {**_known(prefix), **json.loads(out)}
            (prefix / ".wardian").chmod(0o755)
            write_atomically(prefix / BYTE_CODE, json.dumps(files, sort_keys=True).encode(), 0o444)
            (prefix / ".wardian").chmod(0o555)
            return len(files)


def _known(prefix: Path) -> dict[str, str]:
    """Return the whole files that an earlier, killed call left, with their digests."""
    from wardian.digest import Digest
    from wardian.prefix.seal import MANIFEST

    listed = json.loads(read_small(prefix / MANIFEST))["files"]
    found = {}
    for path in prefix.rglob("__pycache__/*.pyc"):
        name = str(path.relative_to(prefix))
        if name not in listed and "site-packages" in name:
            found[name] = str(Digest.of_file(path))
    return found


def compile_in_background(cache: PrefixCache, name: str) -> None:
    """Start ``compile_prefix`` in a process of its own, at the lowest priority, that outlives this one."""
    if (cache.root / name / BYTE_CODE).exists():
        return
    subprocess.Popen(
        [sys.executable, "-m", "wardian.prefix.bytecode", str(cache.root), name],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
    )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """``python -m wardian.prefix.bytecode ROOT NAME``: what ``compile_in_background`` starts."""
    os.nice(19)
    compile_prefix(PrefixCache(Path(arguments[0])), arguments[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
