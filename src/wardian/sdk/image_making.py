"""Makes or finds the image of a version for a platform: in a registry, in this machine's store, or built; a build is a record."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from wardian.digest import canonical_json
from wardian.errors import BuildFailed, InvalidInput, NotFound
from wardian.sdk.image_base import ImageBases
from wardian.sdk.shared_base import pin_shared_base

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.image.build import ImageRequest, StoredImage
    from wardian.image.key import ImageScheme
    from wardian.image.store import ImageStore
    from wardian.lock.lock import Lock
    from wardian.workspace.builds import Recorder
    from wardian.workspace.images import KnownImage
    from wardian.workspace.version import EnvironmentVersion


@dataclass(frozen=True, slots=True)
class EnvironmentImage:
    """The image of a version for one platform.

    Attributes:
        store: the repository that has it.  origin: ``built`` | ``this machine`` | ``workspace registry`` | ``global registry`` |
            ``given`` (the user's own image).
        cached: it was known before; nothing was built, pulled or pushed.
        notes: what a reader should know; of a build.  build_id: of the build that made it now.
    """

    version: EnvironmentVersion
    platform: str
    key: Digest
    digest: Digest
    config: Digest
    store: str
    origin: str
    size_bytes: int
    cached: bool
    lock_digest: Digest | None = None
    notes: tuple[str, ...] = ()
    build_id: str = ""

    @property
    def reference(self) -> str:
        """What container engines and other tools call it."""
        return f"{self.store}@sha256:{self.digest}"


class ImageMaker:
    """Finds or makes images of versions. Of all processes of this machine that want one, one makes it.

    Args:     recorder: of a build that is under way, if these images are part of one: it hears of everything then.
    """

    def __init__(self, parts: Parts, recorder: Recorder | None = None):
        self._parts = parts
        self._recorder = recorder

    def ensure(self, version: EnvironmentVersion, platform: Platform) -> EnvironmentImage:
        """Return the image of a version for one platform. With the image known, nothing is contacted.

        Raises:   SolveFailed, BuildFailed, InstallFailed, Unavailable, Denied, DiskFull. A failed build's id is in ``details``.
        """
        scheme = scheme_text(self._parts.images.scheme)
        if (known := self._known(version, platform, scheme)) is not None:
            pinned = self._parts.locker.find(version, platform)
            return replace(_result(version, known, cached=True), lock_digest=pinned.chosen.lock_digest if pinned else None)
        if version.kind == "user":
            return self._given(version, platform, scheme)
        locked = self._parts.locker.ensure(version, platform)
        lock = self._parts.locks.get(locked.chosen.lock_digest, definition_hash=version.definition_hash)
        with (
            self._recording(version) as recorder,
            self._parts.prefixes.work_beside(),
        ):  # clean-ups leave archives and layers alone
            pin_shared_base(self._parts, version, platform, lock)
            found = self._find_pinned(version, platform, lock, recorder)
            result, origin = found or self._find_or_build(version, self.request(version, platform, lock, recorder), recorder)
            known = self._remember(version, platform, scheme, result, origin)
        build_id = recorder.id if recorder is not self._recorder and recorder.kept else ""
        if build_id:
            from wardian.sdk.caches import Caches

            Caches(self._parts).make_room(added_bytes=result.size_bytes)
        return replace(
            _result(version, known, cached=result.cached), lock_digest=lock.digest, notes=result.notes, build_id=build_id
        )

    def had(self, version: EnvironmentVersion, platform: Platform) -> list[EnvironmentImage]:
        """Return the images that the version has had for a platform, made as they would be now: those of the configured places first.

        Nothing is contacted, and they may be gone.
        """
        images = self._parts.images
        scheme, near = scheme_text(images.scheme), [store.name for store, _ in self._places()]
        pinned = self._parts.locker.find(version, platform)
        found = [
            one for one in images.records.list(version.id)
            if one.platform == platform.name and (one.origin == "given" if version.kind == "user" else one.scheme == scheme)
        ]  # fmt: skip
        found.sort(key=lambda one: near.index(one.store) if one.store in near else len(near))
        lock_digest = pinned.chosen.lock_digest if pinned else None
        return [replace(_result(version, one, cached=True), lock_digest=lock_digest) for one in found]

    def _known(self, version: EnvironmentVersion, platform: Platform, scheme: str) -> KnownImage | None:
        """Return the image that the version has had, where it still may be: in a registry that is configured, or on this machine."""
        images = self._parts.images
        if version.kind == "user":
            given = (one for one in images.records.list(version.id) if one.origin == "given" and one.platform == platform.name)
            found = next(given, None)  # of an archive it was brought into this machine's store, which may have been removed
            is_gone = (
                found is not None and found.store == images.local.name and images.local.find(f"sha256:{found.digest}") is None
            )
            return None if is_gone else found
        for store, _ in self._places():
            if (known := images.records.find(version.id, platform.name, scheme, store.name)) is None:
                continue
            if store is not images.local or images.local.find(f"sha256:{known.digest}") is not None:
                return known
            images.records.forget(version.id, platform.name, scheme, known.store)
        return None

    def _find_pinned(
        self, version: EnvironmentVersion, platform: Platform, lock: Lock, recorder: Recorder
    ) -> tuple[StoredImage, str] | None:
        """Return the image if its key is known without the base image at hand: nobody asks for the base when its image is there."""
        from wardian.image.build import ImageRequest, find_image
        from wardian.image.key import image_key
        from wardian.lock.python import HOST

        pin = self._parts.images.records.find_base(version.id, platform.name)
        if pin is None or (lock.python is not None and lock.python.source == HOST):
            return None
        key = image_key(lock, pin.digest, ImageRequest.of(lock, None, None, self._parts.images.scheme).scheme)
        for store, origin in self._places():
            if (found := find_image(store, key, lock.digest)) is not None:
                recorder.kept = recorder is self._recorder
                return found, origin
        return None

    def _find_or_build(self, version: EnvironmentVersion, request: ImageRequest, recorder: Recorder) -> tuple[StoredImage, str]:
        """Return the image, and where it came from; looked for in each registry before it is built [S13]."""
        from wardian.image.build import find_image
        from wardian.tools.flight import Flight

        images, key, under_way = self._parts.images, request.key, recorder is self._recorder
        if not under_way:
            recorder.put_key(key)
        for store, origin in self._places():
            if (found := find_image(store, key, request.lock.digest)) is not None:
                recorder.kept = under_way
                return found, origin
        home = images.home
        recorder.kept = under_way  # of several who want it at once, the record is that of who makes it
        with Flight.of(self._parts.flights, image_flight(key)).lead(
            recorder, lambda: find_image(home, key, request.lock.digest) is not None
        ) as listener:
            if listener is None:
                made = find_image(home, key, request.lock.digest)
                if made is None:
                    raise BuildFailed(f"the image of {version} was built, and is gone again", hint="run it again")
                return made, "built"
            recorder.kept = True
            built = self._build(version, request, home, listener)
            recorder.outcome |= {"digest": built.descriptor.digest, "store": built.store, "size_bytes": built.size_bytes}
            return built, "built"

    @contextlib.contextmanager
    def _recording(self, version: EnvironmentVersion) -> Iterator[Recorder]:
        """Keep the record of a build, or add to the one that is under way; what is found, not built, leaves no record."""
        if self._recorder is not None:
            yield self._recorder
            return
        with self._parts.builds.record("image", str(version), "", self._parts.listener) as recorder:
            yield recorder

    def _build(self, version: EnvironmentVersion, request: ImageRequest, home: ImageStore, listener: Listener) -> StoredImage:
        from wardian.image.build import build_image

        images, environment = self._parts.images, version.environment
        return build_image(
            request, images.workshop, images.local, home, link_scripts=environment.python.link_scripts, listener=listener,
            fetch=lambda artifacts: self._parts.fetch(environment, request.lock, artifacts, listener),
        )  # fmt: skip

    def _places(self) -> list[tuple[ImageStore, str]]:
        """Return where an image may be already, in order."""
        images = self._parts.images
        places: list[tuple[ImageStore, str]] = []
        if (workspace := images.workspace_registry) is not None:
            places.append((workspace, "workspace registry"))
        else:
            places.append((images.local, "this machine"))
        if (shared := images.global_registry) is not None:
            places.append((shared, "global registry"))
        return places

    def _remember(
        self, version: EnvironmentVersion, platform: Platform, scheme: str, image: StoredImage, origin: str
    ) -> KnownImage:
        from wardian.workspace.images import KnownImage

        known = KnownImage(
            platform.name, image.key, image.descriptor.digest, image.manifest.config.digest, image.store, origin, scheme,
            image.size_bytes, "",
        )  # fmt: skip
        self._parts.images.records.put(version.id, known)
        return known

    def request(
        self, version: EnvironmentVersion, platform: Platform, lock: Lock, listener: Listener | None = None
    ) -> ImageRequest:
        """Return what the image of a version is made of; its base is pinned from then on."""
        from wardian.image.build import ImageRequest

        bases = ImageBases(self._parts, listener)
        base = bases.get(version, platform)
        return ImageRequest.of(lock, base, bases.python(version, lock, base), self._parts.images.scheme)

    def _given(self, version: EnvironmentVersion, platform: Platform, scheme: str) -> EnvironmentImage:
        """Return the image of a user-managed version: the user's own, as it is [S6]."""
        docker = version.environment.docker
        if docker.base_image is None and not docker.has_steps:
            raise NotFound(f"{version} is user-managed and names no image", hint="`docker.base_image`, or `--image` of `env create`",
                           code="no_image")  # fmt: skip
        base = ImageBases(self._parts, self._recorder).get(version, platform)
        if base is None:
            raise InvalidInput("`scratch` is no image to run in", code="no_image")
        from wardian.workspace.images import KnownImage

        known = KnownImage(
            platform.name, base.digest, base.digest, base.manifest.config.digest, base.store.name, "given", scheme, base.size_bytes, ""
        )  # fmt: skip
        self._parts.images.records.put(version.id, known)
        return _result(version, known, cached=False)


def image_flight(key: Digest) -> str:
    """Return the name of the flight that makes the image with this key."""
    return f"i-{key}"


def scheme_text(scheme: ImageScheme) -> str:
    """Return how images are written, as a record has it."""
    return canonical_json(asdict(scheme)).decode()


def _result(version: EnvironmentVersion, known: KnownImage, *, cached: bool) -> EnvironmentImage:
    return EnvironmentImage(
        version, known.platform, known.key, known.digest, known.config, known.store, known.origin, known.size_bytes, cached
    )
