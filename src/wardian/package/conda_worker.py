"""The process that links conda packages: rattler aborts its interpreter on some bad packages, so it gets one of its own.

``python -m wardian.package.conda_worker``: one JSON line in, JSON lines out (``{"progress": …}`` …, then ``{"done": …}`` or
``{"error": …}``). It ends at once when its input is closed: when the parent dies, nobody goes on writing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import BadArchive, DiskFull, InstallFailed, WardianError
from wardian.lock.conda_record import to_record
from wardian.lock.lock import Artifact
from wardian.package.unpacked import Unpacked
from wardian.tools import rattler
from wardian.tools.disk import FileLock, disk_errors, free_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_INFO = ("info/paths.json", "info/files", "info/link.json")
LINK_SCRIPT = re.compile(r"(?:bin|Scripts)/\.(.+)-(?:pre-link|post-link|pre-unlink)\.(?:sh|bat)")


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker does: link ``artifacts`` into the empty ``prefix``.

    Attributes:
        archives: digest → path.
        link_scripts: ``refuse`` | ``run`` | ``ignore``: they are files like all others.
        copy: no hard links.
        target: the path that is written into files instead of the prefix's own; empty: its own.
        at_target: the prefix is linked, and scripts run, as if it lay at ``target``, where nobody else sees it.
    """

    artifacts: tuple[Artifact, ...]
    archives: Mapping[str, str]
    prefix: str
    package_cache: str
    link_scripts: str
    copy: bool
    target: str = ""
    at_target: bool = False

    def to_json(self) -> str:
        """Return the task as one line."""
        return json.dumps({**asdict(self), "artifacts": [artifact.as_document() for artifact in self.artifacts]})

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Return the task that ``to_json`` wrote."""
        values = json.loads(text)
        return cls(**{**values, "artifacts": tuple(Artifact.from_document(a) for a in values["artifacts"])})


def perform(task: Task, say: Any) -> None:
    """Do ``task``; ``say(name=value)`` tells the parent.

    Raises:   BadArchive, InstallFailed, DiskFull.
    """
    prefix, cache = Path(task.prefix), Path(task.package_cache)
    unpacked = Unpacked(cache / "unpacked")
    packages = [(artifact, Path(task.archives[artifact.sha256])) for artifact in task.artifacts]
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(_check_digest, *zip(*packages, strict=True)):
            pass
    with disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    # a worker whose parent was killed may be a moment behind it: the place is ours only when that one is gone
    with _user_of(cache), FileLock(cache / "linking" / Digest.of(os.fsencode(prefix))[:32]) as lock:
        paths = unpacked.as_validated(packages)
        validate = paths is None
        if paths is None:
            info = rattler.read_info([archive for _, archive in packages], _INFO)
            paths = [_checked_paths(artifact, found) for artifact, found in zip(task.artifacts, info, strict=True)]
        if task.link_scripts == "refuse":
            for artifact, found in zip(task.artifacts, paths, strict=True):
                refuse_scripts(artifact, found)
        _empty(prefix)
        place = Path(task.target) if task.at_target else prefix
        try:
            failed = rattler.link(
                [to_record(artifact, archive.as_uri()) for artifact, archive in packages], place,
                package_cache=unpacked.root, validate=validate, run_scripts=task.link_scripts == "run", copy=task.copy,
                target=task.target,
                on_linked=lambda name, done, total: say(progress=[name, done, total]),
            )  # fmt: skip
        except InstallFailed as error:
            if "os error 28" in error.message or "os error 122" in error.message:
                place = prefix if free_bytes(prefix) <= free_bytes(cache) else cache
                raise DiskFull(str(place), needed_bytes=None, free_bytes=free_bytes(place)) from error
            raise
        if validate:
            unpacked.note_validated(packages)
        lock.path.unlink(missing_ok=True)
    if failed:
        raise InstallFailed(f"the link script of {', '.join(failed)} failed", code="link_script_failed",
                            hint="the package is broken here; leave it out or take another version")  # fmt: skip
    for path in (prefix / "conda-meta").iterdir():
        path.chmod(0o644)  # rattler writes them for the owner alone; prefixes are shared


def _check_digest(artifact: Artifact, archive: Path) -> None:
    try:
        actual = Digest.of_file(archive)
    except OSError as error:
        raise BadArchive(f"{artifact.file} can't be read: {error.strerror}", code="unreadable_archive") from error
    if actual != artifact.sha256:
        raise BadArchive(f"{artifact.file} has changed since it was fetched: its digest is not {artifact.sha256.short}…",
                         code="wrong_digest", hint="remove it from the cache: it is fetched again")  # fmt: skip


def _checked_paths(artifact: Artifact, info: Mapping[str, bytes] | str) -> list[str]:
    """Return the paths that the linker will believe an archive to hold; none is outside its place."""
    if isinstance(info, str):
        raise BadArchive(f"{artifact.file} can't be read as a conda package: {info}", code="damaged_archive")
    try:
        paths = _paths(info)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadArchive(
            f"{artifact.file} has a list of files that can't be read: {error!r}", code="damaged_archive"
        ) from error
    for path in paths:
        if not path or path[0] == "/" or "\0" in path or (".." in path and ".." in path.split("/")):
            raise BadArchive(f"{artifact.file} would write to `{path[:200]}`, outside its place", code="unsafe_path")
    return paths


def refuse_scripts(artifact: Artifact, paths: Sequence[str]) -> None:
    """Check that none of the paths of a package is a link script.

    Raises:   InstallFailed: code ``link_script_refused``.
    """
    if script := next(filter(LINK_SCRIPT.fullmatch, paths), None):
        raise InstallFailed(
            f"{artifact.name} {artifact.version} has a link script, `{script}`, that would run while it is installed",
            hint="if you trust it, set `link_scripts: run` in the definition's python section; else leave the package out",
            code="link_script_refused", details={"package": artifact.name, "script": script},
        )  # fmt: skip


def _paths(info: Mapping[str, bytes]) -> list[str]:
    paths = [entry["_path"] for entry in json.loads(info.get(_INFO[0], b'{"paths": []}'))["paths"]]
    paths += info.get(_INFO[1], b"").decode(errors="replace").splitlines()
    entry_points = (json.loads(info.get(_INFO[2], b"{}")).get("noarch") or {}).get("entry_points") or []
    return paths + [f"bin/{text.partition('=')[0].strip()}" for text in entry_points]


@contextlib.contextmanager
def _user_of(cache: Path) -> Iterator[None]:
    """Be one of the workers that use the cache; who is the only one removes what killed workers had half unpacked."""
    lock = FileLock(cache / "users")
    if lock.try_acquire():
        for path in (cache / "unpacked").glob(".*"):
            if path.is_dir():  # rattler unpacks beside the final place and renames
                shutil.rmtree(path)
        lock.release()
    lock.acquire(shared=True)
    with lock:
        yield


def _empty(prefix: Path) -> None:
    with disk_errors(prefix):
        prefix.mkdir(parents=True, exist_ok=True)
        for path in prefix.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def main() -> None:
    """Read a task, do it, say how it went, end without waiting for rattler's threads."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed is not part of the answer
    os.umask(0o022)
    guard = threading.Lock()

    def say(**what: Any) -> None:
        with guard:
            os.write(out, json.dumps(what).encode() + b"\n")

    task = Task.from_json(sys.stdin.readline())
    try:
        if task.at_target:
            _mount(task)
        threading.Thread(target=_watch, daemon=True).start()
        perform(task, say)
        say(done=True)
    except WardianError as error:
        say(error={**error.as_document(), "class": type(error).__name__, "details": error.details})
    os._exit(0)


def _mount(task: Task) -> None:
    from wardian.tools.mounted_at import mount_at

    Path(task.prefix).mkdir(parents=True, exist_ok=True)
    try:
        mount_at(Path(task.prefix), Path(task.target))
    except OSError as error:
        raise InstallFailed(
            f"link scripts must run where the environment will lie, at {task.target}, and this machine allows no private mounts: {error}",
            hint="build as root, or where user namespaces are allowed; or leave out the packages that have link scripts",
            code="link_scripts_need_mounts",
        ) from error


def _watch() -> None:
    """End when the parent does: its end of our input is then closed."""
    while os.read(0, 1):
        pass
    if os.getpgrp() == os.getpid():  # as the parent has arranged
        os.killpg(0, signal.SIGKILL)  # link scripts too
    os._exit(1)


if __name__ == "__main__":
    main()
