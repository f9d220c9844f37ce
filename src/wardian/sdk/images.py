"""Images of environments, and any others: built or found, looked at, copied, brought into container engines, compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.definition.platform import get_platform, this_platform
from wardian.errors import BuildFailed, InvalidInput, NotFound
from wardian.events import Event
from wardian.image.copy import select_image
from wardian.image.oci import Index, read_manifest
from wardian.sdk.image_making import EnvironmentImage, ImageMaker, scheme_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.image.engine import ContainerEngine, LocalImage
    from wardian.image.oci import Manifest
    from wardian.image.reference import ImageFile, ImageReference
    from wardian.image.store import ImageStore
    from wardian.sdk.builds import Build
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.image_details import ImageDetails
    from wardian.sdk.image_index import EnvironmentIndex
    from wardian.sdk.image_rebuild import RebuiltImage
    from wardian.workspace.builds import Recorder
    from wardian.workspace.images import KnownImage
    from wardian.workspace.version import EnvironmentVersion


_NO_IMAGE = ("no_such_layout", "no_such_archive", "image_not_found", "platform_not_found")


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
        found = self._environments.get(version) if isinstance(version, str) else version
        return self._build(found, _platforms(platforms), None)

    def build_index(
        self, version: EnvironmentVersion | str, *, platforms: Sequence[str]
    ) -> tuple[EnvironmentIndex, list[EnvironmentImage]]:
        """Return one image for several platforms, and each of its images; what is missing is built.

        What the index names lies beside it, in the configured registry or this machine's store.

        Raises:   as ``build``.  InvalidImage: code ``tag_mismatch``: something else is under the index's tag.
        """
        from wardian.sdk.image_index import ensure_index

        found = self._environments.get(version) if isinstance(version, str) else version
        images = self._build(found, _platforms(platforms), None)
        return ensure_index(self._parts, found, images), images

    def submit(self, version: EnvironmentVersion | str, *, platforms: Sequence[str] = ()) -> Build:
        """Begin to build the images of a version in a process of its own, which outlives this one and its terminal; see ``build``.

        Of several platforms an index is made too.

        Raises:   NotFound, InvalidInput; what comes later is the build's: ``Build.wait`` raises it.
        """
        from wardian.sdk.build_detached import submit_build

        found = self._environments.get(version) if isinstance(version, str) else version
        return submit_build(self._parts, found, [platform.name for platform in _platforms(platforms)])

    def carry_out(self, version: EnvironmentVersion, platforms: Sequence[str], recorder: Recorder) -> None:
        """Do the work of a build that ``submit`` began: what its process calls."""
        from wardian.sdk.image_index import ensure_index

        images = self._build(version, _platforms(platforms), recorder)
        recorder.outcome |= {"images": {one.platform: one.reference for one in images}}
        if len(images) > 1:
            recorder.outcome |= {"index": ensure_index(self._parts, version, images).reference}

    def _build(
        self, version: EnvironmentVersion, platforms: Sequence[Platform], recorder: Recorder | None
    ) -> list[EnvironmentImage]:
        if (
            len(platforms) > 1
            and version.kind != "user"
            and any(self._parts.locker.find(version, one) is None for one in platforms)
        ):
            self._parts.locker.ensure(version, platforms[0], platforms=platforms)  # all in one go, so that they agree
        maker = ImageMaker(self._parts, recorder)
        return [maker.ensure(version, platform) for platform in platforms]

    def known(self, version: EnvironmentVersion | str) -> list[KnownImage]:
        """Return every image that a version has had, the newest first. Nothing is contacted."""
        found = self._environments.get(version) if isinstance(version, str) else version
        return self._parts.images.records.list(found.id)

    def rebuild(self, version: EnvironmentVersion | str, *, platform: str | None = None) -> RebuiltImage:
        """Return the version's image beside the same made again in an empty cache: see ``wardian.sdk.image_rebuild``."""
        from wardian.sdk.image_rebuild import rebuild_image

        return rebuild_image(
            self._parts, self, self._environments.get(version) if isinstance(version, str) else version, platform
        )

    # -- look, copy ----------------------------------------------------------------------------------------------------

    def show(self, reference: str, *, platform: str | None = None) -> ImageDetails:
        """Return what is known of the image of an environment (``sklearn:4``) or of any image (``HOST/REPOSITORY:TAG``, ``oci:…``).

        That there is none is an answer, not an error [S20]. Of an environment nothing is solved, built or pinned.

        Raises:   Unavailable, Denied: a place cannot say.  InvalidImage: what is there is damaged.
        """
        from wardian.image.reference import EnvironmentImage as Named
        from wardian.image.reference import ImageReference, parse_image
        from wardian.sdk.image_details import ImageDetails, describe
        from wardian.tools.meanwhile import said_if_slow

        parsed = parse_image(reference) if is_image_reference(reference) else None
        if parsed is None or isinstance(parsed, Named):
            name = str(parsed.environment) if isinstance(parsed, Named) else reference
            return self._show_version(self._environments.get(name), platform)
        try:
            waiting = Event("warning", f"waiting for what {reference} is")
            with said_if_slow(lambda: self._parts.listener(waiting)), self._parts.images.places.open(parsed) as (store, wanted):
                found = select_image(store, wanted, get_platform(platform).name if platform else None)
                tags = () if platform or wanted.startswith("sha256:") else (wanted,)
                return describe(store, found, reference, others=self._known_manifests(found.descriptor.digest), tags=tags)
        except NotFound as error:
            if error.stable_code not in _NO_IMAGE:
                raise
            place = parsed.name if isinstance(parsed, ImageReference) else parsed.path
            return ImageDetails(reference, exists=False, platform=platform or "", store=place, reason=error.message)

    def _show_version(self, version: EnvironmentVersion, platform: str | None) -> ImageDetails:
        from wardian.sdk.image_details import ImageDetails, describe

        images = self._parts.images
        wanted = get_platform(platform) if platform else this_platform()
        docker = version.environment.docker
        about: dict[str, Any] = {
            "definition_hash": str(version.definition_hash),
            "dockerfile": docker.dockerfile or "",
            "build_args": dict(docker.build_args),
        }
        if (pin := images.records.find_base(version.id, wanted.name)) is not None:
            about |= {"base": pin.reference, "base_digest": pin.digest or ""}
        scheme = scheme_text(images.scheme)
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

        With the image in the engine, or in this machine's store, nothing is contacted, whatever registry is configured by now.

        Raises:   as ``build`` and ``load``.
        """
        images = self._parts.images
        engine = images.engine(target)
        had = ImageMaker(self._parts).had(version, this_platform())
        for one in {image.config: image for image in reversed(had)}.values():
            if (local := engine.find(f"sha256:{one.config}")) is not None:
                return one, local
        here = (one for one in had if one.store == images.local.name and images.local.find(f"sha256:{one.digest}") is not None)
        image = next(here, None) or self.build(version)[0]
        store = images.store_named(image.store)
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


def is_image_reference(text: str) -> bool:
    """Return whether ``text`` points at an image rather than an environment: it has a ``/``, or begins like ``oci:``."""
    from wardian.image.reference import FILE_KINDS

    return "/" in text or text.partition(":")[0] in (*FILE_KINDS, "wardian")


def _platforms(names: Sequence[str]) -> list[Platform]:
    wanted = list(dict.fromkeys(get_platform(name) for name in names)) or [this_platform()]
    for platform in wanted:
        if not platform.is_linux:
            raise InvalidInput(f"images are made for Linux, not for {platform}", hint="`--platform linux/amd64`, `linux/arm64`",
                               code="unsupported_platform")  # fmt: skip
    return wanted
