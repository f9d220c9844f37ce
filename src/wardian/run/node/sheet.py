"""The sheet of a run: all that a node has to know to run it. Written where the run is submitted, read by the agent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, wrong_in
from wardian.run.configuration import Command, Resources
from wardian.run.file_names import from_document, to_document

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
# in the run's directory on the node side
SHEET, SECRETS, LOCK, SNAPSHOT, LOG = "sheet.json", "secrets.json", "lock.json", "snapshot", "log.txt"
STATUS, ENDED, CANCEL, CLAIMS = "status.json", "ended.json", "cancel", "claims"
# in the root of a node directory
AGENTS, PACKAGES, RUNS, CACHE = "agents", "packages", "runs", "cache"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a node is to run. The run's directory is the one that holds the sheet.

    Attributes:
        run_id: of the run; its directory's name.
        command: what runs; secrets among its arguments are in ``secrets.json``, by position.
        lock_digest: of ``lock.json``; None: nothing is installed (user-managed, or already inside the run's image).
        interpreter: of a user-managed environment: a path on the node, or a name on its PATH.
        variables: the definition's, then the run's, secrets left out: those are in ``secrets.json``, by name.
        pass_variables: names and patterns that the job gets of the node's own variables, besides those that every run inherits.
        inputs: NAME → path on the node.
        outputs: directories below the output directory that are there when it starts.
        experiment: which the job is told.
        timeout_s, grace_s: as in ``Job``; the time runs from the job's start.
        resources: what was asked for.
        packages: directories of archives, ``<sha256>/<file>``; relative ones are below the node directory's root. Nothing else is asked.
        cache: the node's cache, with ``~`` and variables of the node; empty: ``cache`` in the node directory's root.
    """

    run_id: str
    command: Command
    lock_digest: str | None = None
    interpreter: str | None = None
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

    def to_json(self) -> bytes:
        """Return the sheet as JSON; names that are no UTF-8 survive."""
        return json.dumps({"schema": SCHEMA, **to_document(asdict(self))}, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Sheet:
        """Return the sheet that ``to_json`` wrote.

        Raises:   InvalidInput: code ``bad_sheet``: no sheet, or one of a newer Wardian.
        """
        try:
            document: dict[str, Any] = dict(json.loads(text))
            schema = int(document.pop("schema"))
            if schema > SCHEMA:
                raise InvalidInput(f"the sheet has schema {schema}, this agent reads up to {SCHEMA}", code="bad_sheet",
                                   hint="submit it with the Wardian that this agent belongs to")  # fmt: skip
            values = from_document(document)
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
class NodeEnd:
    """How a run ended on its node: ``ended.json``, written once and whole.

    Attributes:
        cause: as in ``wardian.run.targets.target.Ended``, or ``failed``: it could not be started; ``code`` and ``reason`` say why.
        began, ended: RFC 3339, by the node's clock; ``began``: the job itself; None: it never did.
        prepared: one line: with what it ran (``lock 3f2a91 · prefix cached``).
        prefix_key, python: what it ran with; ``observed``: of a user-managed environment.
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
        try:
            values = from_document(dict(json.loads(text)))
            values.pop("schema")
            values["notes"] = tuple(map(str, values.get("notes", ())))
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"this is not how a run ended: {wrong_in(error)}", code="bad_node_end") from error
