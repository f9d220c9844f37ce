"""What an interpreter says of itself, without anything of its environment being run."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

# `-I -S`: no variable, no user site, no `.pth` file, no sitecustomize. `site` is only imported: it runs nothing then.
_PROBE = (
    "import json,os,platform,site,sys;"
    "print(json.dumps([platform.python_version(),platform.python_implementation(),os.fsencode(sys.prefix).hex(),"
    "[os.fsencode(p).hex() for p in site.getsitepackages()]]))"
)


@dataclass(frozen=True, slots=True)
class InterpreterFacts:
    """An interpreter's full version, its implementation, its prefix and the directories of its packages, in their order."""

    version: str
    implementation: str
    prefix: Path
    packages: tuple[Path, ...]


def ask_interpreter(python: Path, *, timeout_s: float = 60) -> InterpreterFacts | None:
    """Return what the interpreter at ``python`` says of itself; None: it does not run, or says something else."""
    try:
        done = subprocess.run([os.fspath(python), "-I", "-S", "-c", _PROBE], capture_output=True, check=False, timeout=timeout_s,
                              stdin=subprocess.DEVNULL, cwd="/")  # fmt: skip
        version, implementation, prefix, packages = json.loads(done.stdout)
        found = tuple(Path(os.fsdecode(bytes.fromhex(one))) for one in packages)
        return InterpreterFacts(str(version), str(implementation), Path(os.fsdecode(bytes.fromhex(prefix))), found)
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None
