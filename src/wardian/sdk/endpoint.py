"""One endpoint, as its workspace knows it: how it is, what it serves; asked, changed, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.errors import Unavailable
from wardian.sdk.endpoint_state import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.sdk.endpoints import EndpointCollection
    from wardian.sdk.models import Model
    from wardian.serving.deployment import DeploymentConfiguration, InferenceConfiguration
    from wardian.workspace.endpoint_record import Deployment, EndpointRecord
    from wardian.workspace.version import EnvironmentVersion


class Endpoint:
    """An endpoint, as its workspace knows it. ``record`` is read anew by ``refresh``, ``status`` and ``wait``.

    Attributes:
        key: the API key, if it was made by this very object: nobody else has it.
    """

    def __init__(self, collection: EndpointCollection, record: EndpointRecord, key: str | None = None):
        self._collection = collection
        self.record = record
        self.key = key

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def url(self) -> str | None:
        """Where it answers; None: it has no port yet."""
        return self.record.url

    @property
    def scoring_url(self) -> str | None:
        """Where it scores."""
        return f"{self.record.url}/score" if self.record.url else None

    def refresh(self) -> Endpoint:
        """Read the record anew; a keeper that was killed is started again."""
        self.record = self._collection.get(self.name).record
        return self

    @property
    def status(self) -> str:
        """``starting``, ``updating``, ``serving``, ``degraded`` (not all replicas are there), ``failed`` or ``deleting``, as of now."""
        return self.refresh().state

    @property
    def state(self) -> str:
        """The same, as of the record that was read last."""
        return self._collection.conditions.state_of(self.record)

    @property
    def reason(self) -> str | None:
        """Why it failed, or why the last change did."""
        return self._collection.conditions.reason_of(self.record)

    @property
    def deployment(self) -> Deployment | None:
        """What serves, or, if nothing did yet, what was to."""
        return self._collection.store.current_deployment(self.record)

    @property
    def environment(self) -> EnvironmentVersion | None:
        """The exact version in which it serves."""
        found = self.deployment
        return self._collection.environments.by_id(found.version_id) if found and found.version_id is not None else None

    @property
    def model(self) -> Model | None:
        """The exact version of the model that it serves."""
        found = self.deployment
        reference = found.specification.get("model") if found else None
        return self._collection.models.find(reference) if reference else None

    def wait(self, timeout_s: float | None = None) -> Endpoint:
        """Wait until what was asked for last serves.

        Args:     timeout_s: seconds; None: as long as it takes.
        Raises:   RunFailed: it failed, with the reason.  Conflict: ``superseded``.  Unavailable: ``timeout_s`` passed.
        """
        rollouts = self._collection.store.rollouts(self.name)
        if rollouts:
            self._collection.wait_for(self.name, rollouts[0], timeout_s)
        return self.refresh()

    def score(self, data: Any, *, key: str | None = None, timeout_s: float | None = None) -> Any:
        """Ask it, and return what it answers: plain values where that is JSON, else bytes.

        Args:     data: plain values, which are sent as JSON (arrays and frames as lists), or bytes, which are sent as they are.
                  key: None: this object's, or that of ``WARDIAN_ENDPOINT_KEY``, or none: its owner needs none.
        Raises:   Denied: 401, 403.  InvalidInput: any other 4xx.  RunFailed: 5xx.  Unavailable: it does not answer.
        """
        from wardian.serving.scoring import score

        url = self.refresh().url
        if url is None or self.state == FAILED:
            raise Unavailable(f"endpoint `{self.name}` does not serve: {self.reason or self.state}", code="not_serving",
                              hint=f"`wardian endpoint logs {self.name}`")  # fmt: skip
        return score(url, data, name=self.name, key=key or self.token(), timeout_s=timeout_s)

    def token(self) -> str | None:
        """Return what its owner asks with: the key that is at hand, else what the keeper accepts from nobody else."""
        return self.key or self._collection.key_at_hand(self.record)

    def log(self) -> str:
        """Return what its replicas wrote so far, and what became of them."""
        path = self._collection.directory(self.name).log
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""

    def follow(self) -> Iterator[bytes]:
        """Yield that as it comes, from the beginning, until the endpoint is deleted."""
        return self._collection.follow(self.name)

    def update(
        self, model: Model | str | None = None, *, inference: InferenceConfiguration | None = None, configuration: DeploymentConfiguration | None = None,
        wait: bool = True,
    ) -> Endpoint:  # fmt: skip
        """Replace what serves: new replicas beside the old ones, which end when the new ones are ready. No request fails.

        Args:     model, inference, configuration: None: as now.
        Raises:   as ``EndpointCollection.deploy``. What served goes on if it fails.
        """
        self.record = self._collection.update(self.name, model, inference, configuration, wait=wait).record
        return self

    def rollback(self, deployment: int | None = None, *, wait: bool = True) -> Endpoint:
        """Have the deployment serve again that did before this one, or the one with this number.

        Raises:   NotFound: ``deployment_not_found``, ``nothing_before``.  RunFailed.
        """
        self.record = self._collection.rollback(self.name, deployment, wait=wait).record
        return self

    def restart(self, *, wait: bool = True) -> Endpoint:
        """Replace its replicas by new ones of the same deployment; no request fails."""
        self.record = self._collection.restart(self.name, wait=wait).record
        return self

    def scale(self, replicas: int, *, wait: bool = True) -> Endpoint:
        """Have so many replicas."""
        self.record = self._collection.scale(self.name, replicas, wait=wait).record
        return self

    def rotate_key(self) -> str:
        """Return a new API key; those of before stay valid until ``drop_old_keys``."""
        return self._collection.rotate_key(self)

    def drop_old_keys(self) -> Endpoint:
        """Accept the newest API key alone from now on."""
        self.record = self._collection.drop_old_keys(self.name).record
        return self

    def delete(self) -> None:
        """Answer what was asked, then end its replicas, and delete its records and files."""
        self._collection.delete(self.name)

    def as_document(self) -> dict[str, Any]:
        """Return all that is known of it as plain JSON values."""
        return self._collection.conditions.document_of(self.record)

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {self.state}, {self.url})"
