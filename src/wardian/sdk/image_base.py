"""What images of versions are built on: the base image that each is pinned to, and the Python in it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wardian.errors import BuildFailed, NotFound
from wardian.events import Event
from wardian.sdk.base_login import check_login
from wardian.sdk.docker_steps import STEPS, build_base

if TYPE_CHECKING:
    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.image.base import Base
    from wardian.image.base_python import BasePython
    from wardian.image.store import ImageStore
    from wardian.lock.lock import Lock
    from wardian.workspace.images import BasePin
    from wardian.workspace.version import EnvironmentVersion

SCRATCH = "scratch"


class ImageBases:
    """The base images of versions. ``listener``: hears of it; None: the workspace's own."""

    def __init__(self, parts: Parts, listener: Listener | None = None):
        self._parts = parts
        self._listener = listener or parts.listener

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
        if pin is not None and pin.digest:
            return get_base(self._place_of_pinned(version, pin, pin.digest), f"sha256:{pin.digest}", platform.name)
        store, tag = self.place_of(reference)
        base = get_base(store, tag, platform.name)
        if pin is None:
            held = records.pin_base(version.id, platform.name, reference, base.digest, store.name)
            if held.digest != base.digest:  # another process was first
                base = get_base(store, f"sha256:{held.digest}", platform.name)
            self._listener(Event("notice", f"{version} is built on {reference}, pinned to sha256:{base.digest[:12]}"))
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
        """Return the store that has a base image, and what it is called there. That of an archive is brought into this machine's store.

        Args:     reference: of a registry, a layout or an archive; relative paths are relative to the working directory.
        Raises:   NotFound: there is no such layout or archive, or it holds no such image.  InvalidReference: it holds several.
                  Or it is the image of an environment.  BadArchive, InvalidImage: damaged.  DiskFull.
        """
        from wardian.image.copy import copy_image, select_image
        from wardian.image_name import ImageFile, parse_base_image

        images, found = self._parts.images, parse_base_image(reference)
        with images.places.open(found) as (store, wanted):
            if not isinstance(found, ImageFile) or not found.is_archive:
                return store, wanted
            digest = select_image(store, wanted, None).descriptor.digest
            copy_image(store, f"sha256:{digest}", images.local, listener=self._parts.listener)
        return images.local, f"sha256:{digest}"

    def _place_of_pinned(self, version: EnvironmentVersion, pin: BasePin, digest: Digest) -> ImageStore:
        """Return the store that has a pinned base image. An archive is not read again while this machine's store has what it held."""
        from wardian.image_name import ImageFile, parse_base_image

        images, found = self._parts.images, parse_base_image(pin.reference)
        if not isinstance(found, ImageFile) or not found.is_archive:
            return images.store(found)
        kept = images.store_named(pin.store)
        for store in (kept, images.local):
            if store is not None and store.find(f"sha256:{digest}") is not None:
                return store
        with contextlib.suppress(NotFound):
            self.place_of(pin.reference)
        if images.local.find(f"sha256:{digest}") is None:
            raise NotFound(f"the base image of {version}, sha256:{digest} of {pin.reference}, is not on this machine", code="base_image_not_found",
                           hint=f"bring that archive to where the command runs; `wardian env upgrade {version.name or 'NAME'}` takes what is there now")  # fmt: skip
        return images.local

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
        found = self._parts.images.base_pythons.ensure(base, minor, self._listener)
        check_base_python(found, lock, base, requires=version.environment.python.requires_python)
        return found
