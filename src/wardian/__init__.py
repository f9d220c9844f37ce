"""Wardian: environments for machine learning. Define once, lock, build, run, reproduce.

::

    import wardian

    workspace = wardian.Workspace.open()
    environment = wardian.Environment.from_requirements("sklearn", "requirements.txt")
    run = workspace.submit(environment, "train.py")
    run.wait()
    print(run.log(), run.environment)

Importing this package imports none of its rooms: every name below is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wardian.definition.conda_dependencies import CondaDependencies
    from wardian.definition.docker_section import BuildContext, DockerSection
    from wardian.definition.environment import Environment, PythonSection, SparkSection
    from wardian.digest import Digest
    from wardian.errors import WardianError
    from wardian.events import Event
    from wardian.lock.lock import Artifact, Lock
    from wardian.run.configuration import Command, Resources, RunConfiguration
    from wardian.sdk.endpoint import Endpoint
    from wardian.sdk.models import Model
    from wardian.sdk.runs import Run
    from wardian.sdk.workspace import Workspace
    from wardian.serving.deployment import DeploymentConfiguration, InferenceConfiguration
    from wardian.settings import Settings
    from wardian.workspace.version import EnvironmentVersion

_PLACES = {
    "Artifact": "wardian.lock.lock",
    "BuildContext": "wardian.definition.docker_section",
    "Command": "wardian.run.configuration",
    "CondaDependencies": "wardian.definition.conda_dependencies",
    "DeploymentConfiguration": "wardian.serving.deployment",
    "Digest": "wardian.digest",
    "DockerSection": "wardian.definition.docker_section",
    "Endpoint": "wardian.sdk.endpoint",
    "Environment": "wardian.definition.environment",
    "EnvironmentVersion": "wardian.workspace.version",
    "Event": "wardian.events",
    "InferenceConfiguration": "wardian.serving.deployment",
    "Lock": "wardian.lock.lock",
    "Model": "wardian.sdk.models",
    "PythonSection": "wardian.definition.environment",
    "Resources": "wardian.run.configuration",
    "Run": "wardian.sdk.runs",
    "RunConfiguration": "wardian.run.configuration",
    "Settings": "wardian.settings",
    "SparkSection": "wardian.definition.environment",
    "WardianError": "wardian.errors",
    "Workspace": "wardian.sdk.workspace",
}

__all__ = [
    "Artifact", "BuildContext", "Command", "CondaDependencies", "DeploymentConfiguration", "Digest", "DockerSection", "Endpoint", "Environment",
    "EnvironmentVersion", "Event", "InferenceConfiguration", "Lock", "Model", "PythonSection", "Resources", "Run",
    "RunConfiguration", "Settings", "SparkSection", "WardianError", "Workspace",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module `wardian` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
