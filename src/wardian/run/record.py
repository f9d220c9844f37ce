"""The record of a run: a frozen value, its states, and how it is written down."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.run.configuration import RunConfiguration, RunEnvironment
from wardian.run.file_names import from_document, to_document
from wardian.tools.processes import ProcessIdentity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from wardian.run.place import Place

QUEUED, PREPARING, RUNNING = "queued", "preparing", "running"
COMPLETED, FAILED, CANCELED = "completed", "failed", "canceled"
ACTIVE = (QUEUED, PREPARING, RUNNING)
ENDED = (COMPLETED, FAILED, CANCELED)

# the only legal changes: state → states that it may follow
PREDECESSORS: Mapping[str, tuple[str, ...]] = {
    PREPARING: (QUEUED,),
    RUNNING: (PREPARING,),
    COMPLETED: (RUNNING,),
    FAILED: ACTIVE,
    CANCELED: ACTIVE,
}

# the process's exit code where it is not the script's own
_WARDIAN_FAILED, _NOT_EXECUTABLE, _NOT_FOUND, _TIMEOUT = 125, 126, 127, 124
SUPERVISOR_GONE = "supervisor_gone"
_EXIT_CODES = {"timeout": _TIMEOUT, "not_executable": _NOT_EXECUTABLE, "not_found": _NOT_FOUND}


@dataclass(frozen=True, slots=True)
class InputRecord:
    """An input as it was when the run was submitted.

    ``size_bytes`` and ``modified`` (RFC 3339) are of the file; of a directory, the sum and the newest of its first
    ``files`` files, all of them unless ``is_partial``.
    """

    path: str
    size_bytes: int
    modified: str
    files: int = 1
    is_partial: bool = False
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a run made: its path below the working directory."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Results:
    """What was found out about a run on its way.

    Attributes:
        environment: with what it ran.
        variables: the caller's and the run's, NAME → value; None as value: a secret, or not known yet.
        snapshot_files, snapshot_bytes: what was copied.
        inputs: by name.
        outputs: what is below ``outputs/`` afterwards, at most a thousand files; ``output_files`` counts all.
        new_files, changed_files: below the working directory, outside of ``outputs/``; at most a thousand each.
        notes: what a reader should know.
    """

    environment: RunEnvironment = field(default_factory=RunEnvironment)
    variables: Mapping[str, str | None] = field(default_factory=dict)
    snapshot_files: int = 0
    snapshot_bytes: int = 0
    inputs: Mapping[str, InputRecord] = field(default_factory=dict)
    outputs: tuple[OutputFile, ...] = ()
    output_files: int = 0
    output_bytes: int = 0
    new_files: tuple[str, ...] = ()
    changed_files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the results as JSON, what is empty left out. Names that are no UTF-8 survive."""
        document = {key: value for key, value in asdict(self).items() if value}
        document["environment"] = self.environment.as_document()
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Return the results that ``to_json`` wrote."""
        return cls.from_document(json.loads(text))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Results:
        """Return the results that ``to_json`` wrote, parsed."""
        values = from_document(document)
        values["environment"] = RunEnvironment(**values.get("environment", {}))
        values["inputs"] = {name: InputRecord(**value) for name, value in values.get("inputs", {}).items()}
        values["outputs"] = tuple(OutputFile(**value) for value in values.get("outputs", ()))
        values["variables"] = {str(n): v if v is None else str(v) for n, v in values.get("variables", {}).items()}
        for name in ("new_files", "changed_files", "notes"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


@dataclass(frozen=True)
class RunRecord:
    """All that is known of a run.

    Attributes:
        id: unique in every workspace; sorts by time of submission.
        queued, preparing, running, ended: when each state began (RFC 3339, UTC); None: it never did, or not yet. ``ended`` is
            when it was last known to be alive, if its supervisor is gone: see ``end_is_known``.
        cancel_asked: when somebody asked to cancel it.
        supervisor: the process that looks after it.
        takes_signals: whether SIGTERM makes the supervisor cancel the run, and nothing else.
        code: why it ended: ``exited`` | ``signal`` | ``timeout`` | ``interrupted`` | ``canceled`` | ``not_found`` |
            ``not_executable`` | ``supervisor_gone`` | ``lost``, or the code of the error that ended it.
        reason: the same for people; empty for a run that completed.
        exit_code: the script's own; None: a signal ended it, or it never ran.
        signal: the one that ended it.
        snapshot_digest: of what it ran.
        place: where it is, if it was handed over to an engine. While such a run has not ended, ``reason`` says why it waits, or what
            keeps it from being asked after.
    """

    id: str
    state: str
    configuration: RunConfiguration
    queued: str
    preparing: str | None = None
    running: str | None = None
    ended: str | None = None
    cancel_asked: str | None = None
    supervisor: ProcessIdentity | None = None
    takes_signals: bool = False
    code: str = ""
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    snapshot_digest: str | None = None
    results: Results = field(default_factory=Results)
    place: Place | None = None

    @property
    def is_active(self) -> bool:
        """Whether the run has not ended yet."""
        return self.state in ACTIVE

    @property
    def end_is_known(self) -> bool:
        """Whether ``ended`` is when it ended, not when it was last known to be alive: some seconds before, as a rule."""
        return self.code != SUPERVISOR_GONE

    @property
    def environment(self) -> RunEnvironment:
        """With what it ran."""
        return self.results.environment

    @property
    def process_exit_code(self) -> int | None:
        """What ``wardian run`` returns for this run; None: it has not ended.

        The script's own; 124 timeout, 125 Wardian failed before it started, 126 not executable, 127 not found, 128 + n
        ended by signal n, 130 interrupted.
        """
        if self.is_active:
            return None
        if self.state == CANCELED:
            return 128 + (signal.SIGINT if self.code == "interrupted" else signal.SIGTERM)
        if self.code in _EXIT_CODES:
            return _EXIT_CODES[self.code]
        if self.signal is not None:
            return 128 + self.signal
        return _WARDIAN_FAILED if self.exit_code is None else self.exit_code

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values, what is unknown left out; ``supervisor`` is of use on its own machine only."""
        document: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "configuration": self.configuration.as_document(),
            "queued": self.queued,
            "preparing": self.preparing,
            "running": self.running,
            "ended": self.ended,
            "cancel_asked": self.cancel_asked,
            "code": self.code,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "process_exit_code": self.process_exit_code,
            "snapshot_digest": self.snapshot_digest,
            "place": self.place.as_document() if self.place else None,
            "results": json.loads(self.results.to_json()),
        }
        return {key: to_document(value) for key, value in document.items() if value is not None and value != ""}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> RunRecord:
        """Return the record that ``as_document`` wrote, but for its supervisor and its place."""
        values = {key: value for key, value in document.items() if key not in ("process_exit_code", "place")}
        values["configuration"] = RunConfiguration.from_document(values["configuration"])
        values["results"] = Results.from_document(values.get("results", {}))
        return cls(**values)

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> RunRecord:
        """Return the record that a row of ``runs`` holds."""
        supervisor, takes_signals = None, False
        if row["supervisor"]:
            document = json.loads(row["supervisor"])
            takes_signals = document.pop("takes_signals")
            supervisor = ProcessIdentity.from_document(document)
        place = None
        if row["place"]:
            from wardian.run.place import Place

            place = Place.from_json(row["place"])
        same = (
            "id",
            "state",
            "queued",
            "preparing",
            "running",
            "ended",
            "cancel_asked",
            "exit_code",
            "signal",
            "snapshot_digest",
        )
        return cls(
            **{name: row[name] for name in same},
            configuration=RunConfiguration.from_document(json.loads(row["specification"])),
            supervisor=supervisor,
            takes_signals=takes_signals,
            code=row["code"] or "",
            reason=row["reason"] or "",
            results=Results.from_json(row["results"]),
            place=place,
        )
