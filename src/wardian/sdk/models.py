"""Models: registered, found again, with what they were trained with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import NotFound
from wardian.workspace.page import Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.lock.lock import Lock
    from wardian.run.record import RunRecord
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.model_packaging import ModelPackaging, Packaged
    from wardian.sdk.runs import Run
    from wardian.sdk.workspace import Workspace
    from wardian.serving.deployment import InferenceConfiguration
    from wardian.serving.mlflow import MlflowModel
    from wardian.workspace.model_version import Lineage, ModelFacts, ModelVersion
    from wardian.workspace.version import EnvironmentVersion, LabelMove


@dataclass(frozen=True)
class Model:
    """A version of a model, as its workspace knows it: files that never change, and what they were trained with."""

    record: ModelVersion
    collection: ModelCollection = field(repr=False, compare=False)

    @classmethod
    def register(
        cls, workspace: Workspace, path: str | PathLike[str], name: str, *, run: Run | str | None = None, version: str | None = None,
        description: str = "", tags: Mapping[str, str] | None = None,
    ) -> Model:  # fmt: skip
        """Register the file or directory at ``path`` as a model; see ``ModelCollection.register``."""
        return workspace.models.register(path, name, run=run, version=version, description=description, tags=tags)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.record.name

    @property
    def version(self) -> str:
        """Its version."""
        return self.record.version

    @property
    def reference(self) -> str:
        """What people call exactly this: ``churn:2``. What it was trained with is ``model:churn:2``."""
        return self.record.reference

    @property
    def digest(self) -> Digest:
        """Of its files: names, contents and links."""
        return self.record.facts.digest

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, in the order of the alphabet."""
        return self.record.labels

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""
        return self.record.tags

    @property
    def format(self) -> str:
        """``mlflow``, ``sklearn`` (a pickled estimator, by the name of the file) or ``custom``."""
        return self.record.facts.format

    @property
    def mlflow(self) -> MlflowModel | None:
        """What an MLflow model says of itself; None: it is none."""
        from wardian.serving.mlflow import MlflowModel

        document = self.record.facts.details.get("mlflow")
        return MlflowModel.from_document(document) if document is not None else None

    @property
    def run_id(self) -> str | None:
        """The run that made it, which may have been deleted since; None: it was registered without one."""
        return self.record.lineage.run_id

    @property
    def lock_digest(self) -> str | None:
        """Of the packages that it was trained with; None: no run, or a user-managed environment."""
        return self.record.lineage.lock_digest

    @property
    def image_digest(self) -> str | None:
        """Of the image that it was trained in; None: it was none."""
        return self.record.lineage.image_digest

    def run(self) -> Run | None:
        """Return the run that made it; None: it was registered without one, or the run has been deleted."""
        return self.collection.run_of(self.record)

    def environment(self) -> EnvironmentVersion:
        """Return the exact version of the environment that it was trained with.

        Raises:   NotFound: ``model_without_environment``: it was registered without a run.
        """
        return self.collection.environment_of(self.record)

    def lock(self) -> Lock | None:
        """Return the lock that it was trained with; None: there was none."""
        return self.collection.lock_of(self.record)

    def path(self) -> Path:
        """Return where it is kept: its file or directory. Nobody may write there.

        Raises:   NotFound: ``model_files_missing``.
        """
        return self.directory() / self.record.facts.file_name

    def directory(self) -> Path:
        """Return the directory that holds its file or directory and nothing else: what scripts for Azure ML expect as ``AZUREML_MODEL_DIR``.

        Raises:   NotFound: ``model_files_missing``.
        """
        return self.collection.directory_of(self.record)

    def download(self, target: str | PathLike[str] = ".", *, force: bool = False) -> Path:
        """Copy its file or directory into the directory ``target``; return the copy, which may be written to. What is kept is checked.

        Args:     force: replace what is there under its name.
        Raises:   Conflict: ``path_exists``; ``model_damaged``: what is kept is no longer what was registered.  DiskFull, Denied.
        """
        return self.collection.download(self, target, force=force)

    def package(
        self, *, entry: str | None = None, source: str | PathLike[str] | None = None,
        environment: Environment | EnvironmentVersion | str | None = None, inference: InferenceConfiguration | None = None,
        variables: Mapping[str, str] | None = None, platform: str | None = None, to: str | None = None, output: str | None = None,
        context: str | PathLike[str] | None = None,
    ) -> Packaged:  # fmt: skip
        """Make an image that serves this model by itself: the environment's own image, with layers for the server, the model and the script.

        Nothing is solved or installed, and no layer of the environment is made anew. The same input is the same image.

        Args:     entry: a script with ``init()`` and ``run(data)`` below ``source``, or ``module:function``; None: MLflow and scikit-learn need none.
                  source: the directory of the entry; None: the current one.
                  environment: a definition, a version or a reference; None: what it was trained with.
                  inference: the three of them in one, in their place: what ``Workspace.deploy`` takes.
                  variables: of the script; one that looks like a secret is refused.
                  to: ``HOST/REPOSITORY:TAG``.  output: a file, which docker and podman load; or ``oci-archive:FILE``, ``oci:DIR``.
                  context: a new directory for a build context, in place of an image. None of the three: this machine's store.
        Raises:   NotFound: ``model_without_environment``, ``no_such_path``.  InvalidInput: ``entry_missing``, ``bad_entry``, ``secret_in_image``.
                  Conflict: ``serving_conflict``, ``model_damaged``, ``path_exists``.  What building and pushing images raise.
        """
        if inference is not None:
            from wardian.serving.deployment import InferenceConfiguration

            whole = InferenceConfiguration.of(inference, entry=entry, source=source, environment=environment)
            entry, source, environment = whole.entry, whole.source, whole.environment
        return self.collection.packaging.package(self, entry=entry, source=source, environment=environment, variables=variables, platform=platform,
                                                 to=to, output=output, context=context)  # fmt: skip

    def __str__(self) -> str:
        return self.reference


