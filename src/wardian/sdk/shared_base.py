"""The base image of a curated version: what the registry that has its image says, so that its image is everybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.digest import Digest

if TYPE_CHECKING:
    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.image.store import ImageStore
    from wardian.lock.lock import Lock
    from wardian.workspace.version import EnvironmentVersion


def pin_shared_base(parts: Parts, version: EnvironmentVersion, platform: Platform, lock: Lock) -> None:
    """Pin a curated version that has no base yet to the one of its image in a configured registry: the global one first.

    Where no registry has the version with this lock, nothing happens, and the base is whatever its reference means now.

    Raises:   InvalidImage: code ``tag_mismatch``: something else is under its tag.  Unavailable, Denied: a registry cannot say.
    """
    images = parts.images
    if version.kind != "curated" or images.records.find_base(version.id, platform.name) is not None:
        return
    for store in (images.global_registry, images.workspace_registry):
        if store is not None and (base := _shared(store, version, platform, lock)) is not None:
            digest = Digest(base["digest"]) if base["digest"] else None
            images.records.pin_base(version.id, platform.name, base["reference"], digest, base["store"])
            return


def _shared(store: ImageStore, version: EnvironmentVersion, platform: Platform, lock: Lock) -> dict[str, str] | None:
    from wardian.errors import WardianError
    from wardian.image.oci import InvalidImage
    from wardian.image.shared_version import find_version
    from wardian.image_name import parse_base_image
    from wardian.sdk.docker_steps import STEPS
    from wardian.sdk.image_base import SCRATCH

    shared = find_version(store, version.name or "", version.version or "")
    if shared is None or shared.content_key != version.content_key or shared.locks.get(platform.name) != lock.digest:
        return None
    base = shared.bases.get(platform.name)
    if base is None:
        return None
    if base["reference"] not in (STEPS, SCRATCH):
        try:
            parse_base_image(base["reference"])
        except WardianError as error:
            raise InvalidImage(f"{version} in {store.name} stands on a base image that is none: {error.message}", code="tag_mismatch",
                               hint="somebody has changed it; fill the registry again: `wardian catalog build --to …`") from error  # fmt: skip
    if base["digest"] == "" and base["reference"] != SCRATCH:
        raise InvalidImage(f"{version} in {store.name} stands on `{base['reference']}` without a digest", code="tag_mismatch",
                           hint="somebody has changed it; fill the registry again: `wardian catalog build --to …`")  # fmt: skip
    return dict(base)
