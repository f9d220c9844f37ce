"""Other projects' programs, each in a virtual environment of its own, made once below ``.cache/peers``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def peer_python(name: str, *requirements: str, python: str | Path = sys.executable) -> Path:
    """Return the interpreter of the environment ``name``, which has ``requirements`` from the package index."""
    venv = ROOT / ".cache" / "peers" / name
    interpreter, mark = venv / "bin/python", venv / "requirements"
    wanted = "\n".join((str(python), *requirements))
    if not mark.is_file() or mark.read_text() != wanted:
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", str(python), str(venv)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(interpreter), *requirements], check=True)
        mark.write_text(wanted)
    return interpreter
