"""The port for container engines of this machine (podman, docker): images that are here, and containers that run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from wardian.errors import Unavailable, WardianError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

RUN_LABEL = "dev.wardian.run"  # whose container it is: the run's id
OWNER_LABEL = "dev.wardian.owner"  # the process that looks after it, as JSON: when that has ended, the container may go
STOP_GRACE_S = 10.0


class EngineUnavailable(Unavailable):
    """No container engine is here, or the one that is here does not work; the message says why in its own words."""

    code = "engine_unavailable"


class ContainerFailed(WardianError):
    """The engine could not start a container, for a reason that is not the program's."""

    code = "container_failed"


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of this machine that a container sees at ``target``."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """What an engine is to run, with nothing left to decide.

    Attributes:
        name: of the container; no other one has it.
        image: an image's id, as ``LocalImage.id`` has it; it is here.
        command: program and arguments. The image's entry point does not count.
        variables: on top of the image's own; never visible in a list of processes.
        directory: the working directory inside; empty: the image's.
        user: ``UID[:GID]`` or a name; None: one whose files belong to the caller on this machine.
        shm_bytes: size of ``/dev/shm``; None: the engine's default.
        cpus, memory_bytes: limits.  gpus: how many.
        network: ``host`` | ``none`` | what the engine knows.
        extra: further arguments of the engine's ``run``, as the user writes them.
        labels: RUN_LABEL and OWNER_LABEL among them.
        takes_input: whether the program reads what the engine's command line is given.
        removes_itself: False: it stays, ended, until ``remove``.
    """

    name: str
    image: str
    command: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""
    user: str | None = None
    shm_bytes: int | None = None
    cpus: float | None = None
    memory_bytes: int | None = None
    gpus: int | None = None
    network: str = "host"
    extra: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    takes_input: bool = False
    removes_itself: bool = True


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image that an engine has.

    Attributes:
        id: ``sha256:<hex>`` of its configuration.
        digests: ``REPOSITORY@sha256:…`` of its manifests, as far as the engine knows them.
        platform: ``linux/amd64``.
        variables: the image's own, in order.
        user: the image's own; empty: root.
    """

    id: str
    digests: tuple[str, ...]
    platform: str
    variables: tuple[tuple[str, str], ...]
    user: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """Whether an engine works here.

    Attributes:
        detail: if it does not: why, and what to do; else what is worth knowing (`rootless`, a runtime that was chosen).
    """

    name: str
    works: bool
    version: str = ""
    rootless: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line that runs a container, attached, until it has ended; and those that go with it.

    Attributes:
        terminate: sends SIGTERM to the program.  remove: ends and removes the container.
        variables_file: what must stand in ``variables_path``, readable for its owner alone, when ``start`` is executed.
        inspect: prints ``STATUS EXIT_CODE`` of a container that stays.
        environ: for all of them.
    """

    start: tuple[str, ...]
    terminate: tuple[str, ...]
    remove: tuple[str, ...]
    inspect: tuple[str, ...]
    environ: Mapping[str, str]
    variables_file: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """User and password for a registry; printed without the password."""

    user: str
    password: str = field(repr=False)


class ContainerEngine(Protocol):
    """A container engine of this machine. Contract: tests/contracts/test_container_engine.py.

    Whatever it cannot say is an error (``EngineUnavailable``), never "not there".
    """

    name: str  # ``podman`` | ``docker``

    def check(self) -> EngineCheck:
        """Return whether containers can be run here, tried out as far as that is possible. Raises nothing."""
        ...

    def find(self, reference: str) -> LocalImage | None:
        """Return the image ``reference`` (``REPOSITORY@sha256:…``, ``REPOSITORY:TAG``, an id) if the engine has it, else None.

        Nothing is contacted.

        Raises:   EngineUnavailable.
        """
        ...

    def load(
        self, source: str | Path, *, login: Login | None = None, plain_http: bool = False, platform: str = ""
    ) -> LocalImage:
        """Bring an image here: pull ``REPOSITORY@sha256:…`` (or a tag) from a registry, or read an archive (docker or, with
        podman, OCI). Idempotent.

        Args:     login: neither kept nor shown.  platform: ``linux/arm64``; empty: this machine's.
        Raises:   NotFound: ``image_not_found``.  Denied.  BadArchive.  Unavailable: ``pull_failed``.  EngineUnavailable.
        """
        ...

    def command(self, container: Container, *, failed: str = "", variables_path: str = "") -> Command | None:
        """Return the command that runs ``container``.

        Args:     failed: what the engine said when it could not start it: the answer is another way, or None: there is none.
                  A way that is found is remembered.
                  variables_path: where the executor puts ``Command.variables_file``.
        Raises:   InvalidInput: a mount or a variable that this engine cannot be told.
        """
        ...

    def remove(self, which: Callable[[Mapping[str, str]], bool]) -> list[str]:
        """End and remove the containers with a RUN_LABEL whose labels satisfy ``which``; return their names.

        Raises:   EngineUnavailable.
        """
        ...
