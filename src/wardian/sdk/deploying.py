"""From a deployment configuration to what a keeper starts: environment, serving layer, model and code, all of them in their places."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, NotFound
from wardian.events import Event
from wardian.sdk.prepare import prepare, prepare_in_container
from wardian.sdk.serving_layer import ServingLayers
from wardian.serving.plan import Plan
from wardian.serving.server_wheel import server_wheel
from wardian.tools import processes
from wardian.workspace.version import EnvironmentVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardian.bootstrap import Parts
    from wardian.run.configuration import Prepared
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.models import Model
    from wardian.serving.deployment import DeploymentConfiguration, InferenceConfiguration
    from wardian.serving.extension import Extension

CODE_FREE = ("mlflow", "sklearn")  # formats of models that need no script
SOURCE = "source"  # the copy of the code, in a deployment's directory
_SERVE, _MODEL, _APP = "/opt/serve", "/opt/model", "/opt/app"  # in a container
_SERVER = "wardian_server/__main__.py"


@dataclass(frozen=True)
class Ready:
    """A deployment that can be started.

    Attributes:
        plan: how; ``directory`` and ``source`` in it still lie where ``staged`` is.
        specification: what its record says.
        staged: a directory that becomes the deployment's.
    """

    plan: Plan
    specification: dict[str, Any]
    staged: Path
    model: Model | None
    version: EnvironmentVersion
    notes: Sequence[str] = field(default=())

    def put_in_place(self, directory: Path) -> None:
        """Make ``staged`` the deployment's directory, with the plan in it."""
        from dataclasses import replace

        plan = self.plan
        if not plan.image:
            moved = str(directory / SOURCE)
            server = {**plan.server, "source": moved} if "source" in plan.server else plan.server
            plan = replace(plan, directory=moved, server=server)
        plan = replace(
            plan,
            mounts=tuple((str(directory / SOURCE) if inside == _APP else source, inside) for source, inside in plan.mounts),
        )
        plan.write(self.staged / "plan.json")
        directory.parent.mkdir(parents=True, exist_ok=True)
        self.staged.rename(directory)


