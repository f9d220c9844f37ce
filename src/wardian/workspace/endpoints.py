"""The records of endpoints, over SQL: what is wanted of each, its deployments, and which served when."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, NotFound
from wardian.workspace import endpoint_record as states
from wardian.workspace.clock import moment_text, utc_now
from wardian.workspace.endpoint_record import ApiKey, Deployment, EndpointRecord, Rollout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from wardian.tools.processes import ProcessIdentity
    from wardian.workspace.database import Database


class Endpoints:
    """Records of the endpoints of a workspace. Safe across processes: every change is one transaction.

    What is wanted is written by whoever asks for it; what became of that by the endpoint's keeper.

    Args:     now: where the moments in the records come from.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self.database = database
        self._now = now

    # -- what is wanted --------------------------------------------------------------------------------------------------

    def deploy(
        self, name: str, specification: Mapping[str, Any], *, place: Callable[[int], None], model_id: int | None = None,
        version_id: int | None = None, port: int | None = None, replicas: int | None = None, keys: Sequence[ApiKey] = (), kind: str = states.DEPLOY,
    ) -> tuple[EndpointRecord, Deployment, Rollout]:  # fmt: skip
        """Add a deployment that is to serve, and the endpoint if there is none.

        Args:     place: called with the deployment's number before the change is committed: puts its files in their place.
                  port: None: the endpoint's own, or one that is taken later.
                  replicas: from the moment on when it serves; None: as many as now, or one.
                  keys: of a new endpoint, or one that never served; others keep theirs.
        Raises:   Conflict: ``endpoint_deleting``; ``port_is_fixed``: it has another port.
        """
        with self.database.write():
            known = self.find(name)
            if known is None:
                self.database.execute(
                    "INSERT INTO endpoints (name, created, port, replicas, keys) VALUES (?, ?, ?, ?, ?)",
                    name, self._moment(), port, replicas or 1, json.dumps([asdict(key) for key in keys]),
                )  # fmt: skip
            else:
                self._changeable(known)
                if port is not None and port != known.port:
                    raise Conflict(f"endpoint `{name}` has port {known.port}, not {port}: its address does not change", code="port_is_fixed",
                                   hint=f"leave the port out, or `wardian endpoint delete {name}` first")  # fmt: skip
                if known.current is None:  # nobody has asked it yet: as this deployment says, with keys or without
                    self._put_keys(name, keys)
            row = self.database.row("SELECT max(number) AS highest FROM deployments WHERE endpoint = ?", name)
            number = ((row["highest"] if row else None) or 0) + 1
            self.database.execute(
                "INSERT INTO deployments (endpoint, number, created, model_id, version_id, specification) VALUES (?, ?, ?, ?, ?, ?)",
                name, number, self._moment(), model_id, version_id, json.dumps(dict(specification)),
            )  # fmt: skip
            serves = known is not None and known.current is not None
            if replicas is not None and not serves:
                self._set(name, replicas=replicas)
            rollout = self._roll_out(name, number, kind, replicas if serves else None)
            place(number)
            return self.get(name), self.deployment(name, number), rollout

    def roll_out(self, name: str, deployment: int, kind: str) -> Rollout:
        """Have a deployment serve that is there: one of before, or the same with new processes.

        Raises:   NotFound: ``deployment_not_found``.  Conflict: ``endpoint_deleting``.
        """
        with self.database.write():
            self._changeable(self.get(name))
            return self._roll_out(name, self.deployment(name, deployment).number, kind)

    def scale(self, name: str, replicas: int) -> EndpointRecord:
        """Have so many replicas; those that are not started any more are tried again."""
        with self.database.write():
            self._changeable(self.get(name))
            self._set(name, replicas=replicas, trouble=None)
            self.database.execute(
                "UPDATE rollouts SET replicas = NULL WHERE endpoint = ? AND state = ?", name, states.STARTING
            )  # who asks last is heard
            return self.get(name)

    def add_key(self, name: str, key: ApiKey) -> EndpointRecord:
        """Have this key accepted, too: by replicas that start from now on."""
        with self.database.write():
            record = self.get(name)
            self._changeable(record)
            self._put_keys(name, (*record.keys, key))
            return self.get(name)

    def remove_key(self, name: str, sha256: str) -> None:
        """Have this key accepted no more: by replicas that start from now on. No matter if it, or the endpoint, is gone."""
        with self.database.write():
            if (record := self.find(name)) is not None:
                self._put_keys(name, [key for key in record.keys if key.sha256 != sha256])

    def keep_newest_key(self, name: str) -> EndpointRecord:
        """Have the newest key accepted alone: by replicas that start from now on.

        Raises:   Conflict: ``no_keys``.
        """
        with self.database.write():
            record = self.get(name)
            self._changeable(record)
            if not record.keys:
                raise Conflict(f"endpoint `{name}` asks for no API key: there is none to drop", code="no_keys",
                               hint=f"`wardian endpoint key rotate {name}` makes one, which is asked for from then on")  # fmt: skip
            self._put_keys(name, record.keys[-1:])
            return self.get(name)

    def ask_delete(self, name: str) -> EndpointRecord:
        """Record that the endpoint is to go: its keeper ends its replicas, then removes it. Idempotent."""
        with self.database.write():
            if not self.get(name).deleting:
                self._set(name, deleting=self._moment())
            return self.get(name)

    # -- what became of it: the keeper's ------------------------------------------------------------------------------------

    def hand_over(self, name: str, keeper: ProcessIdentity | None) -> None:
        """Record which process looks after the endpoint."""
        with self.database.write():
            self._set(name, keeper=json.dumps(keeper.as_document()) if keeper else None)

    def put_port(self, name: str, port: int) -> None:
        """Record the port that was taken, which is the endpoint's from now on."""
        with self.database.write():
            self._set(name, port=port)

    def begin_serving(self, name: str, number: int) -> bool:
        """Record that a rollout serves from now on, and that the one before was replaced; return False if it is not wanted any more."""
        with self.database.write():
            record = self.find(name)
            if record is None or record.wanted != number or record.deleting:
                return False
            if record.current is not None:
                self._end_rollout(name, record.current, states.REPLACED)
            self._end_rollout(name, number, states.SERVING)
            self._set(name, current=number, trouble=None, replicas=self.rollout(name, number).replicas or record.replicas)
            return True

    def fail(self, name: str, number: int, code: str, reason: str) -> bool:
        """Record that a rollout failed: the one that serves goes on. Return False if it was not wanted any more."""
        with self.database.write():
            record = self.find(name)
            if record is None or record.wanted != number or record.current == number:
                return False
            self._end_rollout(name, number, states.FAILED, code, reason)
            self._set(name, wanted=record.current)
            return True

    def put_trouble(self, name: str, trouble: Mapping[str, str] | None) -> None:
        """Record why replicas are not started any more; None: they are."""
        with self.database.write():
            self._set(name, trouble=json.dumps(dict(trouble)) if trouble else None)

    def delete(self, name: str) -> None:
        """Delete the record of an endpoint, its deployments and rollouts."""
        with self.database.write():
            self.database.execute("DELETE FROM endpoints WHERE name = ?", name)

    # -- read ------------------------------------------------------------------------------------------------------------------

    def find(self, name: str) -> EndpointRecord | None:
        """Return the endpoint of that name, or None."""
        row = self.database.row("SELECT * FROM endpoints WHERE name = ?", name)
        return EndpointRecord.from_row(row) if row is not None else None

    def get(self, name: str) -> EndpointRecord:
        """Return the endpoint of that name.

        Raises:   NotFound: ``endpoint_not_found``; the hint names a near one.
        """
        found = self.find(name)
        if found is None:
            import difflib

            near = difflib.get_close_matches(name, [record.name for record in self.list()], n=1)
            raise NotFound(f"there is no endpoint `{name[:80]}`", code="endpoint_not_found",
                           hint=f"did you mean `{near[0]}`?" if near else "see `wardian endpoint list`")  # fmt: skip
        return found

    def list(self) -> Sequence[EndpointRecord]:
        """Return all endpoints, by name."""
        return [EndpointRecord.from_row(row) for row in self.database.rows("SELECT * FROM endpoints ORDER BY name")]

    def deployment(self, name: str, number: int) -> Deployment:
        """Return one deployment of an endpoint.

        Raises:   NotFound: ``deployment_not_found``.
        """
        row = self.database.row("SELECT * FROM deployments WHERE endpoint = ? AND number = ?", name, number)
        if row is None:
            raise NotFound(f"endpoint `{name}` has no deployment {number}", code="deployment_not_found",
                           hint=f"`wardian endpoint show {name}` lists them")  # fmt: skip
        return Deployment.from_row(row)

    def deployments(self, name: str) -> Sequence[Deployment]:
        """Return the deployments of an endpoint, the newest first."""
        rows = self.database.rows("SELECT * FROM deployments WHERE endpoint = ? ORDER BY number DESC", name)
        return [Deployment.from_row(row) for row in rows]

    def rollout(self, name: str, number: int) -> Rollout:
        """Return one rollout of an endpoint.

        Raises:   NotFound: ``endpoint_not_found``: it was deleted meanwhile.
        """
        row = self.database.row("SELECT * FROM rollouts WHERE endpoint = ? AND number = ?", name, number)
        if row is None:
            raise NotFound(f"endpoint `{name}` was deleted meanwhile", code="endpoint_not_found")
        return Rollout.from_row(row)

    def rollouts(self, name: str) -> Sequence[Rollout]:
        """Return the rollouts of an endpoint, the newest first."""
        rows = self.database.rows("SELECT * FROM rollouts WHERE endpoint = ? ORDER BY number DESC", name)
        return [Rollout.from_row(row) for row in rows]

    def current_deployment(self, record: EndpointRecord) -> Deployment | None:
        """Return what serves, or, if nothing did yet, what is to; None: nothing was deployed."""
        number = record.current or record.wanted
        if number is None:
            newest = self.deployments(record.name)
            return newest[0] if newest else None
        return self.deployment(record.name, self.rollout(record.name, number).deployment)

    def before_current(self, record: EndpointRecord) -> int | None:
        """Return the number of the deployment that served before the one that does; None: there was none."""
        served = [one for one in self.rollouts(record.name) if one.state in (states.SERVING, states.REPLACED)]
        current = served[0].deployment if served else None
        return next((one.deployment for one in served if one.deployment != current), None)

    def with_model(self, model_id: int) -> Sequence[str]:
        """Return the endpoints with a deployment of this version of a model."""
        rows = self.database.rows("SELECT DISTINCT endpoint FROM deployments WHERE model_id = ? ORDER BY endpoint", model_id)
        return [row["endpoint"] for row in rows]

    def with_version(self, version_id: int) -> Sequence[str]:
        """Return the endpoints with a deployment that is in this version of an environment."""
        rows = self.database.rows(
            "SELECT DISTINCT endpoint FROM deployments WHERE version_id = ? ORDER BY endpoint", version_id
        )
        return [row["endpoint"] for row in rows]

    # -- inside ------------------------------------------------------------------------------------------------------------------

    def _roll_out(self, name: str, deployment: int, kind: str, replicas: int | None = None) -> Rollout:
        row = self.database.row("SELECT max(number) AS highest FROM rollouts WHERE endpoint = ?", name)
        number = ((row["highest"] if row else None) or 0) + 1
        self.database.execute(
            "UPDATE rollouts SET state = ?, ended = ? WHERE endpoint = ? AND state = ?",
            states.SUPERSEDED,
            self._moment(),
            name,
            states.STARTING,
        )
        self.database.execute(
            "INSERT INTO rollouts (endpoint, number, deployment, kind, state, asked, replicas) VALUES (?, ?, ?, ?, ?, ?, ?)",
            name, number, deployment, kind, states.STARTING, self._moment(), replicas,
        )  # fmt: skip
        self._set(name, wanted=number, trouble=None)
        return self.rollout(name, number)

    def _end_rollout(self, name: str, number: int, state: str, code: str | None = None, reason: str | None = None) -> None:
        ended = None if state == states.REPLACED else self._moment()  # it began to serve when it did
        self.database.execute(
            "UPDATE rollouts SET state = ?, code = ?, reason = ?, ended = coalesce(?, ended) WHERE endpoint = ? AND number = ?",
            state, code, reason, ended, name, number,
        )  # fmt: skip

    @staticmethod
    def _changeable(record: EndpointRecord) -> None:
        if record.deleting:
            raise Conflict(f"endpoint `{record.name}` is being deleted", code="endpoint_deleting",
                           hint="try again in a moment: the name is free then")  # fmt: skip

    def _put_keys(self, name: str, keys: Sequence[ApiKey]) -> None:
        self._set(name, keys=json.dumps([asdict(key) for key in keys]))

    def _set(self, name: str, **columns: Any) -> None:
        names = ", ".join(f"{column} = ?" for column in columns)
        self.database.execute(f"UPDATE endpoints SET {names} WHERE name = ?", *columns.values(), name)  # noqa: S608 - names from this module

    def _moment(self) -> str:
        return moment_text(self._now())