class ModelCollection:
    """The models of a workspace.

    A reference is NAME (the newest version), NAME:VERSION or NAME@LABEL.
    """

    def __init__(self, parts: Parts, environments: EnvironmentCollection):
        self._parts = parts
        self._environments = environments

    # -- register ----------------------------------------------------------------------------------------------------

    def register(
        self, path: str | PathLike[str], name: str, *, run: Run | str | None = None, version: str | None = None, description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Model:  # fmt: skip
        """Keep a copy of the file or directory at ``path`` as a version of the model ``name``; return that version.

        If the newest version has these files, it is returned as it is, unless ``run`` was given other packages than its run. Links within
        a directory stay links. Nothing is loaded: a pickle is known by its name. Safe between processes, and whenever one is killed.

        Args:     path: ``run:ID/PATH`` is that path of a run, which is then ``run``.
                  run: the run that made it, or its id: the model remembers its environment, lock and image. ``path`` is looked for in the
                  run's outputs first, then among its other files.
                  version: exactly this one; None: the next number.
        Raises:   InvalidInput: ``link_leaves_tree``, ``broken_link``, ``special_file``, ``bad_path``, ``empty_model``, ``model_too_large``, ``bad_name``.
                  InvalidDefinition: all faults of an MLflow model.  NotFound: no such path, no such run.
                  Conflict: ``version_exists``; ``run_active``: the run has not ended; ``model_changed``.  DiskFull, Denied, Unavailable.
        """
        return self.ensure(path, name, run=run, version=version, description=description, tags=tags)[0]

    def ensure(
        self, path: str | PathLike[str], name: str, *, run: Run | str | None = None, version: str | None = None, description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> tuple[Model, bool]:  # fmt: skip
        """Do what ``register`` does; return the version, and whether it was added."""
        from wardian.sdk.model_registering import ModelRegistering
        from wardian.workspace.models import NewModel, check_model_name

        check_model_name(name)

        def asked(facts: ModelFacts, lineage: Lineage) -> NewModel:
            return NewModel(name, facts, lineage, version, description, tags or {})

        registering = ModelRegistering(self._parts, self._run)
        record, added = registering.register(path, run if run is None or isinstance(run, str) else run.id, asked)
        return self._of(record), added

    def _run(self, run_id: str) -> RunRecord:
        """Return the record of a run as it is now; one that is elsewhere is asked after."""
        from wardian.sdk.runs import RunCollection

        runs = RunCollection(self._parts, self._environments)
        newest = next(iter(runs.list(limit=1)), None) if run_id == "latest" else None
        return (newest or runs.get(run_id)).record

    # -- look up -----------------------------------------------------------------------------------------------------

    def get(self, reference: str) -> Model:
        """Return the version that ``reference`` means.

        Raises:   NotFound: none; the hint names what comes close.  InvalidReference.
        """
        return self._of(self._parts.models.get(reference))

    def find(self, reference: str) -> Model | None:
        """Return the version that ``reference`` means, or None."""
        found = self._parts.models.find(reference)
        return self._of(found) if found is not None else None

    def list(self, *, limit: int = 50, after: str | None = None) -> Page[Model]:
        """Return a page of the newest versions, by name."""
        page = self._parts.models.list(limit=limit, after=after)
        return Page(tuple(self._of(record) for record in page), page.next)

    def versions(self, name: str, *, limit: int = 50, after: str | None = None) -> Page[Model]:
        """Return a page of the versions of ``name``, the newest first.

        Raises:   NotFound: no such name.
        """
        page = self._parts.models.versions(name, limit=limit, after=after)
        return Page(tuple(self._of(record) for record in page), page.next)

    def of_run(self, run_id: str) -> Sequence[Model]:
        """Return the models that were registered from a run, the newest first."""
        return [self._of(record) for record in self._parts.models.of_run(run_id)]

    # -- metadata ----------------------------------------------------------------------------------------------------

    def label(self, reference: str, label: str) -> Model:
        """Move ``label`` to the version that ``reference`` means; where it was before stays in its history."""
        return self._of(self._parts.models.label(reference, label))

    def remove_label(self, name: str, label: str) -> None:
        """Take a label away."""
        self._parts.models.remove_label(name, label)

    def label_history(self, name: str, label: str) -> tuple[LabelMove, ...]:
        """Return where a label was, the newest move first."""
        return self._parts.models.label_history(name, label)

    def update(self, reference: str, *, description: str | None = None, tags: Mapping[str, str] | None = None) -> Model:
        """Change description and tags; no new version."""
        return self._of(self._parts.models.update(reference, description=description, tags=tags))

    def delete(self, reference: str) -> None:
        """Delete a version, or a name with all of them, and the files that no other version has; for ever.

        Raises:   Conflict: ``in_use``: labels or endpoints refer to it.
        """
        self._parts.models.delete(reference)

    @property
    def root(self) -> Path:
        """The directory of the files of all models."""
        return self._parts.models.files.root

    @property
    def packaging(self) -> ModelPackaging:
        """Makes images of models."""
        from wardian.sdk.model_packaging import ModelPackaging

        return ModelPackaging(self._parts, self._environments)

    # -- files and lineage -------------------------------------------------------------------------------------------

    def directory_of(self, record: ModelVersion) -> Path:
        """Return the directory that holds a model's file or directory; see ``Model.directory``."""
        found = self._parts.models.files.find(record.facts.digest)
        if found is None or not (found / record.facts.file_name).exists():
            raise NotFound(f"the files of model {record} are gone from {self._parts.models.files.root}", code="model_files_missing",
                           hint="restore the directory from a backup, or register the same files again")  # fmt: skip
        return found

    def environment_of(self, record: ModelVersion) -> EnvironmentVersion:
        """Return what a model was trained with; see ``Model.environment``."""
        return environment_of(self._parts, record)

    def run_of(self, record: ModelVersion) -> Run | None:
        """Return the run that made a model; see ``Model.run``."""
        from wardian.sdk.runs import RunCollection

        if record.lineage.run_id is None:
            return None
        try:
            return RunCollection(self._parts, self._environments).get(record.lineage.run_id)
        except NotFound:
            return None

    def lock_of(self, record: ModelVersion) -> Lock | None:
        """Return the lock that a model was trained with."""
        lineage = record.lineage
        return (
            self._parts.locks.find(lineage.lock_digest, definition_hash=lineage.definition_hash)
            if lineage.lock_digest
            else None
        )

    def download(self, model: Model, target: str | PathLike[str], *, force: bool = False) -> Path:
        """Copy a model; see ``Model.download``."""
        from wardian.sdk.model_registering import download_model

        return download_model(model.record, model.path(), Path(target), force=force)

    def _of(self, record: ModelVersion) -> Model:
        return Model(record, self)


def environment_of(parts: Parts, record: ModelVersion) -> EnvironmentVersion:
    """Return the version of the environment that a model was trained with.

    Raises:   NotFound: ``model_without_environment``; the hint says what to do.
    """
    lineage = record.lineage
    if lineage.version_id is not None:
        return parts.environments.by_id(lineage.version_id)
    kept = parts.models.files.root / record.facts.digest / record.facts.file_name
    if lineage.run_id is not None:
        raise NotFound(f"what model {record} was trained with is not known: run `{lineage.run_id}` ended before it had an environment",
                       code="model_without_environment", hint="name an environment instead: NAME, NAME:VERSION or NAME@LABEL")  # fmt: skip
    hint = f"register it again with its run: `wardian model create {record.name} PATH --run ID`"
    if record.facts.details.get("mlflow", {}).get("environment_files"):
        hint += f"; or take the one that MLflow saved with it: `wardian env create {record.name} -f {kept}`"
    raise NotFound(f"what model {record} was trained with is not known: it was registered without a run",
                   code="model_without_environment", hint=hint)  # fmt: skip
