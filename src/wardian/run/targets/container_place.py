"""The directory through which a job in a container and this machine meet; and what dead owners left of such."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.image.engine import Container, Mount
from wardian.image.engine_run import is_orphan, owner_labels
from wardian.run.targets import container_launcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.run.targets.container_options import ContainerOptions
    from wardian.run.targets.launcher_python import LauncherPython
    from wardian.run.targets.target import Job, JobImage

PREFIX = "wardian-run-"
INSIDE = "/wardian"  # everything of Wardian's in a container is below
WORK, JOB, INPUTS, CERTIFICATES = f"{INSIDE}/run", f"{INSIDE}/job", f"{INSIDE}/inputs", f"{INSIDE}/certificates"
PYTHON = f"{INSIDE}/python"  # the launcher's
PIPES = ("out", "err", "control", "status")

_INPUT = "WARDIAN_INPUT_"
_ODD = re.compile(r"[^A-Za-z0-9/._+@%=-]")  # what the grammar of command lines may take for something else
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
                 "PIP_CERT", "GIT_SSL_CAINFO")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A directory for one container, with pipes and the launcher in it; the container has its name."""

    path: Path

    @classmethod
    def make(cls, job: Job) -> Place:
        """Make the directory, for ``job``; only the caller can read it."""
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        place = cls(path)
        (path / "owner.json").write_text(json.dumps(place.labels(job)))
        for name in PIPES:
            os.mkfifo(path / name, 0o600)
        for name, mode in (("tmp", 0o1777), ("home", 0o700), ("links", 0o700)):
            (path / name).mkdir()
            (path / name).chmod(mode)
        shutil.copyfile(container_launcher.__file__, path / "launch.py")
        return place

    @property
    def name(self) -> str:
        """The container's name."""
        return self.path.name

    def labels(self, job: Job) -> dict[str, str]:
        """Return the labels of the container."""
        return owner_labels(job.variables.get(job.marker, self.name))

    def container(
        self, job: Job, image: JobImage, options: ContainerOptions, python: LauncherPython, *, takes_input: bool
    ) -> Container:
        """Return the container of ``job``, and write down what the launcher is to do, which ``python`` executes.

        The paths of this machine that variables hold (inputs, outputs, certificates) become those inside.
        """
        mounts = [Mount(self._source(job.directory, 0), WORK), Mount(self.path, JOB), Mount(self.path / "tmp", "/tmp"),  # noqa: S108
                  Mount(self._source(python.path, 1), PYTHON, read_only=True)]  # fmt: skip
        variables = {}
        for name, value in job.variables.items():
            inside = self._inside(name, value, job.directory)
            if inside is not None and inside != WORK and not inside.startswith(f"{WORK}/"):
                mounts.append(Mount(self._source(Path(value), len(mounts)), inside, read_only=True))
            variables[name] = value if inside is None else inside
        sheet = {"argv": job.argv, "directory": WORK, "variables": variables, "timeout_s": job.timeout_s, "grace_s": job.grace_s,
                 "merged": job.merged, "takes_input": takes_input}  # fmt: skip
        path = self.path / "order.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(sheet))
        wanted = job.resources
        # what an image has its own loader load is not for the launcher's
        quiet = [word for name in job.variables if name.startswith("LD_") for word in ("--env", f"{name}=")]
        return Container(
            name=self.name, image=image.id, command=(*python.command(PYTHON), f"{JOB}/launch.py"), mounts=tuple(mounts),
            directory=WORK, shm_bytes=options.shm_bytes, cpus=wanted.cpus if wanted else None,
            memory_bytes=wanted.memory_bytes if wanted else None, gpus=wanted.gpus if wanted else None, extra=(*quiet, *options.arguments),
            labels=self.labels(job), takes_input=takes_input,
        )  # fmt: skip

    def remove(self) -> None:
        """Remove the directory; no matter if it is gone."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _inside(self, name: str, value: str, directory: Path) -> str | None:
        """Return where a container finds what the variable names; None: it is no path of this machine."""
        if name == "WARDIAN_OUTPUT_DIR" or name.startswith(_INPUT):
            path = Path(value)
            if path == directory or directory in path.parents:
                return str(Path(WORK, path.relative_to(directory)))
            return str(Path(INPUTS, name.removeprefix(_INPUT), _ODD.sub("_", path.name)))
        if name in _CERTIFICATES and value.startswith("/") and Path(value).exists():
            return f"{CERTIFICATES}/{name}"
        return None

    def _source(self, path: Path, number: int) -> Path:
        """Return a name for ``path`` that every command line can say: its own, or a link's."""
        if not _ODD.search(str(path)):
            return path
        link = self.path / "links" / str(number)
        if not link.is_symlink():
            link.symlink_to(path)
        return link


def orphans() -> list[Place]:
    """Return the places of this user whose owners have ended without removing them: their containers may be there still."""
    found = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if path.lstat().st_uid == os.geteuid() and is_orphan(_labels(path)):
                found.append(Place(path))
        except (OSError, ValueError):  # being made, or being removed
            continue
    return found


def _labels(path: Path) -> Mapping[str, str]:
    labels = json.loads((path / "owner.json").read_text())
    return labels if isinstance(labels, dict) else {}
