"""Installs conda packages into a prefix, through a worker process, and says which files are theirs."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from wardian.errors import BadArchive, DiskFull, InstallFailed
from wardian.events import Event
from wardian.prefix.activation import Activation, activation
from wardian.prefix.cache import LONGEST_PATH
from wardian.prefix.worker import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.lock import Artifact

_CLOBBERED = "__clobbers__"


def install_conda(
    artifacts: Sequence[Artifact],
    archives: Mapping[Digest, Path],
    prefix: Path,
    *,
    package_cache: Path,
    link_scripts: str,
    listener: Listener,
    copy: bool = False,
) -> Activation:
    """Link conda packages into ``prefix`` and return what activating it sets.

    All or nothing: after an error, a kill of the worker or an interrupt the prefix is empty. Safe between processes that
    share ``package_cache``, and against ``kill -9`` of any of them. Archives are compared with their digests, unpacked
    files with their packages' own lists, again whenever one of them has been touched. Where two packages own one path, the later one in topological order has it; the
    other's file is kept under ``__clobbers__/<package>/``, and the listener is told.

    Args:     archives: where each artifact's archive lies, validated (``wardian.package.archive``).
              prefix: absent or empty; its absolute path is written into files, and has at most 200 bytes.
              link_scripts: ``refuse``: a package with one is an error, before anything is linked; ``run``.
              copy: files are copied, never hard-linked to the package cache.
    Raises:   InstallFailed: codes ``prefix_path_too_long``, ``prefix_not_empty``, ``link_script_refused``,
                  ``link_script_failed``, ``linker_died``, ``activation_failed``, ``install_failed``.
              BadArchive: codes ``wrong_digest``, ``damaged_archive``, ``unsafe_path``.  DiskFull.
    """
    if len(os.fsencode(prefix)) > LONGEST_PATH:
        raise InstallFailed(f"the path of the prefix is longer than {LONGEST_PATH} bytes: {prefix}", code="prefix_path_too_long",
                            hint="point WARDIAN_CACHE at a shorter path")  # fmt: skip
    if prefix.is_dir() and any(prefix.iterdir()):
        raise InstallFailed(f"{prefix} is not empty", code="prefix_not_empty")
    existed = prefix.is_dir()
    paths = {str(a.sha256): str(archives[a.sha256].absolute()) for a in artifacts}
    task = Task(tuple(artifacts), paths, str(prefix.absolute()), str(package_cache.absolute()), link_scripts, copy)
    try:
        _work(task, listener)
        _tell_clobbers(prefix, listener)
        return activation(prefix)
    except BaseException:
        _clear(prefix, keep=existed)
        raise


def conda_files(prefix: Path) -> dict[str, str | None]:
    """Return every file that conda packages put into ``prefix``, with its sha256 as installed.

    None stands for files without one: symbolic links, byte code, and the records in ``conda-meta`` themselves.
    """
    found: dict[str, str | None] = {}
    for place in (prefix / "CACHEDIR.TAG", prefix / "conda-meta" / "history"):
        if place.exists():
            found[str(place.relative_to(prefix))] = None
    for record in sorted((prefix / "conda-meta").glob("*.json")):
        found[f"conda-meta/{record.name}"] = None
        for entry in json.loads(record.read_bytes())["paths_data"]["paths"]:
            is_file = entry["path_type"] not in ("softlink", "directory", "pyc_file")
            found[entry["_path"]] = (entry.get("sha256_in_prefix") or entry.get("sha256")) if is_file else None
    return found


def _work(task: Task, listener: Listener) -> None:
    # Without `site` it starts sooner. It sees what it needs, and nothing else of this process's path or environment.
    places = dict.fromkeys(str(_place_of(package)) for package in ("wardian", "rattler"))
    environ = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONPATH": os.pathsep.join(places), "RUST_BACKTRACE": "0"}
    with tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(
            [sys.executable, "-S", "-P", "-m", "wardian.prefix.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
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


def _tell_clobbers(prefix: Path, listener: Listener) -> None:
    lost = prefix / _CLOBBERED
    if not lost.is_dir():
        return
    for package in sorted(lost.iterdir()):
        files = sorted(str(path.relative_to(package)) for path in package.rglob("*") if not path.is_dir() or path.is_symlink())
        if files:
            shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")  # noqa: PLR2004
            listener(
                Event(
                    "notice",
                    f"another package has replaced files of {package.name}: {shown}",
                    data={"package": package.name, "files": files},
                )
            )


def _clear(prefix: Path, *, keep: bool) -> None:
    import shutil

    if keep:
        for path in prefix.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    elif prefix.is_dir():
        shutil.rmtree(prefix)
