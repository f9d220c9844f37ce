"""Images that serve: the image of an environment as it is, with a layer for the server, one for a model and one for a script."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.definition.platform import this_platform
from wardian.errors import InvalidInput, NotFound
from wardian.events import Event
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.sdk.image_base import ImageBases
from wardian.sdk.image_making import ImageMaker
from wardian.serving.image_layer import APP_DIRECTORY, LABELS, MODEL_DIRECTORY, Start, build_served_image, served_image_key
from wardian.serving.layer_tasks import (
    APP,
    EXECUTABLE,
    FILE,
    LINK,
    MODEL,
    LayerPython,
    TreeFile,
    read_contents,
    serve_task,
    source_digest,
    tree_task,
)
from wardian.serving.model_tree import digest_of_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.image.base import Base
    from wardian.image.key import ImageScheme
    from wardian.image.layer_cache import LayerTask
    from wardian.image.store import ImageStore
    from wardian.run.source_tree import SourceTree
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.image_making import EnvironmentImage
    from wardian.sdk.serving_layer import ServingLayers
    from wardian.serving.extension import Extension
    from wardian.serving.image_layer import ServedImage
    from wardian.serving.model_tree import ModelEntry, ModelTree
    from wardian.workspace.version import EnvironmentVersion

TAG = "s-"  # of served images in this machine's store: made anew when they are needed


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that goes into an image.

    Attributes:
        tree: its file or directory, in a directory that holds nothing else: that becomes ``/opt/model``.
        digest: of its files: names, contents and links.
        reference: ``churn:2``.
    """

    tree: ModelTree
    digest: Digest
    reference: str = ""

    @property
    def name(self) -> str:
        """What its file or directory is called."""
        return self.tree.name

    @property
    def files(self) -> list[TreeFile]:
        """All that is in it, below the directory that holds it."""
        return [TreeFile(self._path(entry), entry.kind, entry.size_bytes, entry.target) for entry in self.tree.entries]

    def digest_of(self, contents: Mapping[str, str]) -> Digest:
        """Return what its digest is with these contents: sha256 by path."""
        return digest_of_model(self.tree, lambda entry: contents.get(self._path(entry), ""))

    def _path(self, entry: ModelEntry) -> str:
        return f"{self.tree.name}/{entry.path}" if entry.path else self.tree.name


