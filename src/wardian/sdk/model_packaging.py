"""Packages a model: a self-contained image that serves it, in a registry or a file; or a build context that needs no Wardian."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.platform import get_platform, this_platform
from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.events import Event
from wardian.sdk.served_images import ServedImages, ServedModel, Service
from wardian.sdk.serving_layer import ServingLayers
from wardian.serving.build_context import ENVIRONMENT_ARCHIVE, dockerfile
from wardian.serving.layer_files import layer_entries
from wardian.serving.model_tree import copy_model, scan_model
from wardian.tools.disk import disk_errors, make_writable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.definition.platform import Platform
    from wardian.image.reference import ImageFile
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.models import Model
    from wardian.sdk.served_images import Ground
    from wardian.serving.image_layer import ServedImage
    from wardian.workspace.version import EnvironmentVersion

CODE_FREE = ("mlflow", "sklearn")  # formats of models, as ``wardian.serving.model`` names them, that need no script


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model that was packaged.

    Attributes:
        model: ``churn:2``.  environment: the version that it runs in: ``sklearn:4``.
        kind: ``script`` | ``mlflow`` | ``sklearn``.
        place: what holds it: an image's reference, a file, the directory of a build context.
        image: None: a build context.
        serving_packages: what the serving layer adds, the server among it.
    """

    model: str
    environment: str
    kind: str
    platform: str
    place: str
    image: ServedImage | None
    serving_packages: tuple[str, ...]

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        image = self.image
        return {
            "model": self.model, "environment": self.environment, "kind": self.kind, "platform": self.platform, "place": self.place,
            "digest": str(image.descriptor.digest) if image else None, "added_bytes": image.added_bytes if image else None,
            "serving_packages": list(self.serving_packages),
        }  # fmt: skip


