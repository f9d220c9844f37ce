"""Where a run is that was handed over to an engine: what its record says of it, so that any process can ask after it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wardian.run.configuration import Resources
from wardian.run.file_names import from_document, to_document
from wardian.run.node.sheet import RUNS
from wardian.run.targets.remote import Errand, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

PREPARING, OFFERED, TAKEN, HOME = "preparing", "offered", "taken", "home"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is, and how far its way there and back has come.

    Attributes:
        kind: of the target.
        options: the target's and the run's, as they were when it was submitted: a target may change or go meanwhile.
        root: the node directory, as nodes see it.
        key: of the task, and the name of its directory below ``runs/``.
        stage: ``preparing``: the engine has heard nothing of it | ``offered``: it may have | ``taken``: it has, as ``handle`` |
            ``home``: it has ended, and what it left is here.
        task: what the engine is offered: again, if its answer was lost.
        node: where it runs, or ran.
        keeps: whether its directory stays there.
        asked: why somebody asked to cancel it, if it is not just ``canceled``.
    """

    kind: str
    options: Mapping[str, str]
    root: str
    key: str
    stage: str = PREPARING
    handle: str = ""
    task: Task | None = None
    node: str = ""
    keeps: bool = False
    asked: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict)  # of a newer Wardian: kept

    @property
    def path(self) -> str:
        """The run's directory, relative to the root."""
        return f"{RUNS}/{self.key}"

    @property
    def directory(self) -> str:
        """The run's directory, as nodes see it."""
        return f"{self.root.rstrip('/')}/{self.path}"

    def offered(self, task: Task) -> Place:
        """Return it with the engine about to be asked."""
        return replace(self, stage=OFFERED, task=task)

    def taken(self, handle: str) -> Place:
        """Return it with the engine's answer."""
        return replace(self, stage=TAKEN, handle=handle)

    def to_json(self) -> str:
        """Return it as JSON for the record."""
        document = {name: value for name, value in asdict(self).items() if value not in ("", None, {}, False)}
        document.pop("unknown", None)
        return json.dumps({**self.unknown, **to_document(document)})

    @classmethod
    def from_json(cls, text: str) -> Place:
        """Return the place that ``to_json`` wrote."""
        values: dict[str, Any] = from_document(json.loads(text))
        known = {name: values.pop(name) for name in tuple(values) if name in _NAMES}
        task = known.pop("task", None)
        if task is not None:
            first = task.get("first")
            made = {"argv": tuple(task["argv"]), "resources": Resources(**task["resources"])}
            if first is not None:
                made["first"] = Errand(**{**first, "argv": tuple(first["argv"])})
            task = Task(**{**task, **made})
        return cls(**{"options": {}, **known}, task=task, unknown=values)

    def as_document(self) -> dict[str, Any]:
        """Return what is shown of it."""
        shown = {"kind": self.kind, "directory": self.directory, "handle": self.handle, "stage": self.stage, "node": self.node}
        return {name: value for name, value in shown.items() if value}


_NAMES = frozenset({"kind", "options", "root", "key", "stage", "handle", "task", "node", "keeps", "asked"})
