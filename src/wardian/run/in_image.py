"""What a run finds in an image: its programs, its variables, and, where the user set it up, what it turns out to have."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wardian.errors import RunFailed
from wardian.image.engine import Container, Mount
from wardian.image.engine_run import owner_labels, run_container, sweep
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.run.configuration import Prepared, RunEnvironment
from wardian.run.observed import PROBE, R_PROBE, RSCRIPT, observed, observed_r
from wardian.run.targets.container_place import PYTHON
from wardian.run.targets.target import JobImage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wardian.image.engine import ContainerEngine, LocalImage
    from wardian.run.targets.launcher_python import LauncherPython

INTERPRETER = f"{ENVIRONMENT_PATH}/bin/python"
_PROBE_TIMEOUT_S = 120.0
# executed by the launcher's Python: it tries programs of the image, all at the same time, and prints what they say
_TRY_OUT = """
import json, os, shutil, subprocess, sys
asked = json.loads(sys.argv[1])
said, started = {}, {}
for name, argv in asked["programs"].items():
    program = shutil.which(argv[0])
    if program is None:
        said[name] = {"trouble": "it cannot be executed" if os.path.exists(argv[0]) else "it is not there"}
        continue
    try:
        started[name] = program, subprocess.Popen([program] + argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                                  env=dict(os.environ, **asked["variables"]), cwd="/")
    except OSError as error:
        said[name] = {"trouble": "it cannot be executed: " + (error.strerror or "")}
for name, (program, process) in started.items():
    try:
        out, err = process.communicate(timeout=asked["timeout_s"])
    except subprocess.TimeoutExpired:
        process.kill()
        said[name] = {"trouble": "it does not answer"}
        continue
    last = err.decode(errors="replace").strip().splitlines()[-1:]
    trouble = "it ends with %d%s" % (process.returncode, ": " + last[0][:300] if last else "") if process.returncode else ""
    said[name] = {"program": program, "answer": out.decode(errors="replace"), "trouble": trouble}
print(json.dumps(said))
"""


def prepare_in_image(
    engine: ContainerEngine,
    image: LocalImage,
    environment: RunEnvironment,
    variables: Mapping[str, str],
    launcher: LauncherPython,
    *,
    interpreter: str | None = None,
    wants_python: bool = True,
    notes: tuple[str, ...] = (),
) -> Prepared:
    """Return the environment that lies in ``image``, which the engine has, ready for a run.

    The image's own variables come first, the definition's ``variables`` win.

    Args:     launcher: executes what looks at the image.
              interpreter: of a user-managed environment: a path in the image, or a name on its PATH. It is tried out now, in a
              container, as R is; what they have is in ``environment.observed``. None: the image has been put together by Wardian.
              wants_python: False: the run does without, so it may be missing.
    Raises:   RunFailed: ``interpreter_missing``: it does not run in the image.  EngineUnavailable.
    """
    if interpreter is None:
        python = INTERPRETER
    else:
        found = observe_in_image(engine, image, interpreter, launcher, wants_python=wants_python)
        python = str(found.get("executable", ""))
        environment = replace(environment, observed=found)
    return Prepared(
        prefix=None, python=python, variables={**dict(image.variables), **variables}, environment=environment, notes=notes,
        path_entries=(Path(PurePosixPath(python).parent),) if python else (), image=JobImage(image.id),
    )  # fmt: skip


def observe_in_image(
    engine: ContainerEngine, image: LocalImage, interpreter: str, launcher: LauncherPython, *, wants_python: bool = True
) -> dict[str, Any]:
    """Return what an image has: version, path and distributions of its Python, version and packages of its R.

    Both are tried out in a container that is gone afterwards. Where there is none, ``python`` and ``r`` are None.
    A container that somebody's end kept from being removed goes now.

    Raises:   RunFailed: ``interpreter_missing``, naming it and the image, where ``wants_python``.  EngineUnavailable.
    """
    own = {name: value for name, value in image.variables if name.startswith("LD_")}  # for the image's programs alone
    programs = {"python": (interpreter, "-c", PROBE), "r": (RSCRIPT, "--vanilla", "-e", R_PROBE)}
    asked = json.dumps({"programs": programs, "variables": own, "timeout_s": _PROBE_TIMEOUT_S})
    name = f"wardian-probe-{secrets.token_hex(8)}"
    container = Container(
        name, image.id, (*launcher.command(PYTHON), "-c", _TRY_OUT, asked), mounts=(Mount(launcher.path, PYTHON, read_only=True),),
        variables=dict.fromkeys(own, ""), network="none", directory="/", labels=owner_labels(name),
    )  # fmt: skip
    pieces: dict[int, bytes] = {1: b"", 2: b""}

    def take(stream: int, chunk: bytes) -> None:
        pieces[stream] += chunk

    sweep(engine)
    code = run_container(engine, container, take, timeout_s=3 * _PROBE_TIMEOUT_S).code
    if code != 0:
        last = pieces[2].decode(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
        raise RunFailed(f"the image {_named(image)} cannot be looked at: {last[0][:300]}", code="container_failed")
    said = json.loads(pieces[1])
    r = observed_r(said["r"]["answer"], said["r"]["program"]) if not said["r"]["trouble"] else None
    python = observed(said["python"]["answer"]) if not said["python"]["trouble"] else None
    if python is None or not isinstance(python.get("executable"), str):
        if wants_python:
            raise _missing(interpreter, _named(image), said["python"]["trouble"] or "it is no Python")
        python = {"observed": True, "python": None}
    return {**python, "r": r}


def _named(image: LocalImage) -> str:
    return image.digests[0] if image.digests else image.id[:19]


def _missing(interpreter: str, where: str, why: str) -> RunFailed:
    return RunFailed(
        f"the interpreter `{interpreter}` does not run in the image {where}: {why}",
        hint="name the Python of the image with --interpreter",
        code="interpreter_missing",
    )