@dataclass(frozen=True, slots=True)
class Service:
    """What an image serves.

    Attributes:
        kind: ``script`` | ``mlflow`` | ``sklearn``.
        entry: a path below ``source``, or ``module:function``; None: the kind needs none.
        source: the directory of the entry; its ignore files count as for snapshots.  leave_out: what of it stays here all the same.
        variables: of the script, over those of the environment's definition.
        settings: further variables of the server: ``WARDIAN_SERVE_WORKERS`` …
        identity: what the server tells of itself; labels of the image too.
    """

    kind: str = "script"
    entry: str | None = None
    source: Path | None = None
    leave_out: tuple[Path, ...] = ()
    model: ServedModel | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a served image stands on."""

    image: EnvironmentImage
    base: Base
    extension: Extension
    python: str  # in the image
    maker: LayerPython | None


class ServedImages:
    """Makes served images of a workspace's environments. Nothing is solved that its environment has solved, and no layer of it is made."""

    def __init__(self, parts: Parts, environments: EnvironmentCollection, layers: ServingLayers):
        self._parts = parts
        self._environments = environments
        self._layers = layers

    def build(
        self, version: EnvironmentVersion, service: Service, *, platform: Platform | None = None, target: ImageStore | None = None,
        tags: Sequence[str] = (), ground: Ground | None = None,
    ) -> ServedImage:  # fmt: skip
        """Return the image that serves ``service`` in the environment ``version``; the environment's own image is built first if there is none.

        The same input is the same image. What ``target`` has is not sent again.

        Args:     target: None: this machine's store.  tags: there; none in this machine's store: one of its own.
                  ground: as ``ground`` gave it; None: it is looked for.
        Raises:   Conflict: as ``ServingLayers``.  InvalidInput: ``secret_in_image``; what a snapshot's source raises.
                  BuildFailed, BadArchive, Unavailable, Denied, DiskFull.
        """
        images = self._parts.images
        with self._parts.prefixes.work_beside():  # clean-ups leave archives and layers alone
            ground = ground or self.ground(version, platform or this_platform())
            tasks, start = self.tasks(version, service, ground), self.start(version, service, ground)
            key = served_image_key(ground.base.digest, tasks, start, images.scheme)
            place = target or images.local
            named = [*tags] or ([f"{TAG}{key}"] if place is images.local else [])
            self._parts.listener(Event("phase", f"making the image that serves in {version}"))
            return build_served_image(
                ground.base, tasks, start, images.scheme, images.workshop, images.local, place, named, self._parts.listener
            )

    def ground(self, version: EnvironmentVersion, platform: Platform) -> Ground:
        """Return what an image stands on: the environment's image, its serving layer, and where its Python is."""
        image = ImageMaker(self._parts).ensure(version, platform)
        store = self._parts.images.store_named(image.store)
        if store is None:
            raise NotFound(f"{image.store}, which has the image of {version}, is gone", code="image_not_found",
                           hint=f"`wardian env build {version} --image`")  # fmt: skip
        base = _as_base(store, image)
        if version.kind == "user":
            observed = self._observed(version)
            extension = self._layers.extension(version, platform=platform, observed=observed)
            return Ground(image, base, extension, str(observed["executable"]), None)
        extension = self._layers.extension(version, platform=platform, lock_digest=image.lock_digest)
        return Ground(image, base, extension, f"{ENVIRONMENT_PATH}/bin/python", self._maker(version, platform, extension))

    def tasks(self, version: EnvironmentVersion, service: Service, ground: Ground) -> list[LayerTask]:
        """Return the layers that go on the environment's image, the least likely to change first."""
        images = self._parts.images
        scheme, shop = images.scheme, images.workshop
        tasks = [serve_task(ground.extension, scheme, ground.maker, lambda: self._layers.archives(version, ground.extension),
                            place=shop.place, jobs=shop.jobs)]  # fmt: skip
        if (model := service.model) is not None:
            name = f"model {model.reference or model.name}"
            tasks.append(
                tree_task("model", MODEL, name, model.tree.root.parent, model.files, model.digest, scheme, model.digest_of)
            )
        if service.source is not None:
            tasks.append(source_task(self.scan(service.source, service.leave_out), scheme))
        return tasks

    def scan(self, source: Path, leave_out: Sequence[Path] = ()) -> SourceTree:
        """Return what of a source directory goes along: as much as into a snapshot."""
        from wardian.run.source_tree import Limits, scan

        around = self._parts.surroundings
        return scan(source, Limits(around.limit_bytes, around.limit_files), leave_out=(*around.leave_out, *leave_out),
                    home=around.home)  # fmt: skip

    @staticmethod
    def start(version: EnvironmentVersion, service: Service, ground: Ground) -> Start:
        """Return how the image starts.

        Raises:   InvalidInput: ``secret_in_image``: a variable of the service looks like a secret.
        """
        from wardian.run.configuration import perhaps_secret

        for name, value in service.variables.items():
            if perhaps_secret(name, value):
                raise InvalidInput(f"the variable `{name}` looks like a secret, and whoever has an image can read it", code="secret_in_image",
                                   hint=f"give it when the container starts: `podman run -e {name} …`")  # fmt: skip
        identity = {"environment": str(version), "definition_hash": str(version.definition_hash), "serving_layer": str(ground.extension.digest),
                    "image_digest": str(ground.image.digest), **({"lock_digest": str(ground.image.lock_digest)} if ground.image.lock_digest else {}),
                    **service.identity}  # fmt: skip
        variables: dict[str, str] = {**version.document.get("variables", {}), **service.variables, "PYTHONUNBUFFERED": "1"}
        variables |= {"WARDIAN_SERVE_HOST": "0.0.0.0", "WARDIAN_SERVE_KIND": service.kind, **service.settings}  # noqa: S104 - of its container
        if service.entry is not None:
            variables["WARDIAN_SERVE_ENTRY"] = service.entry
        if service.source is not None:
            variables["WARDIAN_SERVE_SOURCE"] = APP_DIRECTORY
        if (model := service.model) is not None:
            variables |= {"WARDIAN_MODEL_DIR": MODEL_DIRECTORY, "AZUREML_MODEL_DIR": MODEL_DIRECTORY}
            if service.kind != "script":
                variables["WARDIAN_SERVE_MODEL"] = f"{MODEL_DIRECTORY}/{model.name}"
        variables["WARDIAN_SERVE_IDENTITY"] = json.dumps(identity, sort_keys=True)
        labels = {f"{LABELS}{key.replace('_', '-')}": value for key, value in identity.items()}
        return Start(ground.python, variables, labels)

    # -- the environment's Python --------------------------------------------------------------------------------------

    def _observed(self, version: EnvironmentVersion) -> dict[str, Any]:
        """Look at the image of a user-managed version, in the first container engine that works here."""
        from wardian.sdk.prepare import prepare_in_container

        prepared = prepare_in_container(self._parts, self._environments, version, self._parts.images.working_engine())
        with prepared.hold:
            return dict(prepared.environment.observed or {})

    def _maker(self, version: EnvironmentVersion, platform: Platform, extension: Extension) -> LayerPython | None:
        """Return the image's own interpreter as it makes byte-code; None: it does not run on this machine."""
        from wardian.image.interpreter import image_python, runnable

        lock = self._parts.locks.get(extension.parent, definition_hash=version.definition_hash)
        bases = ImageBases(self._parts)
        needs_base = lock.python is not None and lock.python.source == "host"
        on_base = bases.python(version, lock, bases.get(version, platform)) if needs_base else None
        found = image_python(lock, on_base)
        if found is None or not found.runs_here:
            return None
        shop, environment, listener = self._parts.images.workshop, version.environment, self._parts.listener

        @contextlib.contextmanager
        def command() -> Iterator[Sequence[str]]:
            installed = self._parts.installer.find(lock.install_digest, "") if found.artifact.kind == "conda" else None
            if installed is not None and installed.python:  # no need to link it anew
                yield [installed.python]
                return
            with runnable(found, lock, fetch=lambda artifacts: self._parts.fetch(environment, lock, artifacts), place=shop.place,
                          package_cache=shop.conda_packages, listener=listener) as argv:  # fmt: skip
                yield argv

        return LayerPython(found.digest, command)


