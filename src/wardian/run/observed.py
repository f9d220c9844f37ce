"""What a user-managed environment turns out to have, Python and R: observed, not promised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 60
RSCRIPT = "Rscript"
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
# a program for any R: its version, then the packages that it finds, the first library's first, in lines
R_PROBE = (
    'cat("R", paste(R.version$major, R.version$minor, sep = "."), sep = "\\t"); '
    'found <- installed.packages(noCache = TRUE)[, c("Package", "Version"), drop = FALSE]; '
    'cat(sprintf("\\n%s\\t%s", found[, 1], found[, 2]), "\\n", sep = "")'
)


def observe(interpreter: str, path: str = os.defpath) -> dict[str, Any]:
    """Return what this machine has, for a record: a user's Python with its distributions, R with its packages.

    ``python`` and ``r`` are None where there is none, or it does not run. Both are asked at the same time.

    Args:     interpreter: a path, or a name on ``path``, where ``Rscript`` is looked for too.
    """
    asked_python = _asked((interpreter, "-c", PROBE), path)
    asked_r = _asked((RSCRIPT, "--vanilla", "-e", R_PROBE), path)
    python = observed(_answer(asked_python))
    r = observed_r(_answer(asked_r), shutil.which(RSCRIPT, path=path) or RSCRIPT)
    return {**(python or {"observed": True, "python": None}), "r": r}


def observed(answer: str) -> dict[str, Any] | None:
    """Return what PROBE printed, for a record; None: it is no answer."""
    try:
        document = json.loads(answer)
    except ValueError:
        return None
    return {"observed": True, **document} if isinstance(document, dict) else None


def observed_r(answer: str, executable: str) -> dict[str, Any] | None:
    """Return what R_PROBE printed, for a record; None: it is no answer. A package counts where R finds it first."""
    rows = [line.strip().split("\t") for line in answer.splitlines()]
    version = next((row[1] for row in rows if len(row) == 2 and row[0] == "R"), None)  # noqa: PLR2004
    if version is None:
        return None
    packages: dict[str, str] = {}
    for row in rows:
        if len(row) == 2 and row[0] != "R":  # noqa: PLR2004
            packages.setdefault(*row)
    return {
        "version": version,
        "executable": executable,
        "packages": [{"name": n, "version": v} for n, v in sorted(packages.items())],
    }


def in_words(found: Mapping[str, Any]) -> str:
    """Return what was observed, in a few words."""
    parts = []
    if found.get("python"):
        parts.append(f"Python {found['python']}, {_count(found['distributions'], 'distribution')}")
    if found.get("r"):
        parts.append(f"R {found['r']['version']}, {_count(found['r']['packages'], 'package')}")
    return f"{' and '.join(parts) or 'no Python and no R'} observed"


def _count(things: list[Any], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _asked(argv: tuple[str, ...], path: str) -> subprocess.Popen[str] | None:
    program = shutil.which(argv[0], path=path) if "/" not in argv[0] else argv[0]
    if program is None:
        return None
    try:
        return subprocess.Popen([program, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                errors="replace", env={"PATH": path, "LANG": "C.UTF-8"}, cwd="/")  # fmt: skip
    except OSError:
        return None


def _answer(asked: subprocess.Popen[str] | None) -> str:
    """Return what a program says; nothing: it is not there, fails, or does not answer in time."""
    if asked is None:
        return ""
    with asked:
        try:
            answer, _ = asked.communicate(timeout=_TIMEOUT_S)
        except BaseException as error:
            asked.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                return ""
            raise
        return answer if asked.returncode == 0 else ""
