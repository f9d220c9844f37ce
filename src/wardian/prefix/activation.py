"""What activating a conda prefix sets, computed once: a run of it then needs no shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import InstallFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL_OWN = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "CONDA_SHLVL"})


@dataclass(frozen=True, slots=True)
class Activation:
    """What activating a prefix does to a process: ``variables``, and ``path_entries`` before the system's PATH."""

    variables: Mapping[str, str]
    path_entries: tuple[str, ...]


def activation(prefix: Path, *, timeout_s: float = 60.0) -> Activation:
    """Return what activating ``prefix`` sets: PATH, CONDA_PREFIX, and what its activate.d scripts export.

    The scripts run once, here, in an otherwise empty environment. To be kept with the prefix, so that a run needs no shell.

    Raises:   InstallFailed: a script fails or hangs; code ``activation_failed``.
    """
    places = ("etc/conda/activate.d", "etc/conda/env_vars.d", "conda-meta/state")
    if not any((prefix / place).exists() for place in places):
        return Activation({"CONDA_PREFIX": str(prefix)}, (f"{prefix}/bin",))
    from wardian.tools.rattler import activation_script

    script = activation_script(prefix, _SYSTEM_PATH.split(":"))
    code, out, said = _bash(f"exec 3>&1 >/dev/null\n{script}\nexec /usr/bin/env -0 >&3", prefix, timeout_s)
    if code != 0:
        names = ", ".join(sorted(path.name for path in (prefix / places[0]).glob("*.sh")))
        last = [f"exit code {code}", *said.strip().splitlines()][-1]
        reason = f"it did not end within {timeout_s:g} s" if code is None else last
        raise InstallFailed(
            f"an activation script failed ({names}): {reason}",
            hint="the package that brought it is broken here; leave it out or take another version", code="activation_failed",
        )  # fmt: skip
    pairs = (line.partition("=") for line in os.fsdecode(out).split("\0") if line)
    variables = {name: value for name, _, value in pairs if name not in _SHELL_OWN}
    system = _SYSTEM_PATH.split(":")
    entries = [entry for entry in variables.pop("PATH").split(":") if entry not in system]
    return Activation(variables, tuple(dict.fromkeys(entries)))


def _bash(script: str, place: Path, timeout_s: float) -> tuple[int | None, bytes, str]:
    """Run ``script``; return its exit code (None: it took too long), its output, and what it said on stderr.

    Whatever it leaves running in the background is ended.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        try:
            bash = subprocess.Popen(
                ["bash", "--noprofile", "--norc", "-e", "-c", script], env={"PATH": _SYSTEM_PATH}, cwd=place,
                stdin=subprocess.DEVNULL, stdout=out, stderr=said, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            raise InstallFailed("activation scripts need bash, and there is none", code="activation_failed") from None
        code = None
        try:
            code = bash.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)
            bash.wait()
        out.seek(0)
        said.seek(0)
        return code, out.read(), said.read().decode(errors="replace")
