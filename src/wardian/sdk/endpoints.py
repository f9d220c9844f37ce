"""Endpoints: models that answer on a port, deployed, watched, changed, asked."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.errors import Conflict, NotFound, RunFailed, Unavailable, WardianError
from wardian.events import Event
from wardian.sdk.endpoint import Endpoint
from wardian.sdk.endpoint_keeper import is_kept, start_keeper
from wardian.sdk.endpoint_keys import first_key, key_at_hand, rotate
from wardian.sdk.endpoint_state import EndpointStates
from wardian.serving.deployment import DeploymentConfiguration, InferenceConfiguration, check_endpoint_name
from wardian.serving.directory import EndpointDirectory
from wardian.tools import processes
from wardian.workspace import endpoint_record as states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.models import Model, ModelCollection
    from wardian.workspace.endpoint_record import Deployment, EndpointRecord, Rollout
    from wardian.workspace.endpoints import Endpoints

_SHORTEST_S, _LONGEST_S = 0.01, 0.05


class EndpointCollection:
    """The endpoints of a workspace."""

    def __init__(self, parts: Parts, environments: EnvironmentCollection, models: ModelCollection):
        self._parts = parts
        self.environments = environments
        self.models = models

    @property
    def store(self) -> Endpoints:
        """Their records."""
        return self._parts.endpoints

    @property
    def conditions(self) -> EndpointStates:
        """How they are."""
        return EndpointStates(self.store, self.root)

    @property
    def root(self) -> Path:
        """The directory of all endpoints."""
        return self._parts.directory / "endpoints"

    def directory(self, name: str) -> EndpointDirectory:
        """Return the directory of one endpoint."""
        return EndpointDirectory.of(self.root, name)

    # -- look up ---------------------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Endpoint:
        """Return the endpoint of that name. If its keeper was killed, it is started again first, and finds what lives.

        Raises:   NotFound: ``endpoint_not_found``.
        """
        record = self.store.get(name)
        self._keep(record)
        return Endpoint(self, self.store.get(name))

    def find(self, name: str) -> Endpoint | None:
        """Return the endpoint of that name, or None."""
        return self.get(name) if self.store.find(name) is not None else None

    def list(self) -> Sequence[Endpoint]:
        """Return all endpoints, by name. Keepers that were killed are started again."""
        for record in self.store.list():
            self._keep(record)
        return [Endpoint(self, record) for record in self.store.list()]

    # -- change ------------------------------------------------------------------------------------------------------------------

    def deploy(
        self, name: str, model: Model | str | None = None, *, inference: InferenceConfiguration | None = None,
        configuration: DeploymentConfiguration | None = None, authenticated: bool = True, wait: bool = True, kind: str = states.DEPLOY,
    ) -> Endpoint:  # fmt: skip
        """Deploy a model: make the endpoint, or replace what serves there, without a failed request.

        Args:     model: a version, or its reference; None: the code needs none.
                  inference: how it answers; None: as its format says, in the environment that it was trained with.
                  configuration: where and how it runs; None: on this machine, with as many replicas as the endpoint has, or one.
                  authenticated: of an endpoint that never served: an API key is made, which only the object that is returned holds.
                  wait: until it serves; else return when the keeper has been told.
        Raises:   InvalidInput.  NotFound.  Conflict: ``port_taken``, ``port_is_fixed``, ``keys_are_asked``, ``endpoint_deleting``, ``superseded``; of
                  the serving layer.
                  RunFailed: it does not start, with the reason: what served before serves on.  What building its environment raises.
        """
        from wardian.sdk.deploying import Deploying, staging_place
        from wardian.tools.disk import disk_errors

        check_endpoint_name(name)
        found = self.models.get(model) if isinstance(model, str) else model
        known = self.store.find(name)
        inference = inference or InferenceConfiguration()
        configuration = configuration or DeploymentConfiguration(replicas=known.replicas if known else 1)
        if known is None and configuration.port is not None:
            from wardian.serving.sockets import listen

            listen(configuration.port).close()
        key, keys = first_key(known, self._parts.now(), authenticated=authenticated)
        directory = self.directory(name)
        with self.store.database.write():  # before anything is made: whoever may only read the records is told so
            pass
        with disk_errors(self.root), Deploying(self._parts, self.environments).ready(
            name, staging_place(self.root), inference, configuration, found
        ) as ready:  # fmt: skip
            record, deployment, rollout = self.store.deploy(
                name, ready.specification, place=lambda number: ready.put_in_place(directory.deployment(number)),
                model_id=found.record.id if found else None, version_id=ready.version.id, port=configuration.port,
                replicas=configuration.replicas if known is None or configuration.replicas != known.replicas else None, keys=keys, kind=kind,
            )  # fmt: skip
            count = rollout.replicas or record.replicas
            many = f"{count} replicas" if count > 1 else "a replica"
            self._parts.listener(Event("phase", f"starting {many} of deployment {deployment.number}"))
            try:
                self._wake(record)
                if wait:
                    self.wait_for(name, rollout)
            except KeyboardInterrupt:
                if key is not None:  # the keeper goes on with it: nobody else knows the key
                    self._parts.listener(Event("notice", f"deployment {deployment.number} goes on; key {key}  (shown once)"))
                raise
        record = self.store.get(name)
        is_accepted = any(
            made in record.keys for made in keys
        )  # another process may have made the endpoint, and its key, meanwhile
        return Endpoint(self, record, key if is_accepted else None)

    def current(self, name: str) -> tuple[str | None, InferenceConfiguration, DeploymentConfiguration]:
        """Return with what an endpoint's current deployment was made, to change and deploy again: model, inference, configuration."""
        from wardian.serving.plan import Plan

        record = self.store.get(name)
        found = self.store.current_deployment(record)
        if found is None:
            raise NotFound(
                f"endpoint `{name}` has no deployment", code="deployment_not_found", hint=f"`wardian deploy {name} -m MODEL`"
            )
        specification, directory = found.specification, self.directory(name)
        plan = Plan.read(directory.plan(found.number))
        configuration = DeploymentConfiguration.from_document(specification["configuration"], plan.variables if plan else {})
        source = directory.deployment(found.number) / "source" if specification.get("source") else None
        environment = self.environments.by_id(found.version_id) if found.version_id is not None else None
        inference = InferenceConfiguration(specification.get("entry"), source, environment)
        return specification.get("model"), inference, replace(configuration, replicas=record.replicas, port=None)

    def update(
        self, name: str, model: Model | str | None, inference: InferenceConfiguration | None, configuration: DeploymentConfiguration | None, *,
        wait: bool = True,
    ) -> Endpoint:  # fmt: skip
        """Replace what serves; see ``Endpoint.update``."""
        now = self.current(name)
        return self.deploy(
            name,
            model or now[0],
            inference=inference or now[1],
            configuration=configuration or now[2],
            authenticated=bool(self.store.get(name).keys),
            wait=wait,
            kind=states.UPDATE,
        )

    def rollback(self, name: str, deployment: int | None = None, *, wait: bool = True) -> Endpoint:
        """Have an earlier deployment serve again; see ``Endpoint.rollback``."""
        number = self.store.before_current(self.store.get(name)) if deployment is None else deployment
        if number is None:
            raise NotFound(f"nothing served at endpoint `{name}` before this deployment", code="nothing_before",
                           hint=f"`wardian endpoint show {name}` lists its deployments")  # fmt: skip
        return self._roll_out(name, number, states.ROLLBACK, wait=wait)

    def restart(self, name: str, *, wait: bool = True) -> Endpoint:
        """Replace the replicas by new ones of the same deployment; see ``Endpoint.restart``."""
        return self._roll_out(name, None, states.RESTART, wait=wait)

    def scale(self, name: str, replicas: int, *, wait: bool = True) -> Endpoint:
        """Have so many replicas; see ``Endpoint.scale``."""
        _ = DeploymentConfiguration(replicas=replicas)
        record = self.store.scale(name, replicas)
        self._wake(record)
        if wait:
            self._wait(lambda: self.conditions.is_scaled(name, replicas), name, None)
            now = self.store.get(name)
            if now.replicas != replicas:
                raise Conflict(f"another number of replicas of endpoint `{name}` was asked for meanwhile: {now.replicas}", code="superseded",
                               hint=f"`wardian endpoint show {name}`")  # fmt: skip
            if (trouble := now.trouble) is not None:
                raise RunFailed(f"endpoint `{name}` has no {replicas} replicas: {trouble['reason']}", code=trouble["code"],
                                hint=f"`wardian endpoint logs {name}`")  # fmt: skip
        return Endpoint(self, self.store.get(name))

    def rotate_key(self, endpoint: Endpoint) -> str:
        """Return a new API key, accepted from now on beside the others."""
        endpoint.key = rotate(self, endpoint.name, self._parts.now())
        endpoint.refresh()
        return endpoint.key

    def drop_old_keys(self, name: str) -> Endpoint:
        """Accept the newest API key alone.

        Raises:   Conflict: ``no_keys``: the endpoint asks for none.
        """
        self.store.keep_newest_key(name)
        return self.roll_out_keys(name)

    def key_at_hand(self, record: EndpointRecord) -> str | None:
        """Return a key for who has none: see ``endpoint_keys.key_at_hand``."""
        return key_at_hand(record, self.directory(record.name), self._parts.environ)

    def delete(self, name: str) -> None:
        """Answer what was asked, end the replicas, delete records and files."""
        record = self.store.ask_delete(name)
        self._wake(record)
        self._parts.listener(Event("phase", f"ending the replicas of {name}"))
        self._wait(lambda: self.store.find(name) is None, name, None)

    def roll_out_keys(self, name: str) -> Endpoint:
        """Replace the replicas by new ones that accept the keys which are recorded.

        Raises:   RunFailed: they fail.
        """
        self._roll_out(name, None, states.KEY, wait=False)
        while True:  # one that supersedes another starts with all that was recorded before, keys among it
            try:
                self.wait_for(name, self.store.rollouts(name)[0])
                return Endpoint(self, self.store.get(name))
            except Conflict as error:
                if error.stable_code != "superseded":
                    raise

    # -- what becomes of it ----------------------------------------------------------------------------------------------------------

    def wait_for(self, name: str, rollout: Rollout, timeout_s: float | None = None) -> None:
        """Wait until a rollout serves; see ``Endpoint.wait``."""
        found = rollout

        def over() -> bool:
            nonlocal found
            found = self.store.rollout(name, rollout.number)
            return found.state != states.STARTING

        self._wait(over, name, timeout_s)
        if found.state == states.FAILED:
            raise RunFailed(f"deployment {found.deployment} of endpoint `{name}` failed: {found.reason}", code=found.code or "deployment_failed",
                            hint=f"`wardian endpoint logs {name}`", details={"endpoint": name, "deployment": found.deployment})  # fmt: skip
        if found.state == states.SUPERSEDED:
            raise Conflict(f"another deployment of endpoint `{name}` was asked for before deployment {found.deployment} served", code="superseded",
                           hint=f"`wardian endpoint show {name}`")  # fmt: skip

    def follow(self, name: str) -> Iterator[bytes]:
        """Yield the log as it grows, until the endpoint is deleted."""
        from wardian.serving.log import follow

        self.get(name)
        return follow(self.directory(name).log, lambda: self.store.find(name) is not None)

    # -- inside ------------------------------------------------------------------------------------------------------------------------

    def _roll_out(self, name: str, deployment: int | None, kind: str, *, wait: bool) -> Endpoint:
        record = self.store.get(name)
        found = self.store.deployment(name, deployment) if deployment is not None else self.store.current_deployment(record)
        if found is None:
            raise NotFound(
                f"endpoint `{name}` has no deployment", code="deployment_not_found", hint=f"`wardian deploy {name} -m MODEL`"
            )
        self._restore(found)
        rollout = self.store.roll_out(name, found.number, kind)
        self._wake(record)
        if wait:
            self.wait_for(name, rollout)
        return Endpoint(self, self.store.get(name))

    def _restore(self, deployment: Deployment) -> None:
        from wardian.sdk.deploying import Deploying

        if deployment.version_id is not None:
            version = self.environments.by_id(deployment.version_id)
            Deploying(self._parts, self.environments).restore(version, deployment.specification["configuration"]["target"])

    def _keep(self, record: EndpointRecord) -> None:
        """See to it that somebody looks after an endpoint."""
        if self.store.database.read_only or is_kept(self._parts, record.name):
            return
        if (
            not self.conditions.replicas(record)
            and not record.deleting
            and (found := self.store.current_deployment(record)) is not None
        ):
            try:
                self._restore(found)
            except WardianError as error:
                self._parts.listener(Event("warning", f"endpoint `{record.name}` cannot be started again: {error.message}"))
        start_keeper(self._parts, record.name, self.directory(record.name))

    def _wake(self, record: EndpointRecord) -> None:
        known = self.store.find(record.name)
        if known is None:
            return
        if not is_kept(self._parts, record.name):
            start_keeper(self._parts, record.name, self.directory(record.name))
        elif known.keeper is not None:
            processes.send(known.keeper, signal.SIGUSR1)

    def _wait(self, over: Callable[[], bool], name: str, timeout_s: float | None) -> None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s, looked = _SHORTEST_S, time.monotonic()
        while not over():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise Unavailable(
                    f"endpoint `{name}` is not ready after {timeout_s:g} s",
                    code="wait_timeout",
                    hint=f"`wardian endpoint show {name}`",
                )
            if now - looked > 1.0:
                looked = now
                if (record := self.store.find(name)) is not None and not is_kept(self._parts, name):
                    self._wake(record)
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_S)
