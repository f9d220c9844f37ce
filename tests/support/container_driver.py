"""Submits one run in a container, in a process of its own: `python -m tests.support.container_driver ROOT SPACE IMAGE`.

ROOT holds ``workspace.db``, ``runs/`` and ``project/train.py``; SPACE is the directory of a ``PodmanSpace`` or a ``Dockerd``; IMAGE an id.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.containers import IN_IMAGE, PYTHONS

from wardian.image.engine_docker import DockerEngine
from wardian.image.engine_podman import PodmanEngine
from wardian.run.configuration import Command, Prepared, RunConfiguration, RunEnvironment
from wardian.run.records import RunStore
from wardian.run.submit import submit
from wardian.run.surroundings import Surroundings
from wardian.run.targets.container import ContainerTarget
from wardian.run.targets.target import JobImage
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from wardian.image.engine import ContainerEngine


def main() -> int:
    root, space, image = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    environ = json.loads((space / "environ.json").read_text())
    kind = {"podman": PodmanEngine, "docker": DockerEngine}[environ.pop("engine")]
    engine: ContainerEngine = kind(environ, memory=space / "memory")
    prepared = Prepared(None, IN_IMAGE, environment=RunEnvironment(summary="driven"), image=JobImage(image))
    record = submit(
        RunConfiguration(Command("script", "train.py"), source=root / "project", target="podman"),
        RunStore(Database.open(root / "workspace.db")), root / "runs", lambda *_: prepared,
        surroundings=Surroundings(grace_s=2.0), target=ContainerTarget(engine, pythons=PYTHONS),
    )  # fmt: skip
    return record.process_exit_code or 0


if __name__ == "__main__":
    raise SystemExit(main())