class Deploying:
    """Makes deployments ready. Nothing is solved that its environment has solved, and no layer of it is made."""

    def __init__(self, parts: Parts, environments: EnvironmentCollection):
        self._parts = parts
        self._environments = environments

    def version_of(self, inference: InferenceConfiguration, model: Model | None) -> EnvironmentVersion:
        """Return the environment's version: the one that is asked for, else what the model was trained with.

        Raises:   InvalidInput: ``no_environment``: neither is there.  NotFound: ``model_without_environment``.
        """
        asked = inference.environment
        if isinstance(asked, EnvironmentVersion):
            return asked
        if isinstance(asked, str):
            return self._environments.get(asked)
        if asked is not None:
            return self._environments.register(asked)[0]
        if model is None:
            raise InvalidInput("no environment is given, and no model that would have one", code="no_environment",
                               hint="`-e REF` names one; `-m NAME` a model, which remembers its own")  # fmt: skip
        return model.environment()

    def kind_of(self, inference: InferenceConfiguration, model: Model | None) -> str:
        """Return what scores: ``script``, or a format that needs none.

        Raises:   InvalidInput: ``entry_missing``.
        """
        if inference.entry is not None:
            return "script"
        if model is None or model.format not in CODE_FREE:
            what = f"the model {model} is of no format that" if model else "there is no model that"
            raise InvalidInput(f"{what} says by itself how it scores", code="entry_missing",
                               hint="`--entry score.py`: a script with `init()` and `run(data)`; models of MLflow and scikit-learn need none")  # fmt: skip
        return model.format

    @contextlib.contextmanager
    def ready(
        self, name: str, staging: Path, inference: InferenceConfiguration, configuration: DeploymentConfiguration, model: Model | None
    ) -> Iterator[Ready]:  # fmt: skip
        """Make a deployment ready, and keep its environment from being removed while the block runs.

        Args:     staging: where its directory is put together; what is left of that is removed afterwards.
        Raises:   what building, locking, pulling and ``ServingLayers`` raise; ``InvalidInput``: ``resources_missing``; what a snapshot raises.
        """
        from wardian.run.targets.local import LocalTarget

        kind, version = self.kind_of(inference, model), self.version_of(inference, model)
        LocalTarget().check(configuration.resources)
        if model is not None and model.record.lineage.version_id not in (None, version.id):
            self._parts.listener(
                Event("notice", f"{model} was trained with {model.record.environment}, and is served with {version}")
            )
        self._tell(f"preparing {version}")
        staging.mkdir(parents=True, mode=0o700)
        try:
            notes = self._copy_source(inference, staging / SOURCE)
            is_local = configuration.target == "local"
            if is_local:
                prepared = prepare(self._parts, self._environments, version)
            else:
                prepared = prepare_in_container(self._parts, self._environments, version, configuration.target)
            with prepared.hold:
                extension, overlay, holds = self._layer(version, prepared)
                for note in (*prepared.notes, *notes):
                    self._parts.listener(Event("notice", note))
                server = {
                    **configuration.server_document(), "kind": kind, "entry": inference.entry, "version": str(model) if model else "1",
                    "identity": self._identity(version, prepared, model, extension),
                    **({"source": str(staging / SOURCE)} if inference.source else {}),
                    **({"model": str(_model_path(model, kind))} if model else {}),
                }  # fmt: skip
                make = self._local_plan if is_local else self._container_plan
                plan = make(name, configuration, prepared, overlay, server, model, staging, holds)
                yield Ready(
                    plan,
                    self._specification(inference, configuration, prepared, version, model, kind, extension),
                    staging,
                    model,
                    version,
                )
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    # -- parts of it --------------------------------------------------------------------------------------------------------

    def _copy_source(self, inference: InferenceConfiguration, target: Path) -> tuple[str, ...]:
        if inference.source is None:
            target.mkdir()
            return ()
        from wardian.run.snapshot import copy
        from wardian.run.source_tree import Limits, scan

        around = self._parts.surroundings
        tree = scan(
            inference.source, Limits(around.limit_bytes, around.limit_files), leave_out=around.leave_out, home=around.home
        )
        if inference.entry is not None and not inference.is_function and not (inference.source / inference.entry).is_file():
            raise NotFound(f"there is no entry script {inference.source / inference.entry}", code="no_such_path",
                           hint="`--entry` is a path in the source directory, `--source DIR` or the current one")  # fmt: skip
        return copy(tree, target).notes

    def _layer(self, version: EnvironmentVersion, prepared: Prepared) -> tuple[Extension, Path, tuple[str, ...]]:
        """Return the serving layer, where it lies on this machine, and what is to be kept from being removed."""
        layers = ServingLayers(self._parts, server_wheel)
        if prepared.image is None:
            found = layers.local(version, prepared)
            key = (prepared.environment.prefix_key,) if prepared.environment.prefix_key else ()
            return found.extension, found.overlay.path, (*(f"prefix:{one}" for one in key), f"overlay:{found.overlay.key}")
        found = layers.for_container(version, prepared)
        return found.extension, found.overlay.path, (f"overlay:{found.overlay.key}",)

    def _local_plan(
        self, name: str, configuration: DeploymentConfiguration, prepared: Prepared, overlay: Path, server: dict[str, Any], model: Model | None,
        staging: Path, holds: tuple[str, ...],
    ) -> Plan:  # fmt: skip
        from wardian.run.variables import environment_variables

        variables = {
            "PYTHONUNBUFFERED": "1", **environment_variables(prepared, self._parts.environ), **configuration.variables,
            **_model_variables(str(model.directory()) if model else ""), "WARDIAN_ENDPOINT": name,
        }  # fmt: skip
        return Plan(
            "local", (prepared.python, str(overlay / _SERVER)), str(staging / SOURCE), variables, server,
            read_only=tuple(map(str, prepared.read_only)), holds=holds,
        )  # fmt: skip

    def _container_plan(
        self, name: str, configuration: DeploymentConfiguration, prepared: Prepared, overlay: Path, server: dict[str, Any], model: Model | None,
        staging: Path, holds: tuple[str, ...],
    ) -> Plan:  # fmt: skip
        from wardian.run.variables import environment_variables

        assert prepared.image is not None  # noqa: S101 - it is what a container runs
        mounts = [(str(overlay), _SERVE), (str(staging / SOURCE), _APP)]
        told = {**server, **({"source": _APP} if "source" in server else {})}
        if model is not None:
            mounts.append((str(model.directory()), _MODEL))
            told["model"] = str(Path(_MODEL) / _model_path(model, server["kind"]).relative_to(model.directory()))
        variables = {
            "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment_variables(prepared, self._parts.environ), **configuration.variables,
            **_model_variables(_MODEL if model else ""), "WARDIAN_ENDPOINT": name,
        }  # fmt: skip
        asked = configuration.resources
        return Plan(
            configuration.target, (prepared.python, f"{_SERVE}/{_SERVER}"), _APP, variables, told, holds=holds, image=prepared.image.id,
            mounts=tuple(mounts), cpus=asked.cpus, memory_bytes=asked.memory_bytes, gpus=asked.gpus,
        )  # fmt: skip

    def _identity(
        self, version: EnvironmentVersion, prepared: Prepared, model: Model | None, extension: Extension
    ) -> dict[str, Any]:
        environment = prepared.environment
        found = {
            "environment": str(version), "definition_hash": version.definition_hash, "lock_digest": environment.lock_digest,
            "image_digest": environment.image_digest, "serving_layer": str(extension.digest), "model": model.reference if model else None,
            "model_digest": str(model.digest) if model else None, "run_id": model.run_id if model else None,
        }  # fmt: skip
        return {key: value for key, value in found.items() if value}

    def _specification(
        self, inference: InferenceConfiguration, configuration: DeploymentConfiguration, prepared: Prepared, version: EnvironmentVersion,
        model: Model | None, kind: str, extension: Extension,
    ) -> dict[str, Any]:  # fmt: skip
        return {
            **self._identity(version, prepared, model, extension), "kind": kind, "entry": inference.entry,
            "source": str(inference.source) if inference.source else None, "prefix_key": prepared.environment.prefix_key,
            "serving_packages": [f"{artifact.name} {artifact.version}" for artifact in extension.artifacts],
            "configuration": configuration.as_document(),
        }  # fmt: skip

    def _tell(self, text: str) -> None:
        self._parts.listener(Event("phase", text))

    def restore(self, version: EnvironmentVersion, target: str) -> None:
        """Make the environment and the serving layer of a deployment ready again, if a clean-up has removed them since."""
        if target == "local":
            prepared = prepare(self._parts, self._environments, version)
        else:
            prepared = prepare_in_container(self._parts, self._environments, version, target)
        with prepared.hold:
            self._layer(version, prepared)


def staging_place(root: Path) -> Path:
    """Return where below ``root`` this process may put a deployment together; what killed ones left there is removed."""
    for left in root.glob(".new-*"):
        pid, _, ticks = left.name.removeprefix(".new-").rpartition("-")[0].partition("-")
        found = processes.identify(int(pid)) if pid.isdecimal() else None
        if found is None or str(found.start_ticks) != ticks:
            shutil.rmtree(left, ignore_errors=True)
    ours = processes.identify()
    return root / f".new-{ours.pid if ours else 0}-{ours.start_ticks if ours else 0}-{secrets.token_hex(8)}"


def _model_path(model: Model, kind: str) -> Path:
    """Return what the server is told: the directory that scripts expect, or, of a model that needs no script, the model itself."""
    return model.directory() if kind == "script" else model.path()


def _model_variables(directory: str) -> dict[str, str]:
    return {"WARDIAN_MODEL_DIR": directory, "AZUREML_MODEL_DIR": directory} if directory else {}
