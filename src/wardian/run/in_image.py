"""What a run finds in an image: its interpreter, its variables, and, where the user set it up, what it turns out to have."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wardian.errors import RunFailed
from wardian.image.engine import Container, ContainerFailed
from wardian.image.engine_run import owner_labels, run_container, sweep
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.run.configuration import Prepared, RunEnvironment
from wardian.run.observed import PROBE, observed
from wardian.run.targets.target import JobImage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wardian.image.engine import ContainerEngine, LocalImage

INTERPRETER = f"{ENVIRONMENT_PATH}/bin/python"
_PROBE_TIMEOUT_S = 120.0


def prepare_in_image(
    engine: ContainerEngine,
    image: LocalImage,
    environment: RunEnvironment,
    variables: Mapping[str, str],
    *,
    interpreter: str | None = None,
    notes: tuple[str, ...] = (),
) -> Prepared:
    """Return the environment that lies in ``image``, which the engine has, ready for a run.

    The image's own variables come first, the definition's ``variables`` win.

    Args:     interpreter: of a user-managed environment: a path in the image, or a name on its PATH. It is tried out now, in a
              container, and what it has is in ``environment.observed``. None: the image has been put together by Wardian.
    Raises:   RunFailed: ``interpreter_missing``: it does not run in the image.  EngineUnavailable.
    """
    found = observe_in_image(engine, image, interpreter) if interpreter else None
    python = str(found["executable"]) if found else INTERPRETER
    if found:
        environment = replace(environment, observed=found)
    return Prepared(
        prefix=None, python=python, variables={**dict(image.variables), **variables}, environment=environment, notes=notes,
        path_entries=(Path(PurePosixPath(python).parent),), image=JobImage(image.id, python),
    )  # fmt: skip


def observe_in_image(engine: ContainerEngine, image: LocalImage, interpreter: str) -> dict[str, Any]:
    """Return version, path and distributions of an image's Python, tried out in a container that is gone afterwards.

    A container that somebody's end kept from being removed goes now.

    Raises:   RunFailed: ``interpreter_missing``, naming it and the image.  EngineUnavailable.
    """
    name = f"wardian-probe-{secrets.token_hex(8)}"
    container = Container(name, image.id, (interpreter, "-c", PROBE), network="none", directory="/", labels=owner_labels(name))
    pieces: dict[int, bytes] = {1: b"", 2: b""}

    def take(stream: int, chunk: bytes) -> None:
        pieces[stream] += chunk

    sweep(engine)
    where = image.digests[0] if image.digests else image.id[:19]
    try:
        code = run_container(engine, container, take, timeout_s=_PROBE_TIMEOUT_S).code
    except ContainerFailed as error:
        if error.stable_code == "container_failed":
            raise
        raise _missing(interpreter, where, error.message) from error
    found = observed(pieces[1].decode(errors="replace")) if code == 0 else None
    if found is None or not isinstance(found.get("executable"), str):
        last = pieces[2].decode(errors="replace").strip().splitlines()[-1:]
        raise _missing(interpreter, where, f"it ends with {code}" + (f": {last[0][:300]}" if last else ""))
    return found


def _missing(interpreter: str, where: str, why: str) -> RunFailed:
    return RunFailed(
        f"the interpreter `{interpreter}` does not run in the image {where}: {why}",
        hint="name the Python of the image with --interpreter",
        code="interpreter_missing",
    )
