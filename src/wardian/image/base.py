"""The image that an environment's layers are put on: found by reference, pinned by digest, never unpacked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardian.errors import BuildFailed, NotFound
from wardian.image.blob import named_in, read_config_of
from wardian.image.conda_entries import missing_loaders
from wardian.image.oci import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    Descriptor,
    ImageConfig,
    Index,
    InvalidImage,
    Manifest,
    read_manifest,
)
from wardian.image.plan import MOST_LAYERS, SPARE_LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardian.digest import Digest
    from wardian.image.conda_entries import PackageFacts
    from wardian.image.store import Found, ImageStore
    from wardian.lock.lock import Artifact, Lock

LAYER_TYPES = (LAYER, LAYER_GZIP, LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP)
_WITHHELD = ("nondistributable", "rootfs.foreign")
_DEEPEST_INDEX = 3
_OUR_LAYERS = 4  # the fewest that an environment is planned into


@dataclass(frozen=True, slots=True)
class Base:
    """A base image for one platform.

    Attributes:
        reference: as it was asked for.
        digest: of its manifest, for this platform: what is pinned, and part of the image's key.
        config: variables, user and working directory are inherited from it.
        store: where its layers are.
    """

    reference: str
    digest: Digest
    manifest: Manifest
    config: ImageConfig
    store: ImageStore = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """What people know it by: the store's name, and the tag or digest there."""
        return named_in(self.store, self.reference)

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """Its layers, the lowest first."""
        return self.manifest.layers

    @property
    def size_bytes(self) -> int:
        """The size of its compressed layers."""
        return sum(layer.size_bytes for layer in self.layers)


def get_base(store: ImageStore, reference: str, platform: str) -> Base:
    """Return the image that ``reference`` names in ``store``, for ``platform``. Reads manifests and the configuration, no layer.

    Args:     reference: a tag, or ``sha256:…`` of a manifest or an index.  platform: ``linux/amd64``.
    Raises:   NotFound: code ``base_image_not_found``.
              BuildFailed: codes ``platform_mismatch`` (names what there is), ``base_layers_withheld`` (foreign or not to be
                  distributed), ``base_layers_mismatch``, ``too_many_layers``, ``not_an_image``.
              InvalidImage: damaged.  Unavailable, Denied.
    """
    named = named_in(store, reference)
    found, manifest = _manifest_for(store, reference, platform, named)
    _check_layers(manifest, named)
    config = read_config_of(store, manifest, named)
    if not _is(config.platform, platform):
        raise _other_platform(named, platform, [config.platform])
    if len(config.diff_ids) != len(manifest.layers):
        raise BuildFailed(f"{named} has {len(manifest.layers)} layers, and its configuration lists {len(config.diff_ids)}",
                          code="base_layers_mismatch", hint="it is damaged: build or push it anew")  # fmt: skip
    return Base(reference, found.descriptor.digest, manifest, config, store)


def check_scratch(lock: Lock, packages: Iterable[tuple[Artifact, PackageFacts]]) -> None:
    """Check that an environment can run on ``scratch``, with nothing of a system below it.

    Compiled programs ask the kernel for a loader, nearly always the C library's at its fixed path outside the environment. That
    conda packages hold a C library to link against (``sysroot_…``) doesn't put one there.

    Args:     packages: the conda packages, as they were linked.
    Raises:   BuildFailed: code ``scratch_cannot_run``; names loader and program.
    """
    python = lock.python
    lacking = [f"{loader}, which {name}'s {program} needs" for loader, (name, program) in missing_loaders(packages).items()]
    if python is not None and python.kind == "python":
        lacking.insert(0, f"the C library, which Python {python.version} needs")
    if lacking:
        raise BuildFailed(f"the environment cannot run on `scratch`, which has nothing: {'; '.join(lacking)}", code="scratch_cannot_run",
                          hint="name a base image that has a C library: set WARDIAN_BASE_IMAGE, or `docker.base_image`")  # fmt: skip


def _manifest_for(store: ImageStore, reference: str, platform: str, named: str) -> tuple[Found, Manifest]:
    for _ in range(_DEEPEST_INDEX):
        found = store.find(reference)
        if found is None:
            raise NotFound(f"there is no base image {named}", code="base_image_not_found",
                           hint="check its name and its tag; where a registry needs a login, it may hide what is there")  # fmt: skip
        document = read_manifest(found.content, found.descriptor.media_type)
        if not isinstance(document, Index):
            return found, document
        chosen = document.for_platform(platform)
        if chosen is None:
            raise _other_platform(named, platform, sorted({m.platform for m in document.manifests} - {"", "unknown/unknown"}))
        reference = f"sha256:{chosen.digest}"
    raise InvalidImage(f"{named} is an index of indexes that are {_DEEPEST_INDEX} deep")


def _check_layers(manifest: Manifest, named: str) -> None:
    if manifest.artifact_type or manifest.config.media_type not in (CONFIG, DOCKER_CONFIG):
        raise BuildFailed(f"{named} is no image: it holds {manifest.artifact_type or manifest.config.media_type}", code="not_an_image",
                          hint="name the image itself, not something that was stored beside it")  # fmt: skip
    for layer in manifest.layers:
        if any(word in layer.media_type for word in _WITHHELD):
            raise BuildFailed(
                f"{named} has a layer that may not be passed on (`{layer.media_type}`): an image on it could not be pushed",
                code="base_layers_withheld", hint="name another base image, or push this one with all its layers first",
            )  # fmt: skip
        if layer.media_type not in LAYER_TYPES:
            raise BuildFailed(f"{named} has a layer of a kind that is not known here: `{layer.media_type[:120]}`", code="not_an_image",
                              hint="an encrypted image has to be decrypted first")  # fmt: skip
    if len(manifest.layers) > MOST_LAYERS - SPARE_LAYERS - _OUR_LAYERS:
        raise BuildFailed(f"{named} has {len(manifest.layers)} layers, and an image may have {MOST_LAYERS}", code="too_many_layers",
                          hint="flatten the base image, or name another one")  # fmt: skip


def _other_platform(named: str, platform: str, there: list[str]) -> BuildFailed:
    return BuildFailed(f"{named} is not there for {platform}: {', '.join(there) or 'it names no platform'}", code="platform_mismatch",
                       hint="name a base image that has this platform, or lock for one that it has")  # fmt: skip


def _is(there: str, platform: str) -> bool:
    return there == platform or there.startswith(f"{platform}/")