class ModelPackaging:
    """Packages models of a workspace."""

    def __init__(self, parts: Parts, environments: EnvironmentCollection):
        self._parts = parts
        self._environments = environments
        self._layers = ServingLayers(parts)
        self._images = ServedImages(parts, environments, self._layers)

    def package(
        self, model: Model, *, entry: str | None = None, source: str | PathLike[str] | None = None, environment: Environment | EnvironmentVersion | str | None = None,
        variables: Mapping[str, str] | None = None, platform: str | None = None, to: str | None = None, output: str | None = None,
        context: str | PathLike[str] | None = None,
    ) -> Packaged:  # fmt: skip
        """Return what was packaged: see ``Model.package``."""
        if sum(one is not None for one in (to, output, context)) > 1:
            raise InvalidInput("a package goes to one place: a registry, a file or a directory", code="several_places")
        version = self._version(environment, model)
        where = get_platform(platform) if platform else this_platform()
        service = self._service(model, entry, Path(source) if source is not None else None, variables or {})
        written = Path(output.rpartition(":")[2] if output is not None else context if context is not None else "")
        service = replace(service, leave_out=(written.absolute(),))  # the file of the last time is none of the source
        if context is not None:
            return self._context(model, version, service, where, Path(context))
        place = (
            self._file(output, model) if output is not None else None
        )  # what is wrong with it is said before anything is made
        target, tags = self._registry(to)
        ground = self._images.ground(version, where)
        image = self._images.build(version, service, target=target, tags=tags, ground=ground)
        shown = f"{image.store}:{tags[0]}" if tags else image.reference
        if place is not None:
            from wardian.image.reference import ImageFile

            kept = ImageFile("oci", image.store, f"sha256:{image.descriptor.digest}")
            self._parts.listener(Event("phase", f"writing {place.path}"))
            self._parts.images.places.copy(kept, place, platform=where.name, listener=self._parts.listener)
            shown = place.path
        return _packaged(model, version, service, where, shown, image, ground)

    def _version(self, environment: Environment | EnvironmentVersion | str | None, model: Model) -> EnvironmentVersion:
        """Return the version that is asked for: a definition is registered, as for runs; None: what the model was trained with."""
        from wardian.definition.environment import Environment

        if environment is None:
            return model.environment()
        if isinstance(environment, str):
            return self._environments.get(environment)
        return self._environments.register(environment)[0] if isinstance(environment, Environment) else environment

    # -- what is asked for -----------------------------------------------------------------------------------------------

    def _service(self, model: Model, entry: str | None, source: Path | None, variables: Mapping[str, str]) -> Service:
        """Return what is to be served.

        Raises:   InvalidInput: ``entry_missing``, ``bad_entry``.  NotFound: ``no_such_path``.
        """
        if entry is None and model.format not in CODE_FREE:
            raise InvalidInput(f"the model {model} is of no format that says by itself how it scores", code="entry_missing",
                               hint="`--entry score.py`: a script with `init()` and `run(data)`; models of MLflow and scikit-learn need none")  # fmt: skip
        directory = (source or Path()).absolute() if entry is not None or source is not None else None
        if entry is not None and ":" not in entry and directory is not None:
            if not entry.endswith(".py") or Path(entry).is_absolute() or ".." in Path(entry).parts:
                raise InvalidInput(f"`{entry[:80]}` is neither a script below the source directory nor MODULE:FUNCTION", code="bad_entry",
                                   hint="`--entry score.py`, or `--entry package.module:function`")  # fmt: skip
            if not (directory / entry).is_file():
                raise NotFound(f"there is no entry script {directory / entry}", code="no_such_path",
                               hint="`--entry` is a path in the source directory, `--source DIR` or the current one")  # fmt: skip
        kept = ServedModel(scan_model(model.path()), model.digest, model.reference)
        identity = {
            "model": model.reference,
            "model_digest": str(model.digest),
            **({"run_id": model.run_id} if model.run_id else {}),
        }
        settings = {"WARDIAN_SERVE_NAME": model.name, "WARDIAN_SERVE_VERSION": model.version}
        kind = "script" if entry is not None else model.format
        return Service(kind, entry, directory, model=kept, variables=variables, settings=settings, identity=identity)

    def _registry(self, to: str | None) -> tuple[Any, tuple[str, ...]]:
        if to is None:
            return None, ()
        from wardian.image.reference import LATEST
        from wardian.image_name import parse_image_reference

        found = parse_image_reference(to)
        if found.digest:
            raise InvalidInput(
                f"`{to[:120]}` names a digest, and an image gets a tag", code="not_a_place", hint="`--to HOST/REPOSITORY:TAG`"
            )
        return self._parts.images.repository(found), (found.tag or LATEST,)

    @staticmethod
    def _file(output: str, model: Model) -> ImageFile:
        """Return the file or layout that ``output`` names: a Docker archive unless it says something else."""
        from wardian.image.reference import FILE_KINDS, ImageFile
        from wardian.image_name import parse_image_name

        if output.partition(":")[0] in FILE_KINDS:
            found = parse_image_name(output)
            if isinstance(found, ImageFile):
                return found
        return ImageFile("docker-archive", output, f"{model.name.lower()}:{model.version}")

    # -- a build context -------------------------------------------------------------------------------------------------

    def _context(
        self, model: Model, version: EnvironmentVersion, service: Service, platform: Platform, target: Path
    ) -> Packaged:
        if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
            raise Conflict(
                f"{target} is there already, and is no empty directory", code="path_exists", hint="name a directory that is new"
            )
        with self._parts.prefixes.work_beside(), _all_or_nothing(target) as place:
            ground = self._images.ground(version, platform)
            start = self._images.start(version, service, ground)
            archives = self._layers.archives(version, ground.extension)
            with layer_entries(ground.extension, archives, "serve") as entries:
                for entry in entries:
                    path = place / entry.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("xb") as stream:
                        if entry.open_content is not None:
                            with entry.open_content() as content:
                                shutil.copyfileobj(content, stream)
            parts = {"serve"}
            if service.model is not None:
                parts.add("model")
                (place / "model").mkdir()
                if copy_model(service.model.tree, place / "model", read_only=False) != service.model.digest:
                    raise Conflict(f"what is kept of model {model} is no longer what was registered: {service.model.tree.root}", code="model_damaged",
                                   hint="restore it from a backup, or register the same files again")  # fmt: skip
            if service.source is not None:
                from wardian.run.snapshot import copy

                parts.add("app")
                copy(self._images.scan(service.source, (*service.leave_out, place)), place / "app")
            base, loads = ground.image.reference, ground.image.store.startswith("/")
            if loads:
                base = f"wardian/environment:{ground.image.digest[:12]}"
                self._write_environment(ground.image.store, str(ground.image.digest), base, place, platform)
            title = f"{model.reference} in {version}, served; packaged by Wardian, which this does not need"
            (place / "Dockerfile").write_text(dockerfile(base, start, parts, title=title, loads=loads))
        return _packaged(model, version, service, platform, str(target), None, ground)

    def _write_environment(self, store: str, digest: str, name: str, place: Path, platform: Platform) -> None:
        from wardian.image.archive_writing import write_docker_archive

        found = self._parts.images.store_named(store)
        if found is None:
            raise NotFound(f"{store} is gone", code="image_not_found", hint="build the environment's image anew")
        self._parts.listener(Event("phase", "writing the environment's image"))
        write_docker_archive(
            found,
            f"sha256:{digest}",
            place / ENVIRONMENT_ARCHIVE,
            [name],
            platform=platform.name,
            listener=self._parts.listener,
        )


def _packaged(
    model: Model,
    version: EnvironmentVersion,
    service: Service,
    platform: Platform,
    place: str,
    image: ServedImage | None,
    ground: Ground,
) -> Packaged:
    added = tuple(f"{a.name} {a.version}" for a in ground.extension.artifacts)
    return Packaged(model.reference, str(version), service.kind, platform.name, place, image, added)


@contextlib.contextmanager
def _all_or_nothing(target: Path) -> Iterator[Path]:
    """Yield a directory beside ``target`` that becomes it when the block ends; nothing of it is left if it fails."""
    staged = target.parent / f".{target.name[:80]}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    with disk_errors(target.parent):
        staged.mkdir(parents=True)
        try:
            yield staged
            if target.is_dir():
                target.rmdir()
            staged.rename(target)
        except BaseException:
            make_writable(staged)
            shutil.rmtree(staged, ignore_errors=True)
            raise
