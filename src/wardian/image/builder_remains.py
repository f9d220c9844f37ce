"""What builds of buildah and podman leave in the user's storage when they are ended: working containers, mounted. It is removed here.

Both clean up after a step that fails. podman does not when it is asked to end, and neither does when it is killed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

_TIMEOUT_S = 60.0


def remove_working_containers(program: str, mark: str) -> None:
    """Remove the working containers of one build that has ended, and of no other one. What cannot be removed stays.

    Args:     program: buildah or podman, which finds its storage through this process's variables.
              mark: a text that nothing but this build's options hold, the id of a secret for instance: a container keeps them.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, subprocess.SubprocessError):
        done = subprocess.run([program, "info", *(["--format", "json"] if _is_podman(program) else [])], capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=True)  # fmt: skip
        store = {key.lower(): value for key, value in json.loads(done.stdout)["store"].items()}
        containers = Path(store["graphroot"], f"{store['graphdrivername']}-containers")
        for options in containers.glob("*/userdata/buildah.json"):
            if mark.encode() in options.read_bytes():
                subprocess.run([program, "rm", *(["--force"] if _is_podman(program) else []), options.parent.parent.name],
                               capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=False)  # fmt: skip


def _is_podman(program: str) -> bool:
    return Path(program).name == "podman"
