"""Runs in images elsewhere: the image of a version as an engine pulls it, and what lies in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.definition.platform import get_platform, this_platform
from wardian.errors import InvalidInput
from wardian.image.blob import read_whole
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.image.oci import Manifest, read_config, read_manifest
from wardian.image.registry import RegistryImageStore
from wardian.sdk.image_making import ImageMaker
from wardian.sdk.prepare import no_python

if TYPE_CHECKING:
    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.image.store import ImageStore
    from wardian.run.configuration import RunConfiguration
    from wardian.run.handover import Needs
    from wardian.sdk.image_making import EnvironmentImage
    from wardian.workspace.version import EnvironmentVersion

_NOT_BUILT = "not-built-yet"


def in_image(
    parts: Parts,
    version: EnvironmentVersion,
    configuration: RunConfiguration,
    given: Needs,
    *,
    build: bool,
    platform: str | None,
) -> Needs:
    """Return what a run in the image of ``version`` needs: the image by digest, built and pushed at first need, and its variables.

    Args:     build: False: nothing is built or contacted; an image that there is none of yet has a tag that says so.
    Raises:   InvalidInput: ``needs_registry``: the image is on this machine alone.  RunFailed: ``no_python``.  What building raises.
    """
    wanted = get_platform(platform) if platform else this_platform()
    if version.kind != "user":
        _require(parts.images.home, version)
    found, image, store = in_image_of(parts, version, configuration, given, wanted, build=build)
    if image is not None and store is not None:
        _require(store, version)
        return found
    had = [one for one in ImageMaker(parts).had(version, wanted) if not one.store.startswith("/")]
    named = version.environment.docker.base_image if version.kind == "user" else None
    return replace(found, image=had[0].reference if had else named or f"{parts.images.home.name}:{_NOT_BUILT}")


def in_image_of(
    parts: Parts, version: EnvironmentVersion, configuration: RunConfiguration, given: Needs, platform: Platform, *, build: bool
) -> tuple[Needs, EnvironmentImage | None, ImageStore | None]:
    """Return what a run in the image of ``version`` needs, that image, built at first need, and where it is.

    Args:     build: False: nothing is built or contacted, and no image is returned.
    Raises:   InvalidInput: ``needs_registry``: its store cannot be reached.  RunFailed: ``no_python``.  What building raises.
    """
    if not build:
        return _in(version, given), None, None
    image = ImageMaker(parts).ensure(version, platform)
    store = parts.images.store_named(image.store)
    if store is None:
        raise InvalidInput(
            f"the registry {image.store}, which has the image of {version}, cannot be reached by its name",
            code="needs_registry",
        )
    chosen = parts.locker.find(version, platform)
    if (
        configuration.command.wants_python
        and version.kind != "user"
        and chosen is not None
        and not chosen.chosen.python_version
    ):
        raise no_python(version)
    environment = replace(
        given.environment, lock_digest=image.lock_digest, lock_origin=chosen.chosen.origin if chosen else None,
        image_digest=image.digest, image_origin=image.origin, summary=_summary(version, image),
    )  # fmt: skip
    variables = {**_variables(store, image), **given.variables}
    notes = (*given.notes, *image.notes)
    found = replace(_in(version, given), environment=environment, variables=variables, image=image.reference, notes=notes)
    return found, image, store


def _in(version: EnvironmentVersion, given: Needs) -> Needs:
    """Return the needs with where the interpreter is; that of a user-managed image is looked at when the run starts."""
    if version.kind == "user":
        return replace(given, interpreter=version.environment.python.interpreter)
    return replace(given, interpreter=f"{ENVIRONMENT_PATH}/bin/python", in_image=True)


def _summary(version: EnvironmentVersion, image: EnvironmentImage) -> str:
    how = "known" if image.cached and image.origin == "built" else image.origin
    lock = f" · lock {image.lock_digest[:6]}" if image.lock_digest else ""
    return f"{version}{lock} · image {image.digest[:12]} {how}"


def _variables(store: ImageStore, image: EnvironmentImage) -> dict[str, str]:
    found = store.find(f"sha256:{image.digest}")
    manifest = read_manifest(found.content, found.descriptor.media_type) if found is not None else None
    if not isinstance(manifest, Manifest):
        raise InvalidInput(
            f"the image {image.reference} is gone", code="image_not_found", hint=f"`wardian env build {image.version} --image`"
        )
    return dict(read_config(read_whole(store, manifest.config)).variables)


def _require(store: ImageStore, version: EnvironmentVersion) -> None:
    if not isinstance(store, RegistryImageStore):
        raise InvalidInput(f"the image of {version} is on this machine alone, and nodes pull it from a registry", code="needs_registry",
                           hint="`wardian config set registry HOST/REPOSITORY`; or `--option image=IMAGE`: the environment is installed in that one, from its lock")  # fmt: skip
