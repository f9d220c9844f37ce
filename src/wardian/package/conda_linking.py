"""Has conda packages linked by a worker process: hands over the task, passes progress on, turns a death into an error."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from wardian.errors import BadArchive, DiskFull, InstallFailed
from wardian.events import Event
from wardian.tools.own_python import own_python

if TYPE_CHECKING:
    from wardian.events import Listener
    from wardian.package.conda_worker import Task


def link_in_worker(task: Task, listener: Listener) -> None:
    """Do ``task`` in a process of its own: rattler aborts its interpreter on some bad packages.

    Whatever happens, the worker and the link scripts that it ran have ended when this returns. What it linked before it
    failed is left where it is.

    Raises:   InstallFailed: codes ``link_script_refused``, ``link_script_failed``, ``link_scripts_need_mounts``,
                  ``placeholder_too_short``, ``linker_died``, ``install_failed``.
              BadArchive: codes ``wrong_digest``, ``damaged_archive``, ``unsafe_path``.  DiskFull.
    """
    # Without `site` it starts sooner. It sees what it needs, and nothing else of this process's path or environment.
    places = dict.fromkeys(str(_place_of(package)) for package in ("wardian", "rattler"))
    environ = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONPATH": os.pathsep.join(places), "RUST_BACKTRACE": "0"}
    environ |= _certificates()
    with tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(
            [*own_python(), "-S", "-P", "-m", "wardian.package.conda_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
            env=environ, cwd="/", text=True, start_new_session=True,
        )  # fmt: skip
        try:
            answer = _converse(worker, task, listener)
        finally:
            _end(worker)
        if answer is None:
            raise _death(worker.returncode, said)
        if "error" in answer:
            raise _error(answer["error"])


def _certificates() -> dict[str, str]:
    """Return where certificates are. Nothing is contacted, yet rattler does not begin without any; a slim machine has none."""
    spec = importlib.util.find_spec("certifi")
    place = Path(spec.origin).parent / "cacert.pem" if spec is not None and spec.origin is not None else None
    return {"SSL_CERT_FILE": str(place)} if place is not None and place.exists() else {}


def _place_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InstallFailed(f"the package {package} is not installed", code="install_failed")
    return Path(spec.origin).parent.parent


def _converse(worker: subprocess.Popen[str], task: Task, listener: Listener) -> dict[str, Any] | None:
    """Hand over the task, pass progress on, return the last word; None if there was none. The input stays open meanwhile."""
    if worker.stdin is None or worker.stdout is None:  # pragma: no cover - they are pipes
        return None
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.write(task.to_json() + "\n")
        worker.stdin.flush()
    for line in worker.stdout:
        answer: dict[str, Any] = json.loads(line)
        if "progress" not in answer:
            return answer
        name, done, total = answer["progress"]
        listener(Event("progress", f"linked {name}", done=done, total=total))
    return None


def _end(worker: subprocess.Popen[str]) -> None:
    """End the worker, and the link scripts that it may run, whatever they do."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        if worker.stdout is not None:
            worker.stdout.close()
        if worker.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.close()
        worker.wait(5)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _death(code: int, said: IO[bytes]) -> InstallFailed:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    panic = next(
        (lines[i + 1] for i, line in enumerate(lines[:-1]) if "panicked at" in line), lines[-1] if lines else "it said nothing"
    )
    return InstallFailed(f"the linker died ({how}): {panic}", code="linker_died",
                         hint="try again; if it happens again, one of the packages is damaged", details={"said": lines[-20:]})  # fmt: skip


def _error(document: dict[str, Any]) -> Exception:
    details = document["details"]
    if document["class"] == "DiskFull":
        place = document["message"].removeprefix("the disk is full at ").partition(": ")[0]
        return DiskFull(place, needed_bytes=None, free_bytes=details["free_bytes"])
    kind = BadArchive if document["class"] == "BadArchive" else InstallFailed
    return kind(document["message"], hint=document.get("hint"), code=document["code"], details=details)
