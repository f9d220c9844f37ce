"""Starts a process that outlives this one, its terminal and ^C."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from wardian.errors import WardianError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# the shell starts the process, says its number and goes: so it is nobody's child here, and leaves no zombie
_STARTER = 'file=$1; shift; "$@" </dev/null >>"$file" 2>&1 & echo $!'


class NotStarted(WardianError):
    """A process could not be started."""

    code = "not_started"


def start_detached(command: Sequence[str], log: Path, environ: Mapping[str, str]) -> int:
    """Start ``command`` in a session of its own, in ``/``, and return its number; it may have ended by then.

    Args:     log: a file that gets both of its streams.  environ: its variables, all of them.
    Raises:   NotStarted.
    """
    try:
        started = subprocess.run(
            ["/bin/sh", "-c", _STARTER, "sh", str(log), *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd="/", env=dict(environ), start_new_session=True, check=True,
        )  # fmt: skip
        return int(started.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise NotStarted(f"`{command[0]}` could not be started: {error}") from error
