"""Images of environments: found in this machine's store or a registry, or built; each build is a record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from wardian.definition.platform import this_platform
from wardian.digest import canonical_json
from wardian.errors import BuildFailed, InvalidInput, NotFound
from wardian.events import Event
from wardian.image.copy import select_image
from wardian.image.oci import Index, read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.image.base import Base
    from wardian.image.base_python import BasePython
    from wardian.image.build import ImageRequest, StoredImage
    from wardian.image.engine import ContainerEngine, LocalImage
    from wardian.image.key import ImageScheme
    from wardian.image.oci import Manifest
    from wardian.image.reference import ImageFile, ImageReference
    from wardian.image.store import ImageStore
    from wardian.lock.lock import Lock
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.image_details import ImageDetails
    from wardian.workspace.images import KnownImage
    from wardian.workspace.version import EnvironmentVersion

SCRATCH = "scratch"


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


class ImageCollection:
    """The images of a workspace's environments."""

    def __init__(self, parts: Parts, environments: EnvironmentCollection):
        self._parts = parts
        self._environments = environments

    def build(self, version: EnvironmentVersion | str, *, platforms: Sequence[str] = ()) -> list[EnvironmentImage]:
        """Return the images of a version, locking and building what is missing; one build for all who ask at once.

        A version that has an image keeps it, whatever happens to tags and indexes; nothing is contacted then.

        Args:     platforms: ``linux/amd64`` …; none: this machine's.
        Raises:   SolveFailed, BuildFailed, InstallFailed, Unavailable, Denied, DiskFull. A failed build's id is in ``details``.
        """
        from wardian.definition.platform import get_platform

        found = self._environments.get(version) if isinstance(version, str) else version
        wanted = [get_platform(name) for name in platforms] or [this_platform()]
        for platform in wanted:
            if not platform.is_linux:
                raise InvalidInput(f"images are made for Linux, not for {platform}", hint="`--platform linux/amd64`, `linux/arm64`",
                                   code="unsupported_platform")  # fmt: skip
        return [self._ensure(found, platform) for platform in wanted]

    def known(self, version: EnvironmentVersion | str) -> list[KnownImage]:
        """Return every image that a version has had, the newest first. Nothing is contacted."""
        found = self._environments.get(version) if isinstance(version, str) else version
        return self._parts.images.records.list(found.id)

    # -- look, copy ----------------------------------------------------------------------------------------------------

    def show(self, reference: str, *, platform: str | None = None) -> ImageDetails:
        """Return what is known of the image of an environment (``sklearn:4``) or of any image (``HOST/REPOSITORY:TAG``, ``oci:…``).

        That there is none is an answer, not an error [S20]. Of an environment nothing is solved, built or pinned.

        Raises:   Unavailable, Denied: a place cannot say.  InvalidImage: what is there is damaged.
        """
        from wardian.image.reference import EnvironmentImage as Named
        from wardian.image.reference import parse_image
        from wardian.sdk.image_details import ImageDetails, describe

        parsed = parse_image(reference) if is_image_reference(reference) else None
        if parsed is None or isinstance(parsed, Named):
            name = str(parsed.environment) if isinstance(parsed, Named) else reference
            return self._show_version(self._environments.get(name), platform)
        store, wanted = self._place_of(reference)
        found = store.find(wanted)
        if found is None:
            return ImageDetails(reference, exists=False, store=store.name, reason=f"{store.name} has no `{wanted}`")
        tags = () if wanted.startswith("sha256:") else (wanted,)
        return describe(store, found, reference, others=self._known_manifests(found.descriptor.digest), tags=tags)

    def _show_version(self, version: EnvironmentVersion, platform: str | None) -> ImageDetails:
        from wardian.definition.platform import get_platform
        from wardian.sdk.image_details import ImageDetails, describe

        images = self._parts.images
        wanted = get_platform(platform) if platform else this_platform()
        docker = version.environment.docker
        about: dict[str, Any] = {"definition_hash": str(version.definition_hash), "dockerfile": docker.dockerfile or ""}
        if (pin := images.records.find_base(version.id, wanted.name)) is not None:
            about |= {"base": pin.reference, "base_digest": pin.digest or ""}
        scheme = _scheme_text(images.scheme)
        known = [one for one in images.records.list(version.id) if one.platform == wanted.name]
        known.sort(key=lambda one: (one.scheme != scheme, one.store != images.home.name))
        for one in known:
            store = self._parts.images.store_named(one.store)
            if store is not None and (found := store.find(f"sha256:{one.digest}")) is not None:
                others = self._known_manifests(one.digest)
                return describe(store, found, str(version), others=others, origin=one.origin, **about)
        pinned = self._parts.locker.find(version, wanted)
        if pinned is None:
            reason = f"{version} is not locked for {wanted} yet"
        else:
            reason = f"its image is gone from {known[0].store}" if known else f"{version} has had no image for {wanted} yet"
        return ImageDetails(str(version), exists=False, platform=wanted.name, reason=reason, **about)

    def copy(self, source: str, target: str, *, platform: str | None = None) -> Digest:
        """Copy an image; return its digest. What is there is not sent again.

        Args:     source: an environment (built first if it has no image), or any image.
                  target: ``HOST/REPOSITORY[:TAG]``, ``oci:DIRECTORY[:TAG]``, ``oci-archive:FILE[:TAG]``, ``docker-archive:FILE[:NAME:TAG]``.
                  platform: of an index, this one alone.
        Raises:   NotFound, InvalidReference, Unavailable, Denied, DiskFull, BadArchive.
        """
        from wardian.image.reference import EnvironmentImage as Named
        from wardian.image.reference import parse_image

        place = parse_image(target)
        if isinstance(place, Named):
            raise InvalidInput(f"`{target}` is no place to copy to", hint="`HOST[:PORT]/REPOSITORY:TAG`, `oci:DIRECTORY:TAG`, `docker-archive:FILE`",
                               code="not_a_place")  # fmt: skip
        return self._parts.images.places.copy(
            self._written(source, platform), place, platform=platform, listener=self._parts.listener
        )

    def load(self, reference: str, into: str) -> LocalImage:
        """Bring an image into a container engine of this machine (``podman``, ``docker``); return it as the engine has it.

        Raises:   NotFound: code ``target_not_found``: no such engine.  EngineUnavailable.  What building and pulling raise.
        """
        engine = self._parts.images.engine(into)
        written = self._written(reference, None)
        with self._parts.images.places.open(written) as (store, wanted):
            found = select_image(store, wanted, this_platform().name)
            manifest = read_manifest(found.content, found.descriptor.media_type)
            if isinstance(manifest, Index):
                raise BuildFailed(f"{reference} has no image for {this_platform()}", code="platform_mismatch")
            return self._bring(engine, store, found.descriptor.digest, manifest.config.digest)

    def prepare(self, version: EnvironmentVersion, target: str) -> tuple[EnvironmentImage, LocalImage]:
        """Return the image of a version and what the engine ``target`` has of it, brought there if need be.

        With the image in the engine nothing is contacted.

        Raises:   as ``build`` and ``load``.
        """
        image = self.build(version)[0]
        engine = self._parts.images.engine(target)
        if (local := engine.find(f"sha256:{image.config}")) is not None:
            return image, local
        store = self._parts.images.store_named(image.store)
        if store is None:
            raise NotFound(f"{image.store} is gone", code="image_not_found", hint=f"`wardian env build {version} --image`")
        return image, self._bring(engine, store, image.digest, image.config)

    def _bring(self, engine: ContainerEngine, store: ImageStore, digest: Digest, config: Digest) -> LocalImage:
        """Have ``engine`` pull an image from its registry; from a place that engines do not know, give it an archive."""
        import tempfile
        from pathlib import Path

        from wardian.image.archive_writing import write_docker_archive
        from wardian.image.registry import RegistryImageStore

        if (local := engine.find(f"sha256:{config}")) is not None:
            return local
        images = self._parts.images
        if isinstance(store, RegistryImageStore):
            self._parts.listener(Event("phase", f"{engine.name} pulls {store.name}@sha256:{digest[:12]}"))
            return engine.load(
                f"{store.name}@sha256:{digest}", login=images.engine_login(store), plain_http=images.is_plain(store)
            )
        self._parts.listener(Event("phase", f"loading the image into {engine.name}"))
        images.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=images.scratch) as place:
            archive = Path(place) / "image.tar"
            write_docker_archive(
                store, f"sha256:{digest}", archive, [], platform=this_platform().name, listener=self._parts.listener
            )
            return engine.load(archive)

    def _written(self, reference: str, platform: str | None) -> ImageReference | ImageFile:
        """Return where an image lies; that of an environment is built if it has none."""
        from pathlib import Path

        from wardian.image.reference import EnvironmentImage as Named
        from wardian.image.reference import ImageFile, parse_image, parse_image_reference

        parsed = parse_image(reference) if is_image_reference(reference) else None
        if parsed is not None and not isinstance(parsed, Named):
            return parsed
        name = str(parsed.environment) if parsed is not None else reference
        image = self.build(name, platforms=[platform] if platform else ())[0]
        if image.store.startswith("/"):
            return ImageFile("oci", str(Path(image.store)), f"sha256:{image.digest}")
        return parse_image_reference(image.reference)

    def compare(self, left: str, right: str) -> dict[str, tuple[str, str]]:
        """Return name → (version on the left, on the right) of each package that differs between two images; ``""``: not there."""
        from wardian.sdk.image_details import packages_of

        found = [self.show(reference) for reference in (left, right)]
        for one in found:
            if not one.exists:
                raise NotFound(f"there is no image of {one.reference}: {one.reason}", code="image_not_found",
                               hint=f"`wardian env build {one.reference} --image`")  # fmt: skip
        first, second = (packages_of(one) for one in found)
        names = sorted(first.keys() | second.keys())
        return {n: (first.get(n, ""), second.get(n, "")) for n in names if first.get(n) != second.get(n)}

    def _known_manifests(self, but: Digest) -> list[Manifest]:
        """Return the manifests of this workspace's images that lie on this machine, without the one that is asked about."""
        from wardian.image.oci import Manifest, read_manifest

        images = self._parts.images
        found = []
        for digest in images.records.roots() - {but}:
            if (one := images.local.find(f"sha256:{digest}")) is not None:
                manifest = read_manifest(one.content, one.descriptor.media_type)
                if isinstance(manifest, Manifest):
                    found.append(manifest)
        return found

    # -- one platform --------------------------------------------------------------------------------------------------

    def _ensure(self, version: EnvironmentVersion, platform: Platform) -> EnvironmentImage:
        images = self._parts.images
        scheme = _scheme_text(images.scheme)
        if (known := images.records.find(version.id, platform.name, scheme, images.home.name)) is not None:
            if images.home is not images.local or images.local.find(f"sha256:{known.digest}") is not None:
                pinned = self._parts.locker.find(version, platform)
                return replace(_result(version, known, cached=True), lock_digest=pinned.chosen.lock_digest if pinned else None)
            images.records.forget(version.id, platform.name, scheme, known.store)
        if version.kind == "user":
            return self._given(version, platform, scheme)
        locked = self._parts.locker.ensure(version, platform)
        lock = self._parts.locks.get(locked.chosen.lock_digest, definition_hash=version.definition_hash)
        request = self._request(version, platform, lock)
        result, origin, build_id = self._find_or_build(version, request)
        known = self._remember(version, platform, scheme, result, origin)
        return replace(
            _result(version, known, cached=result.cached), lock_digest=lock.digest, notes=result.notes, build_id=build_id
        )

    def _find_or_build(self, version: EnvironmentVersion, request: ImageRequest) -> tuple[StoredImage, str, str]:
        """Return the image, where it came from, and the id of its build; looked for in each registry before it is built [S13]."""
        from wardian.image.build import find_image
        from wardian.tools.flight import Flight

        images, key = self._parts.images, request.key
        for store, origin in self._places():
            if (found := find_image(store, key, request.lock.digest)) is not None:
                return found, origin, ""
        home = images.home
        flights = images.cache / "flights"
        flights.mkdir(parents=True, exist_ok=True)
        with Flight(flights / f"i-{key}").lead(
            self._parts.listener, lambda: find_image(home, key, request.lock.digest) is not None
        ) as listener:
            if listener is None:
                made = find_image(home, key, request.lock.digest)
                if made is None:
                    raise BuildFailed(f"the image of {version} was built, and is gone again", hint="run it again")
                return made, "built", ""
            with self._parts.builds.record("image", str(version), key, listener) as recorder:
                built = self._build(version, request, home, recorder)
                recorder.outcome |= {"digest": built.descriptor.digest, "store": built.store, "size_bytes": built.size_bytes}
            return built, "built", recorder.id

    def _build(self, version: EnvironmentVersion, request: ImageRequest, home: ImageStore, listener: Listener) -> StoredImage:
        from wardian.image.build import build_image

        images, environment = self._parts.images, version.environment
        return build_image(
            request, images.workshop, images.local, home, fetch=lambda artifacts: self._parts.fetch(environment, request.lock, artifacts),
            link_scripts=environment.python.link_scripts, listener=listener,
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
            platform.name,
            image.key,
            image.descriptor.digest,
            image.manifest.config.digest,
            image.store,
            origin,
            scheme,
            image.size_bytes,
            "",
        )
        self._parts.images.records.put(version.id, known)
        return known

    # -- what it is made of --------------------------------------------------------------------------------------------

    def _request(self, version: EnvironmentVersion, platform: Platform, lock: Lock) -> ImageRequest:
        from wardian.image.build import ImageRequest

        base = self.base(version, platform)
        return ImageRequest.of(lock, base, self._base_python(version, lock, base), self._parts.images.scheme)

    def base(self, version: EnvironmentVersion, platform: Platform) -> Base | None:
        """Return the base image of a version: the one that it is pinned to, or what its reference means now, pinned from then on.

        Raises:   NotFound, BuildFailed, Unavailable, Denied: see ``wardian.image.base.get_base``.
        """
        from wardian.image.base import get_base

        records = self._parts.images.records
        pin = records.find_base(version.id, platform.name)
        docker = version.environment.docker
        reference = pin.reference if pin is not None else docker.base_image or self._parts.settings.base_image
        if reference == SCRATCH:
            if pin is None:
                records.pin_base(version.id, platform.name, SCRATCH, None, "")
            return None
        store, tag = self._place_of(reference)
        base = get_base(store, f"sha256:{pin.digest}" if pin is not None and pin.digest else tag, platform.name)
        if pin is None:
            held = records.pin_base(version.id, platform.name, reference, base.digest, store.name)
            if held.digest != base.digest:  # another process was first
                base = get_base(store, f"sha256:{held.digest}", platform.name)
            self._parts.listener(Event("notice", f"{version} is built on {reference}, pinned to sha256:{base.digest[:12]}"))
        return base

    def _place_of(self, reference: str) -> tuple[ImageStore, str]:
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

    def _base_python(self, version: EnvironmentVersion, lock: Lock, base: Base | None) -> BasePython | None:
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

    def _given(self, version: EnvironmentVersion, platform: Platform, scheme: str) -> EnvironmentImage:
        """Return the image of a user-managed version: the user's own, as it is [S6]."""
        docker = version.environment.docker
        if docker.base_image is None:
            raise NotFound(f"{version} is user-managed and names no image", hint="`docker.base_image`, or `--image` of `env create`",
                           code="no_image")  # fmt: skip
        base = self.base(version, platform)
        if base is None:
            raise InvalidInput("`scratch` is no image to run in", code="no_image")
        from wardian.workspace.images import KnownImage

        known = KnownImage(
            platform.name,
            base.digest,
            base.digest,
            base.manifest.config.digest,
            base.store.name,
            "given",
            scheme,
            base.size_bytes,
            "",
        )
        self._parts.images.records.put(version.id, known)
        return _result(version, known, cached=False)


def is_image_reference(text: str) -> bool:
    """Return whether ``text`` points at an image rather than an environment: it has a ``/``, or begins like ``oci:``."""
    from wardian.image.reference import FILE_KINDS

    return "/" in text or text.partition(":")[0] in (*FILE_KINDS, "wardian")


def _scheme_text(scheme: ImageScheme) -> str:
    return canonical_json(asdict(scheme)).decode()


def _result(version: EnvironmentVersion, known: KnownImage, *, cached: bool) -> EnvironmentImage:
    return EnvironmentImage(
        version, known.platform, known.key, known.digest, known.config, known.store, known.origin, known.size_bytes, cached
    )
