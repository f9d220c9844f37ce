"""Registers models again and again, and is killed at each of its system calls in turn. A program: ``python -m``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from wardian.sdk.workspace import Workspace
from wardian.serving.model_tree import digest_model, scan_model
from wardian.settings import Settings


def _register_and_die_at(workspace: Workspace, path: Path, name: str, call: int) -> None:
    left = call

    def hook(_event: str, _arguments: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    workspace.models.register(path, name)


def _check(workspace: Workspace, name: str) -> str:
    """Return whether the model is there: ``new`` or ``old``; every model that is found is whole."""
    for model in workspace.models.list(limit=1000):
        assert digest_model(scan_model(model.path())) == model.digest, model
    return "new" if workspace.models.find(name) else "old"


def main(directory: str) -> None:
    """Print how many kills there were, and how often the model was and was not there afterwards."""
    root = Path(directory)
    workspace = Workspace(Settings.load({"HOME": directory, "WARDIAN_HOME": f"{directory}/home"}))
    ways = {"old": 0, "new": 0}
    for call in range(1, 5000):
        source = root / "model"
        source.mkdir(exist_ok=True)
        (source / "weights").write_text(str(call))
        (source / "link").unlink(missing_ok=True)
        (source / "link").symlink_to("weights")
        name = f"m{call}"
        pid = os.fork()
        if pid == 0:
            _register_and_die_at(workspace, source, name, call)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        ways[_check(workspace, name)] += 1
        workspace.models.register(source, name)
        assert _check(workspace, name) == "new"
        workspace.models.delete(name)
        left = [path for place in ("tmp", "models", "trash") for path in (workspace.models.root.parent / place).glob("*")]
        assert not left, left  # neither what the killed one had not finished, nor what it had and no record named
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            sys.stdout.write(f"{call - 1} {ways['old']} {ways['new']}\n")
            return
    sys.exit("it never came to an end")


if __name__ == "__main__":
    main(sys.argv[1])
