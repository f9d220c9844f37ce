"""Links conda packages into a prefix of their own that lasts as long as their layers are written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import time
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.image.conda_entries import LinkedPackage, read_linked
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.package.conda_linking import link_in_worker
from wardian.package.conda_worker import Task
from wardian.tools.disk import FileLock, disk_errors, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wardian.events import Listener
    from wardian.lock.lock import Artifact

_BUILD = "standin"


@contextlib.contextmanager
def staged(
    artifacts: Sequence[Artifact],
    archives: Mapping[Digest, Path],
    *,
    python: Artifact | None,
    place: Path,
    package_cache: Path,
    link_scripts: str,
    listener: Listener,
) -> Iterator[dict[Digest, LinkedPackage]]:
    """Link conda packages as they are in an image, and give them by the digest of their archives while the block lasts.

    One transaction in a worker process. Each package's entries are the same whatever it is linked with. No link script runs
    here (``wardian.image.conda_scripts``). Safe between processes that share ``place`` and ``package_cache``, and against ``kill -9``:
    what a killed process leaves is removed by the next call.

    Args:     archives: where each artifact's archive lies, validated (``wardian.package.archive``).
              python: the environment's, for noarch packages; its archive is needed only if it is one of ``artifacts``.
              place: a directory for staging prefixes, on the file system of ``package_cache``.
              link_scripts: ``refuse``: a package with one is an error, before anything is linked; ``run``: it is a file like others.
    Raises:   InstallFailed: codes ``link_script_refused``, ``placeholder_too_short``, ``linker_died``, ``install_failed``.
              BadArchive: codes ``wrong_digest``, ``damaged_archive``, ``unsafe_path``.  DiskFull.
    """
    wanted, paths = [*artifacts], {str(a.sha256): str(archives[a.sha256].absolute()) for a in artifacts}
    if python is not None and python not in wanted and any(a.noarch == "python" for a in artifacts):
        stand_in, archive = _stand_in(python, package_cache)
        wanted.append(stand_in)
        paths[str(stand_in.sha256)] = str(archive)
    policy = "refuse" if link_scripts == "refuse" else "ignore"

    def link(chosen: Sequence[Artifact], prefix: Path) -> None:
        theirs = {str(a.sha256): paths[a.sha256] for a in chosen}
        cache = str(package_cache.absolute())
        task = Task(tuple(chosen), theirs, str(prefix), cache, policy, copy=False, target=ENVIRONMENT_PATH)
        link_in_worker(task, listener)

    with staging_prefix(place) as root:
        if wanted:
            link(wanted, root / "together")
        found = {artifact.sha256: read_linked(root / "together", artifact) for artifact in artifacts}
        for artifact in _entangled(found.values()):
            companions = [a for a in wanted if a.name == "python" and artifact.noarch == "python"]
            link([artifact, *companions], root / artifact.name)
            found[artifact.sha256] = read_linked(root / artifact.name, artifact)
        yield found


def _entangled(packages: Iterable[LinkedPackage]) -> list[Artifact]:
    """Return the packages with a path that another one has too: the linker does not keep all that is replaced.

    It keeps a packed file (``__clobbers__``), but not the start script of an entry point.
    """
    owners: dict[str, list[Artifact]] = {}
    for package in packages:
        for path in package.facts.paths:
            owners.setdefault(path["_path"], []).append(package.artifact)
    return list(dict.fromkeys(artifact for several in owners.values() if len(several) > 1 for artifact in several))


@contextlib.contextmanager
def staging_prefix(place: Path) -> Iterator[Path]:
    """Give an empty directory in ``place``, removed at the end; those of processes that were killed are removed first."""
    with disk_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        for left in place.glob("*.lock"):
            lock = FileLock(left)
            if lock.try_acquire():
                shutil.rmtree(left.with_suffix(""), ignore_errors=True)
                left.unlink(missing_ok=True)
                lock.release()
    prefix = place.absolute() / f"{os.getpid()}-{time.monotonic_ns()}"
    lock = FileLock(prefix.with_name(prefix.name + ".lock"))
    with lock:
        try:
            prefix.mkdir()
            yield prefix
        finally:
            shutil.rmtree(prefix, ignore_errors=True)
            lock.path.unlink(missing_ok=True)


def _stand_in(python: Artifact, package_cache: Path) -> tuple[Artifact, Path]:
    """Return a package without files that tells the linker where Python's modules lie, and its archive.

    The linker places modules of noarch packages by the python record of the same transaction, and needs nothing of its files.
    """
    stem = f"python-{python.version}-{_BUILD}"
    index = {
        "name": "python",
        "version": python.version,
        "build": _BUILD,
        "build_number": 0,
        "subdir": python.subdir,
        "depends": [],
    }
    info = {"index.json": json.dumps(index), "paths.json": '{"paths": [], "paths_version": 1}', "files": ""}
    content = _conda_archive(stem, {f"info/{name}": text.encode() for name, text in info.items()})
    digest = Digest.of(content)
    path = package_cache.absolute() / "stand-ins" / digest[:16] / f"{stem}.conda"
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)
    return replace(
        python, build=_BUILD, build_number=0, depends=(), constrains=(), file=path.name, sha256=digest, size_bytes=len(content)
    ), path


def _conda_archive(stem: str, info: Mapping[str, bytes]) -> bytes:
    """Return a ``.conda`` archive whose only members are ``info``; the same bytes for the same members."""
    import zstandard

    from wardian.image.entry import Entry
    from wardian.image.tar import write_tar

    members = [Entry.of_bytes(path, content) for path, content in info.items()]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (
            ("metadata.json", b'{"conda_pkg_format_version": 2}'),
            (f"pkg-{stem}.tar.zst", zstandard.compress(b"".join(write_tar([], mtime=0)))),
            (f"info-{stem}.tar.zst", zstandard.compress(b"".join(write_tar(members, mtime=0)))),
        ):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return packed.getvalue()
