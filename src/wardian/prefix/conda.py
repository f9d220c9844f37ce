"""Installs conda packages into a prefix, through a worker process, and says which files are theirs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from wardian.errors import InstallFailed
from wardian.events import Event
from wardian.package.conda_linking import link_in_worker
from wardian.package.conda_worker import Task
from wardian.prefix.activation import Activation, activation
from wardian.prefix.cache import LONGEST_PATH
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

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
        link_in_worker(task, listener)
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
        for entry in json.loads(read_small(record))["paths_data"]["paths"]:
            is_file = entry["path_type"] not in ("softlink", "directory", "pyc_file")
            found[entry["_path"]] = (entry.get("sha256_in_prefix") or entry.get("sha256")) if is_file else None
    return found


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
