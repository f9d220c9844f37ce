"""What a user-managed interpreter turns out to have: observed, not promised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

_TIMEOUT_S = 60
# a program for any Python from 3.4 on: it prints what it runs in
PROBE = r"""
import json, platform, sys
try:
    from importlib.metadata import distributions
except ImportError:
    distributions = lambda: ()
found = sorted({(d.metadata["Name"] or "", d.version or "") for d in distributions()})
print(json.dumps({"python": platform.python_version(), "executable": sys.executable, "implementation": sys.implementation.name,
                  "distributions": [{"name": n, "version": v} for n, v in found if n]}))
"""


def observe_interpreter(interpreter: str, path: str = os.defpath) -> dict[str, Any] | None:
    """Return interpreter, version and distributions of a user's Python; None if it does not run.

    Args:     interpreter: a path, or a name on ``path``.
    """
    program = shutil.which(interpreter, path=path) if "/" not in interpreter else interpreter
    if program is None:
        return None
    try:
        done = subprocess.run([program, "-c", PROBE], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
                              env={"PATH": path, "LANG": "C.UTF-8"}, cwd="/")  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return observed(done.stdout) if done.returncode == 0 else None


def observed(answer: str) -> dict[str, Any] | None:
    """Return what PROBE printed, for a record; None: it is no answer."""
    try:
        document = json.loads(answer)
    except ValueError:
        return None
    return {"observed": True, **document} if isinstance(document, dict) else None
