"""The interpreter that makes an image's byte-code: the image's own, brought to run on this machine."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.definition.platform import this_platform
from wardian.image.conda_staging import staging_prefix
from wardian.image.python_layout import PythonLayout
from wardian.lock.graph import needed_name
from wardian.lock.python import HOST
from wardian.package.archive import extract_python
from wardian.package.conda_linking import link_in_worker
from wardian.package.conda_worker import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.image.base_python import BasePython
    from wardian.lock.lock import Artifact, Lock

    Fetch = Callable[[Sequence[Artifact]], Mapping[Digest, Path]]


@dataclass(frozen=True, slots=True)
class ImagePython:
    """The Python of an image.

    Attributes:
        layout: where its packages lie.
        digest: what identifies the interpreter: of its archive, or of the base image's program.
        runs_here: whether byte-code can be made with it on this machine.
        on_base: it is the base image's; the environment is a virtual environment of it.
    """

    artifact: Artifact
    layout: PythonLayout
    digest: Digest
    runs_here: bool
    on_base: BasePython | None = None


def image_python(lock: Lock, on_base: BasePython | None) -> ImagePython | None:
    """Return the Python of an image of ``lock``; None: it has none.

    Args:     on_base: the base image's interpreter, where the lock says ``host``.
    """
    artifact = lock.python
    if artifact is None:
        return None
    version = on_base.version if on_base is not None and on_base.version else artifact.version
    layout = PythonLayout(".".join(version.split(".")[:2]), artifact.site_packages_path)
    if artifact.source == HOST and on_base is not None:
        return ImagePython(artifact, layout, on_base.sha256, on_base.command is not None, on_base)
    return ImagePython(artifact, layout, artifact.sha256, lock.platform == this_platform().name)


@contextlib.contextmanager
def runnable(
    python: ImagePython, lock: Lock, *, fetch: Fetch, place: Path, package_cache: Path, listener: Listener
) -> Iterator[Sequence[str]]:
    """Give the argument list that starts ``python`` on this machine, while the block lasts.

    A conda Python is linked, with what it depends on, into a prefix of its own; a standalone one is unpacked once; a base
    image's was taken out of its layers before.

    Args:     fetch: brings archives here.  place, package_cache: as for ``conda_staging.staged``.
    Raises:   what fetching, unpacking and linking raise.
    """
    artifact = python.artifact
    if python.on_base is not None:
        yield python.on_base.command or ()
    elif artifact.kind == "python":
        target = place / "pythons" / artifact.sha256
        extract_python(fetch([artifact])[artifact.sha256], target)
        with contextlib.suppress(OSError):
            os.utime(target)  # clean-ups go by when it was used last
        yield [str(target / "bin" / f"python{python.layout.minor}")]
    else:
        needed = _closure(artifact, lock.of_kind("conda"))
        paths = {str(digest): str(path.absolute()) for digest, path in fetch(needed).items()}
        with staging_prefix(place) as root:
            prefix = root / "python"
            link_in_worker(Task(needed, paths, str(prefix), str(package_cache.absolute()), "ignore", copy=False), listener)
            yield [os.fspath(prefix / "bin" / f"python{python.layout.minor}")]


def _closure(wanted: Artifact, packages: Sequence[Artifact]) -> tuple[Artifact, ...]:
    """Return ``wanted`` and all that it depends on, of ``packages``."""
    by_name = {artifact.name: artifact for artifact in packages}
    found: dict[str, Artifact] = {}
    line = [wanted]
    while line:
        artifact = line.pop()
        if artifact.name in found:
            continue
        found[artifact.name] = artifact
        line += [by_name[name] for name in map(needed_name, artifact.depends) if name in by_name]
    return tuple(found[name] for name in sorted(found))
