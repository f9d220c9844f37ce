"""What passes between who submits a run and the node that runs it: the sheet, its secrets, and how it stands and ends, as JSON files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, wrong_in
from wardian.run.configuration import Command, Resources
from wardian.run.file_names import to_document
from wardian.run.node.kinds import FLAG, NUMBER, OBJECT, OR_NONE, TABLE, TEXT, TEXTS, WHOLE, read_document
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCHEMA = 1
# in the run's directory on the node side
SHEET, SECRETS, LOCK, SNAPSHOT, INPUTS, LOG = "sheet.json", "secrets.json", "lock.json", "snapshot", "inputs", "log.txt"
USES = "uses.json"  # what of the node directory a run needs, besides the archives of its lock
STATUS, ENDED, CANCEL, CLAIMS = "status.json", "ended.json", "cancel", "claims"
ROOM = "room.tmp"  # space that is kept for how a run ends
RELEASED = "released"  # how a start stands that its engine has ended, while the engine may start the run again
SECRETS_FILE = (
    "_WARDIAN_SECRETS_FILE"  # the variable that names the file of the run's secrets, where an engine keeps them itself
)
FILES, FILES_LOGIN, FILES_PLAIN = (
    "_WARDIAN_FILES",
    "_WARDIAN_FILES_LOGIN",
    "_WARDIAN_FILES_PLAIN",
)  # variables: the registry that files go through
ENGINE_LOG = "engine.txt"
# in the root of a node directory
AGENTS, PACKAGES, IMAGES, RUNS, CACHE = "agents", "packages", "images", "runs", "cache"

_SHEET_KINDS = {
    "run_id": TEXT, "command": OBJECT, "lock_digest": TEXT + OR_NONE, "link_scripts": TEXT, "interpreter": TEXT + OR_NONE,
    "environment_variables": TABLE, "variables": TABLE, "pass_variables": TEXTS, "inputs": TABLE, "outputs": TEXTS, "experiment": TEXT,
    "timeout_s": NUMBER + OR_NONE, "grace_s": NUMBER, "resources": OBJECT, "packages": TEXTS, "cache": TEXT, "may_restart": FLAG,
    "heartbeat_s": NUMBER, "in_image": FLAG, "compiles": FLAG,
}  # fmt: skip
_STATUS_KINDS = {"state": TEXT, "attempt": WHOLE, "beat": WHOLE, "at": TEXT, "node": TEXT, "process": OBJECT + OR_NONE}
_END_KINDS = {
    "cause": TEXT, "exit_code": WHOLE + OR_NONE, "signal": WHOLE + OR_NONE, "code": TEXT, "reason": TEXT, "detail": TEXT, "stragglers": WHOLE,
    "began": TEXT + OR_NONE, "ended": TEXT + OR_NONE, "prepared": TEXT, "prefix_key": TEXT + OR_NONE, "python": TEXT, "observed": OBJECT + OR_NONE,
    "node": TEXT, "attempt": WHOLE, "notes": TEXTS,
}  # fmt: skip
_EXIT_CODES = {"timeout": 124, "failed": 125, "lost": 125, "not_executable": 126, "not_found": 127}  # semantics §6
_CANCELED, _INTERRUPTED, _BY_SIGNAL = 143, 130, 128


def uses_json(paths: Iterable[str]) -> bytes:
    """Return what says which paths below the node directory a run needs."""
    return json.dumps({"schema": SCHEMA, "uses": to_document(sorted(paths))}).encode()


def read_uses(file: Path) -> list[str]:
    """Return what ``uses_json`` wrote.

    Raises:   InvalidInput: ``bad_uses``.  OSError.
    """
    found = read_document(read_small(file), {"uses": TEXTS}, SCHEMA, "list of what a run needs", "bad_uses")
    if "uses" not in found:
        raise InvalidInput(f"{file} does not say what its run needs", code="bad_uses")
    return list(found["uses"])


def of_rank(name: str, rank: int) -> str:
    """Return the name of a file that each node of a run has its own of: ``log.txt``, of the second node ``log.1.txt``."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{rank}.{suffix}" if rank else name


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a node is to run. The run's directory is the one that holds the sheet.

    Attributes:
        run_id: of the run; its directory's name.
        command: what runs; secrets among its arguments are in ``secrets.json``, by position.
        lock_digest: of ``lock.json``; None: nothing is installed (user-managed, or already inside the run's image).
        interpreter: of a user-managed environment: a path on the node, or a name on its PATH; None: its ``python3``.
        link_scripts: the definition's policy: ``refuse`` | ``run``.
        environment_variables: the definition's.
        variables: the run's, which win; secrets left out: those are in ``secrets.json``.
        pass_variables: names and patterns that the job gets of the node's own variables, besides those that every run inherits.
        inputs: NAME → path on the node; relative ones are below the run's directory.
        outputs: directories below the output directory that are there when it starts.
        experiment: which the job is told.
        timeout_s, grace_s: as in ``Job``; the time runs from the job's start.
        resources: what was asked for.
        packages: directories of archives, ``<sha256>/<file>``; relative ones are below the node directory's root. Nothing else is asked.
        cache: the node's cache, with ``~`` and variables of the node; empty: ``cache`` in the node directory's root.
        may_restart: the engine may start it again: its secrets stay until it has ended.
        in_image: the environment lies in the image that this runs in, put together by Wardian: ``interpreter`` is its, and nothing is looked at.
        compiles: modules of an installed environment are compiled beside the job, so that later runs start faster.
        heartbeat_s: seconds between signs of life. Who sees none for twelve times as long may take the run over.
    """

    run_id: str
    command: Command
    lock_digest: str | None = None
    link_scripts: str = "refuse"
    interpreter: str | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    pass_variables: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    experiment: str = "default"
    timeout_s: float | None = None
    grace_s: float = 5.0
    resources: Resources = field(default_factory=Resources)
    packages: tuple[str, ...] = (PACKAGES,)
    cache: str = ""
    may_restart: bool = False
    heartbeat_s: float = 5.0
    in_image: bool = False
    compiles: bool = False

    def to_json(self) -> bytes:
        """Return the sheet as JSON; names that are no UTF-8 survive."""
        return json.dumps({"schema": SCHEMA, **to_document(asdict(self))}, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Sheet:
        """Return the sheet that ``to_json`` wrote.

        Raises:   InvalidInput: code ``bad_sheet``: no sheet, or one of a newer Wardian.
        """
        values = read_document(text, _SHEET_KINDS, SCHEMA, "sheet", "bad_sheet")
        try:
            command = values["command"]
            for name in ("arguments", "hidden", "runner"):
                command[name] = tuple(command.get(name, ()))
            for name in ("pass_variables", "outputs", "packages"):
                values[name] = tuple(values.get(name, ()))
            values["command"], values["resources"] = Command(**command), Resources(**values.get("resources", {}))
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"this is no sheet of a run: {wrong_in(error)}", code="bad_sheet") from error


@dataclass(frozen=True, slots=True)
class Secrets:
    """What no engine and no record may hold: ``secrets.json``, for its owner alone.

    It is removed as soon as every node has read it; where ``Sheet.may_restart``, when the run has ended.

    Attributes:
        variables: of the run, NAME → value.
        arguments: of the command, position → text.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[int, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return them as JSON."""
        arguments = {str(position): text for position, text in self.arguments.items()}
        return json.dumps(to_document({"schema": SCHEMA, "variables": dict(self.variables), "arguments": arguments})).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Secrets:
        """Return the secrets that ``to_json`` wrote.

        Raises:   InvalidInput: code ``bad_secrets``; the message holds none of them.
        """
        try:
            values = read_document(text, {"variables": OBJECT, "arguments": OBJECT}, SCHEMA, "file of secrets", "bad_secrets")
            variables = {str(name): value for name, value in values.get("variables", {}).items() if isinstance(value, str)}
            return cls(variables, {int(position): str(text) for position, text in values.get("arguments", {}).items()})
        except (InvalidInput, ValueError):
            raise InvalidInput("the file of the run's secrets cannot be read", code="bad_secrets") from None


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How a run stands on its node: ``status.json``, written over in place every few seconds while its agent is alive.

    Attributes:
        state: ``preparing`` | ``running`` | ``ending`` | ``released``.
        attempt: which of the engine's starts.  beat: counts up: an agent is alive when it changes.
        at: RFC 3339, by the node's clock.  node: its host name.
        process: the agent's (``ProcessIdentity.as_document``).
    """

    state: str
    attempt: int = 1
    beat: int = 0
    at: str = ""
    node: str = ""
    process: Mapping[str, Any] | None = None

    def to_json(self) -> bytes:
        """Return it as JSON, always of one length: it is written over in place, by one write."""
        return json.dumps({"schema": SCHEMA, **to_document(asdict(self))}).encode().ljust(1023) + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> NodeStatus:
        """Return the status that ``to_json`` wrote.

        Raises:   InvalidInput: code ``bad_status``.
        """
        values = read_document(text, _STATUS_KINDS, SCHEMA, "status", "bad_status")
        if "state" not in values:
            raise InvalidInput("this is no status: `state` is missing", code="bad_status")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """How a run ended on its node: ``ended.json``, written once and whole.

    Attributes:
        cause: as in ``wardian.run.targets.target.Ended``, or ``failed``: it could not be started; ``code`` and ``reason`` say why.
        began, ended: RFC 3339, by the node's clock; ``began``: the job itself; None: it never did.
        prepared: one line: with what it ran (``lock 3f2a91 · prefix cached``).
        prefix_key, python: what it ran with; ``observed``: of a user-managed environment.
        stragglers: processes that it had left running, which were then stopped.
        node: its host name.  attempt: which of the engine's starts.
        notes: what a reader should know.
    """

    cause: str
    exit_code: int | None = None
    signal: int | None = None
    code: str = ""
    reason: str = ""
    detail: str = ""
    stragglers: int = 0
    began: str | None = None
    ended: str | None = None
    prepared: str = ""
    prefix_key: str | None = None
    python: str = ""
    observed: Mapping[str, Any] | None = None
    node: str = ""
    attempt: int = 1
    notes: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """Return it as JSON."""
        return json.dumps({"schema": SCHEMA, **to_document(asdict(self))}, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> NodeEnd:
        """Return the end that ``to_json`` wrote. It comes from elsewhere: what is not as it should be is refused.

        Raises:   InvalidInput: code ``bad_node_end``.
        """
        values = read_document(text, _END_KINDS, SCHEMA, "end of a run", "bad_node_end")
        if "cause" not in values:
            raise InvalidInput("this is no end of a run: `cause` is missing", code="bad_node_end")
        values["notes"] = tuple(values.get("notes", ()))
        return cls(**values)

    @property
    def process_exit_code(self) -> int:
        """What the agent returns for this end, and ``wardian run`` for its run: see ``RunRecord.process_exit_code``."""
        if self.cause == "stopped":
            return _INTERRUPTED if self.code == "interrupted" else _CANCELED
        if self.cause in _EXIT_CODES:
            return _EXIT_CODES[self.cause]
        if self.signal is not None:
            return _BY_SIGNAL + self.signal
        return _EXIT_CODES["failed"] if self.exit_code is None else self.exit_code