def source_task(tree: SourceTree, scheme: ImageScheme) -> LayerTask:
    """Return the layer of a source directory."""
    files = [TreeFile(file.path, LINK if file.target is not None else EXECUTABLE if file.mode & 0o100 else FILE, file.size_bytes, file.target or "")
             for file in tree.files]  # fmt: skip
    digest = source_digest(files, read_contents(tree.root, files))
    return tree_task(
        "app", APP, "the entry's source", tree.root, files, digest, scheme, lambda contents: source_digest(files, contents)
    )


def _as_base(store: ImageStore, image: EnvironmentImage) -> Base:
    """Return an environment's image as what another one is put on; only its manifest and its configuration are read."""
    from wardian.image.base import Base
    from wardian.image.blob import read_config_of
    from wardian.image.oci import Index, InvalidImage, read_manifest

    found = _found(store, image.digest)
    manifest = read_manifest(found.content, found.descriptor.media_type)
    if isinstance(manifest, Index):
        raise InvalidImage(f"{image.reference} is an index of images, not one of them")
    config = read_config_of(store, manifest, image.reference)
    return Base(f"sha256:{image.digest}", image.digest, manifest, config, store)


def _found(store: ImageStore, digest: Digest) -> Any:
    found = store.find(f"sha256:{digest}")
    if found is None:
        raise NotFound(
            f"the image sha256:{digest} is gone from {store.name}",
            code="image_not_found",
            hint="build it anew: `wardian env build REF --image`",
        )
    return found
