"""The port of places whose jobs outlive the process that submitted them: machines over ssh, Slurm, Kubernetes.

Wardian schedules nothing itself: it hands a task over to an engine that people operate already, asks how it stands, and brings home
what it left. What runs there is the node's agent (``wardian.run.node``), which is told by the sheet that lies in the task's directory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.errors import WardianError
    from wardian.run.configuration import Resources

WAITING, RUNNING, ENDED, UNKNOWN, SILENT = "waiting", "running", "ended", "unknown", "silent"


@dataclass(frozen=True, slots=True)
class Errand:
    """What runs before a task wherever it does, in an image of its own, and brings its files below the node directory.

    Attributes:
        login: the name of what the engine keeps of a login for it and for the task: a Secret object; empty: none is needed.
    """

    image: str
    argv: tuple[str, ...]
    login: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What an engine is to run, with nothing left to decide.

    Attributes:
        key: unique among all tasks of all workspaces, and a name in every engine's grammar (``[a-z0-9-]{1,63}``): two submissions
            with one key are one task.
        argv: program and arguments, as a node understands them; on several nodes, each runs it.
        directory: of the task, as nodes see it, absolute.
        resources: per node, but for ``nodes``.
        time_s: after which the engine itself ends it; None: the engine's own limit.
        options: what the engine alone understands: the target's and then the run's.
        image: what it runs in, by digest, where the engine runs images: as it pulls it, or the path of an OCI bundle; None: on the node as it is.
        variables: no secrets: engines keep what they are told, and show it to others.
        has_secrets: the run has some. They are where the carrier brought them.
        first: what brings its files, where nodes share no directory with the submitter.
    """

    key: str
    argv: tuple[str, ...]
    directory: str
    resources: Resources
    time_s: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    has_secrets: bool = False
    first: Errand | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a task stands, as its engine has it.

    Attributes:
        state: ``waiting`` (queued, held, its image being pulled) | ``running`` | ``ended`` | ``unknown``: the engine has forgotten it,
            or never had it | ``silent``: the part of the engine that has it does not answer, while others do; ``reason`` has its words.
        reason: in the engine's words: why it waits, or why it ended (``Resources``, ``NODE_FAIL``, ``ImagePullBackOff: …``).
        cause: of an ended one: ``exited`` | ``canceled`` | ``timeout`` | ``out_of_memory`` | ``node_lost`` | ``preempted`` | ``not_started``.
        exit_code, signal: of an ended one, where the engine knows; the agent's own word, where there is one, comes first.
        node: where it runs or ran; empty: not known yet.
        attempts: how often the engine has started it.
    """

    state: str
    reason: str = ""
    cause: str = ""
    exit_code: int | None = None
    signal: int | None = None
    node: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found out about a target: ``ok``, or ``hint`` says what to do."""

    subject: str
    ok: bool
    text: str
    hint: str = ""


class RemoteTarget(Protocol):
    """A place to hand tasks over to. Contract: tests/contracts/test_remote_target.py.

    Guarantees: nothing is waited for but the engine's answer; every method can be called again after any failure, from any process.
    "Cannot ask" is an error (``Unavailable``), never an answer.
    """

    name: str

    def check(self, resources: Resources | None = None) -> Sequence[Finding]:
        """Connect, and tell what is there and what is missing: the engine and its version, its resources, the shared directory.

        With ``resources``: whether it can ever give them.

        Raises:   nothing but bugs: what fails is a finding.
        """
        ...

    def submit(self, task: Task) -> str:
        """Hand ``task`` over, and return the engine's name for it. Idempotent: a task that is there is found by its key, not made anew.

        Raises:   InvalidInput: the engine will never take it; its words are in the message.
                  Unavailable: no answer; it may have been taken: call again.  Denied: it knows the caller, or does not, and refuses.
        """
        ...

    def standings(self, handles: Sequence[str]) -> Mapping[str, Standing]:
        """Return how tasks stand, many in few questions.

        Raises:   Unavailable.  Denied.
        """
        ...

    def read_log(self, handle: str, offset: int, limit: int) -> bytes:
        """Return at most ``limit`` bytes of what a task wrote, from byte ``offset`` on; nothing: not yet, or no more.

        Raises:   Unavailable.  Denied.
        """
        ...

    def cancel(self, handles: Sequence[str]) -> None:
        """Ask that tasks end, waiting or running. Idempotent; the unknown and the ended do not matter.

        Raises:   Unavailable.  Denied.
        """
        ...


def is_tampered(error: WardianError) -> bool:
    """Whether a carrier says of one path that a run has put something else there, and not that nodes cannot be asked."""
    return error.stable_code in ("bad_node_file", "path_escapes")


class Carrier(Protocol):
    """How files come to nodes and back: through a shared directory, over ssh. Contract: tests/contracts/test_carrier.py.

    All paths are relative to its ``root``, the directory as nodes see it; nothing leads out of it. What is written is complete or not there.

    Layout: ``agents/<digest>/`` · ``packages/<sha256>/<file>`` · ``images/<key>/``: OCI bundles · ``runs/<key>/`` {``sheet.json``, ``secrets.json``, ``lock.json``,
    ``snapshot/``, ``log.txt``, ``status.json``, ``ended.json``, ``cancel``} · ``cache/``: of nodes that have none of their own.
    """

    @property
    def root(self) -> str:
        """The directory as nodes see it."""
        ...

    def have(self, paths: Sequence[str]) -> set[str]:
        """Return which of ``paths`` are there already."""
        ...

    def send(self, files: Mapping[str, str], *, private: bool = False) -> None:
        """Bring files and whole directories there: path there → path here. What is there already stays. ``private``: for its owner alone.

        Raises:   Unavailable.  Denied.  DiskFull.
        """
        ...

    def read(self, path: str, offset: int, limit: int) -> bytes | None:
        """Return at most ``limit`` bytes of a file from ``offset`` on; None: there is no such file."""
        ...

    def fetch(self, path: str, place: str, *, limit_bytes: int | None = None) -> Sequence[str]:
        """Bring the directory ``path`` home, as the new directory ``place``; return what stays behind, in words, each with its path.

        That is what would be dangerous here: links that lead out of the directory, devices, pipes. Moments and modes come along.

        Raises:   NotFound: there is no such directory.  Unavailable.  Denied.  DiskFull: here, or it is more than ``limit_bytes``.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file or a directory; no matter if it is not there."""
        ...
