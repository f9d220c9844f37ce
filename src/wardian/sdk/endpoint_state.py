"""How an endpoint is: by its records, and by what its keeper and its replicas say."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from wardian.errors import WardianError
from wardian.serving.directory import CONTROL, EndpointDirectory
from wardian.tools import processes
from wardian.workspace import endpoint_record as states

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.workspace.endpoint_record import EndpointRecord
    from wardian.workspace.endpoints import Endpoints

STARTING, UPDATING, SERVING, DEGRADED, FAILED, DELETING = "starting", "updating", "serving", "degraded", "failed", "deleting"


class EndpointStates:
    """What is known of the endpoints of a workspace.

    Args:     root: where their directories are.
    """

    def __init__(self, store: Endpoints, root: Path):
        self._store = store
        self._root = root

    def state_of(self, record: EndpointRecord) -> str:
        """Return how an endpoint is: see ``Endpoint.status``."""
        if record.deleting:
            return DELETING
        if record.wanted is not None and record.wanted != record.current:
            return STARTING if record.current is None else UPDATING
        if record.current is None:
            return FAILED
        ready = sum(1 for one in self.replicas(record) if one["state"] == "ready" and one["rollout"] == record.current)
        if ready >= record.replicas:
            return SERVING
        if ready:
            return DEGRADED
        return FAILED if record.trouble is not None else STARTING

    def reason_of(self, record: EndpointRecord) -> str | None:
        """Return why an endpoint, or its last change, failed."""
        if record.trouble is not None:
            return record.trouble["reason"]
        newest = self._store.rollouts(record.name)[:1]
        return newest[0].reason if newest and newest[0].state == states.FAILED else None

    def document_of(self, record: EndpointRecord) -> dict[str, Any]:
        """Return all that is known of an endpoint as plain JSON values."""
        found = self._store.current_deployment(record)
        specification = dict(found.specification) if found else {}
        configuration = specification.pop("configuration", {})
        replicas = self.replicas(record, ask_them=True)
        return {
            "name": record.name, "state": self.state_of(record), "reason": self.reason_of(record), "url": record.url,
            "scoring_url": f"{record.url}/score" if record.url else None, "port": record.port, "authenticated": bool(record.keys),
            "keys": [{"sha256": key.sha256, "created": key.created} for key in record.keys], "created": record.created,
            "deployment": found.number if found else None, "target": configuration.get("target"), "replicas_wanted": record.replicas,
            "model": specification.get("model"), "model_digest": specification.get("model_digest"), "run_id": specification.get("run_id"),
            "environment": specification.get("environment"), "definition_hash": specification.get("definition_hash"),
            "lock_digest": specification.get("lock_digest"), "image_digest": specification.get("image_digest"),
            "serving_layer": specification.get("serving_layer"), "serving_packages": specification.get("serving_packages", []),
            "kind": specification.get("kind"), "entry": specification.get("entry"), "variables": configuration.get("variables", {}),
            "log": str(EndpointDirectory.of(self._root, record.name).log), "keeper_pid": record.keeper.pid if record.keeper else None,
            "replicas": replicas, "deployments": [one.as_document() for one in self._store.deployments(record.name)],
            "rollouts": [one.as_document() for one in self._store.rollouts(record.name)],
        }  # fmt: skip

    def replicas(self, record: EndpointRecord, *, ask_them: bool = False) -> list[dict[str, Any]]:
        """Return the replicas that live, the oldest first; with ``ask_them`` also what they have served."""
        from wardian.serving.sockets import ask

        found = []
        for place, known in EndpointDirectory.of(self._root, record.name).replica_documents():
            process = processes.ProcessIdentity.from_document(known["process"])
            if processes.is_alive(process) is False:
                continue
            row = {name: known[name] for name in ("id", "rollout", "deployment", "target", "state", "started", "container")}
            row["pid"] = process.pid
            if ask_them:
                said: dict[str, Any] = {}
                with contextlib.suppress(WardianError):
                    said = ask(place.path / CONTROL, {"op": "status"}, timeout_s=2.0)[0]
                row |= {name: said.get(name) for name in ("served", "failed", "in_flight", "workers")}
            found.append(row)
        return found

    def is_scaled(self, name: str, replicas: int) -> bool:
        """Return whether what serves has just so many replicas, or never will: it gets no more, or another number is wanted by now."""
        record = self._store.get(name)
        if record.replicas != replicas:
            return True
        rows = [one for one in self.replicas(record) if one["rollout"] == record.current]
        return record.trouble is not None or (len(rows) == replicas and all(one["state"] == "ready" for one in rows))
