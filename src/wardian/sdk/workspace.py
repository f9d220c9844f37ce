"""The workspace: where environments, runs and logins of a piece of work are kept."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.bootstrap import Parts
from wardian.events import silent
from wardian.sdk.environments import EnvironmentCollection
from wardian.settings import Settings
from wardian.workspace.version import EnvironmentVersion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from wardian.definition.environment import Environment
    from wardian.events import Listener
    from wardian.run.configuration import Resources, RunConfiguration
    from wardian.sdk.builds import BuildCollection
    from wardian.sdk.catalogue import CuratedCollection
    from wardian.sdk.endpoint import Endpoint
    from wardian.sdk.endpoints import EndpointCollection
    from wardian.sdk.images import ImageCollection
    from wardian.sdk.models import Model, ModelCollection
    from wardian.sdk.runs import Run, RunCollection
    from wardian.sdk.targets import TargetCollection
    from wardian.serving.deployment import DeploymentConfiguration, InferenceConfiguration
    from wardian.workspace.secrets import Secrets


class Workspace:
    """A workspace on this machine: records in SQLite, no server.

    Nothing is printed. A listener hears of progress, notices and warnings (``wardian.events.Event``).
    """

    def __init__(self, settings: Settings, *, listener: Listener = silent, environ: Mapping[str, str] | None = None):
        self._parts = Parts(settings, listener=listener, environ=environ)

    @classmethod
    def open(
        cls, name: str | None = None, *, home: str | PathLike[str] | None = None, listener: Listener = silent
    ) -> Workspace:
        """Open a workspace: the one called ``name``, or the one in use. ``default`` is made when it is first used.

        Args:     home: instead of ``WARDIAN_HOME``.  listener: hears what goes on.
        Raises:   NotFound: there is no such workspace.  InvalidSetting.
        """
        from dataclasses import replace

        settings = Settings.load(home=Path(home).absolute() if home is not None else None)
        if name is not None:
            settings = replace(settings, workspace=name)
        workspace = cls(settings, listener=listener)
        _ = workspace._parts.database
        return workspace

    @staticmethod
    def list_all(*, home: str | PathLike[str] | None = None) -> Sequence[Any]:
        """Return the workspaces of this home; see ``wardian.workspace.workspaces``."""
        from wardian.sdk.workspaces import workspaces

        return workspaces(Settings.load(home=Path(home).absolute() if home is not None else None)).list()

    @property
    def name(self) -> str:
        """The workspace's name."""
        return self._parts.settings.workspace

    @property
    def settings(self) -> Settings:
        """What configures it."""
        return self._parts.settings

    @property
    def parts(self) -> Parts:
        """The parts of the house behind it: for tools of Wardian's own; may change with any release."""
        return self._parts

    @cached_property
    def environments(self) -> EnvironmentCollection:
        """Its environments."""
        return EnvironmentCollection(self._parts)

    @cached_property
    def runs(self) -> RunCollection:
        """Its runs."""
        from wardian.sdk.runs import RunCollection

        return RunCollection(self._parts, self.environments)

    @cached_property
    def images(self) -> ImageCollection:
        """Images of its environments."""
        from wardian.sdk.images import ImageCollection

        return ImageCollection(self._parts, self.environments)

    @cached_property
    def builds(self) -> BuildCollection:
        """What was solved, installed, built and pushed here."""
        from wardian.sdk.builds import BuildCollection

        return BuildCollection(self._parts)

    @cached_property
    def models(self) -> ModelCollection:
        """Its models."""
        from wardian.sdk.models import ModelCollection

        return ModelCollection(self._parts, self.environments)

    @cached_property
    def endpoints(self) -> EndpointCollection:
        """Its endpoints."""
        from wardian.sdk.endpoints import EndpointCollection

        return EndpointCollection(self._parts, self.environments, self.models)

    @cached_property
    def targets(self) -> TargetCollection:
        """Its targets: places to run, by name."""
        from wardian.sdk.targets import TargetCollection

        return TargetCollection(self._parts)

    @cached_property
    def catalogue(self) -> CuratedCollection:
        """The curated environments."""
        from wardian.sdk.catalogue import CuratedCollection

        return CuratedCollection(self._parts, self.environments)

    @property
    def secrets(self) -> Secrets:
        """Its stored logins."""
        return self._parts.secrets

    def submit(
        self, environment: Environment | EnvironmentVersion | str, script: str | None = None, arguments: Sequence[str] = (), *,
        module: str | None = None, command: Sequence[str] | None = None, source: str | PathLike[str] | None = ".",
        inputs: Mapping[str, str | PathLike[str]] | None = None, variables: Mapping[str, str | None] | None = None, experiment: str = "default",
        timeout_s: float | None = None, resources: Resources | None = None, target: str | None = None, options: Mapping[str, str] | None = None,
        detach: bool = True,
    ) -> Run:  # fmt: skip
        """Run a script in an environment on this machine or in a container of it; return at once, unless ``detach`` is False.

        An ``Environment`` is registered first: under its name, or anonymously if it has none [S9].

        Args:     environment: a definition, a version, or a reference (``sklearn:4``).
                  script: a Python script below ``source``; or ``module`` or ``command`` instead.
                  source: the directory that the run gets a copy of; None: an empty one.
                  inputs: NAME → path, given by reference, read-only.
                  variables: NAME → value; None passes the caller's own NAME on.
                  timeout_s: seconds, > 0; None: no limit.
                  target: ``local`` | ``podman`` | ``docker`` | ``spark`` | one of ``Workspace.targets``; None: a container for a definition that is nothing but an image, Spark for one with a Spark section, else here.
                  options: what the target alone understands: ``shm`` and ``arguments`` of podman and docker, ``master``, ``environment`` and ``spark.*`` of spark.
                  detach: False runs it within this call, and returns when it has ended.
        Raises:   InvalidInput: nothing to run, or a wrong value.  NotFound.  What locking and installing raise, if not detached.
        """
        from wardian.run.configuration import Command, Resources, RunConfiguration

        version = self._version(environment)
        configuration = RunConfiguration(
            target=target or self.runs.usual_target(version), command=Command.of(script=script, module=module, command=command, arguments=arguments),
            source=Path(source).absolute() if source is not None else None,
            inputs={key: Path(value).absolute() for key, value in (inputs or {}).items()},
            variables=dict(variables or {}), experiment=experiment, timeout_s=timeout_s, resources=resources or Resources(),
            options=dict(options or {}),
        )  # fmt: skip
        return self.submit_configuration(version, configuration, detach=detach)

    def submit_configuration(
        self, environment: Environment | EnvironmentVersion | str, configuration: RunConfiguration, *, detach: bool = True
    ) -> Run:
        """Submit a whole run configuration [S4]; see ``submit``."""
        return self.runs.submit(self._version(environment), configuration, detach=detach)

    def deploy(
        self, name: str, model: Model | str | None = None, *, entry: str | None = None, source: str | PathLike[str] | None = None,
        environment: Environment | EnvironmentVersion | str | None = None, inference: InferenceConfiguration | None = None,
        configuration: DeploymentConfiguration | None = None, authenticated: bool = True, wait: bool = True,
    ) -> Endpoint:  # fmt: skip
        """Deploy a model to an endpoint: make it, or replace what serves there, without a failed request.

        Args:     model: a version, or its reference (``churn:2``).
                  entry: a script below ``source`` with ``init()`` and ``run(data)``, or ``module:function``; None: models of MLflow and
                  scikit-learn need none.
                  source: what the deployment gets a copy of; None: the current directory, if there is an ``entry``.
                  environment: None: the very version that the model was trained with. The object that was submitted will do.
                  inference: the three of them in one, in their place.
                  configuration: where and how it runs; None: one replica on this machine.
                  authenticated: an API key is made with the endpoint: ``Endpoint.key``, known to nobody else.
                  wait: until it serves.
        Raises:   as ``EndpointCollection.deploy``.
        """
        from wardian.serving.deployment import InferenceConfiguration

        whole = InferenceConfiguration.of(inference, entry=entry, source=source, environment=environment)
        return self.endpoints.deploy(
            name, model, inference=whole, configuration=configuration, authenticated=authenticated, wait=wait
        )

    def _version(self, environment: Environment | EnvironmentVersion | str) -> EnvironmentVersion:
        if isinstance(environment, str):
            return self.environments.get(environment)
        if isinstance(environment, EnvironmentVersion):
            return environment
        return self.environments.register(environment)[0]

    def __repr__(self) -> str:
        return f"Workspace({self.name!r}, home={str(self.settings.home)!r})"
