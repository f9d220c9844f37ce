"""Runs in OCI bundles: the image of a version, unpacked once in the directory that nodes share."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wardian.definition.platform import this_platform
from wardian.digest import Digest
from wardian.errors import InvalidInput
from wardian.image.base import get_base
from wardian.image.bundle import bundle_key, make_bundle
from wardian.run.node.sheet import IMAGES
from wardian.sdk.image_elsewhere import in_image_of
from wardian.tools.flight import Flight

if TYPE_CHECKING:
    from wardian.bootstrap import Parts
    from wardian.run.configuration import RunConfiguration
    from wardian.run.handover import Needs, Way
    from wardian.workspace.version import EnvironmentVersion

_NOT_BUILT = "not-built-yet"


def in_bundle(
    parts: Parts, version: EnvironmentVersion, configuration: RunConfiguration, given: Needs, way: Way, *, build: bool
) -> Needs:
    """Return what a run in the image of ``version`` needs where the engine runs OCI bundles. The image is built, and unpacked there, at first need.

    Args:     build: False: nothing is built or sent.
    Raises:   InvalidInput: ``inputs_not_there``: an input lies where the container sees nothing; ``bad_target_option``.  What building raises.
    """
    root = way.carrier.root
    visible = _visible(root, way, configuration)
    if (configuration.resources.nodes or 1) > 1:
        raise InvalidInput("runs on several nodes are not run in OCI bundles: each node must know its number, and Slurm does not tell it to containers",
                           code="bad_target_option", hint="leave out `container=oci`: the environment is installed on the nodes then")  # fmt: skip
    found, image, store = in_image_of(parts, version, configuration, given, this_platform(), build=build)
    if image is None or store is None:
        return replace(found, image=f"{root}/{IMAGES}/{_NOT_BUILT}")
    key = bundle_key(image.digest, visible, os.getuid(), os.getgid())
    path = f"{IMAGES}/{key}"
    if not way.carrier.have([path]):
        with Flight.of(parts.flights, f"b-{Digest.of(f'{root} {key}'.encode())}").lead(parts.listener, lambda: False):
            if not way.carrier.have([path]):
                base = get_base(store, f"sha256:{image.digest}", this_platform().name)
                parts.cache.mkdir(parents=True, exist_ok=True)
                half = tempfile.mkdtemp(prefix=".bundle-", dir=parts.cache)
                try:
                    place = Path(half) / key
                    make_bundle(base, place, visible, os.getuid(), os.getgid())
                    way.carrier.send({path: str(place)})
                finally:
                    shutil.rmtree(half, ignore_errors=True)
    return replace(found, image=f"{root}/{path}")


def _visible(root: str, way: Way, configuration: RunConfiguration) -> tuple[str, ...]:
    """Return what of the node a container sees: the node directory, and what the target says."""
    visible = (root, *(path.rstrip("/") for path in way.options.get("mounts", "").split(":") if path))
    for name, path in configuration.inputs.items():
        if not any(PurePosixPath(path).is_relative_to(place) for place in visible):
            raise InvalidInput(f"the input `{name}`, {path}, is not seen in the container: it sees {', '.join(visible)}", code="inputs_not_there",
                               hint=f"`--option mounts={PurePosixPath(path).parent}` of the target, or a path below one of these")  # fmt: skip
    return visible
