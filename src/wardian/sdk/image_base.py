"""What images of versions are built on: the base image that each is pinned to, and the Python in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import BuildFailed, InvalidInput, NotFound
from wardian.events import Event
from wardian.sdk.base_login import check_login
from wardian.sdk.docker_steps import STEPS, build_base

if TYPE_CHECKING:
    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.image.base import Base
    from wardian.image.base_python import BasePython
    from wardian.image.store import ImageStore
    from wardian.lock.lock import Lock
    from wardian.workspace.images import BasePin
    from wardian.workspace.version import EnvironmentVersion

SCRATCH = "scratch"


class ImageBases:
    """The base images of versions."""

    def __init__(self, parts: Parts):
        self._parts = parts

    def get(self, version: EnvironmentVersion, platform: Platform) -> Base | None:
        """Return the base image of a version: the one that it is pinned to, or what its reference means now, pinned from then on.

        Raises:   NotFound, BuildFailed, Unavailable, Denied: see ``wardian.image.base.get_base``.
        """
        from wardian.image.base import get_base

        records = self._parts.images.records
        pin = records.find_base(version.id, platform.name)
        docker = version.environment.docker
        if docker.has_steps and (pin is None or pin.reference == STEPS):
            return self._built(version, platform, pin)
        reference = pin.reference if pin is not None else docker.base_image or self._parts.settings.base_image
        if reference == SCRATCH:
            if pin is None:
                records.pin_base(version.id, platform.name, SCRATCH, None, "")
            return None
        if reference == docker.base_image:
            check_login(self._parts, docker, [reference])
        store, tag = self.place_of(reference)
        base = get_base(store, f"sha256:{pin.digest}" if pin is not None and pin.digest else tag, platform.name)
        if pin is None:
            held = records.pin_base(version.id, platform.name, reference, base.digest, store.name)
            if held.digest != base.digest:  # another process was first
                base = get_base(store, f"sha256:{held.digest}", platform.name)
            self._parts.listener(Event("notice", f"{version} is built on {reference}, pinned to sha256:{base.digest[:12]}"))
        return base

    def _built(self, version: EnvironmentVersion, platform: Platform, pin: BasePin | None) -> Base:
        """Return what the version's Docker steps made; they are carried out only if it is pinned to nothing yet."""
        from wardian.image.base import get_base

        images = self._parts.images
        if pin is None:
            digest = build_base(self._parts, version, platform)
            pin = images.records.pin_base(version.id, platform.name, STEPS, digest, images.home.name)
        store = images.store_named(pin.store)
        if store is None:
            raise NotFound(f"{pin.store}, which has what the Docker steps of {version} made, is gone", code="base_image_not_found",
                           hint=f"`wardian env upgrade {version.name or 'NAME'}` carries them out anew")  # fmt: skip
        return get_base(store, f"sha256:{pin.digest}", platform.name)

    def place_of(self, reference: str) -> tuple[ImageStore, str]:
        """Return the store that a base image's reference points into, and what it is called there."""
        from wardian.image.reference import ImageFile, ImageReference, parse_image

        found = parse_image(reference)
        store = self._parts.images.store(found)
        if isinstance(found, ImageReference):
            return store, found.wanted
        tags = store.tags()
        if isinstance(found, ImageFile) and not found.tag and len(tags) != 1:
            raise InvalidInput(f"`{reference}` holds {len(tags)} images", code="ambiguous_image",
                               hint=f"name one: {', '.join(f'`{reference}:{tag}`' for tag in tags[:5])}")  # fmt: skip
        return store, (found.tag if isinstance(found, ImageFile) else "") or tags[0]

    def python(self, version: EnvironmentVersion, lock: Lock, base: Base | None) -> BasePython | None:
        """Return the base image's interpreter, checked, where the lock uses it; None: the environment brings its own, or has none.

        Raises:   BuildFailed: codes ``base_python_missing``, ``base_python_differs``, ``base_libc_too_old``.
        """
        from wardian.lock.python import HOST

        python = lock.python
        if python is None or python.source != HOST:
            return None
        if base is None:
            raise BuildFailed(f"{version} uses the interpreter of its surroundings, and `scratch` has none", code="base_python_missing",
                              hint="name a base image with Python, or set `source: managed`")  # fmt: skip
        from wardian.image.base_python import check_base_python

        minor = ".".join(python.version.split(".")[:2])
        found = self._parts.images.base_pythons.ensure(base, minor, self._parts.listener)
        check_base_python(found, lock, base, requires=version.environment.python.requires_python)
        return found
