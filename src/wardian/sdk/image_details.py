"""What is known of an image: whether it exists and where, its layers by package, its interpreter, its base; and how two differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.image.assemble import LOCK_LABEL, PACKAGES_ANNOTATION
from wardian.image.blob import read_config_of
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.image.key import image_tag
from wardian.image.oci import Index, Manifest, read_manifest
from wardian.image.python_layout import INTERPRETER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.digest import Digest
    from wardian.image.oci import Descriptor
    from wardian.image.store import Found, ImageStore


@dataclass(frozen=True, slots=True)
class LayerDetails:
    """One layer: what is in it, as far as Wardian made it, and how many other images of this workspace have it too."""

    digest: str
    diff_id: str
    media_type: str
    size_bytes: int
    packages: tuple[str, ...] = ()
    shared_with: int = 0


@dataclass(frozen=True, slots=True)
class ImageDetails:
    """An image, or that there is none [S20].

    Attributes:
        reference: what was asked for.  exists: whether the image is there.
        store: the repository; ``origin``: how it came to be known.
        tags: its tags in that repository, as far as they are known.
        size_bytes: of its layers as they are stored.
        interpreter: path of the Python that runs scripts; ``environment``: of the environment's root. Empty: not Wardian's image.
        base: reference and digest of the base image.  dockerfile, build_args: of a definition with Docker steps.
        platforms: of an index: its platforms, each an image of its own.  images: platform → the digest of its image's manifest.
    """

    reference: str
    exists: bool
    platform: str = ""
    store: str = ""
    origin: str = ""
    tags: tuple[str, ...] = ()
    digest: str = ""
    image_key: str = ""
    lock_digest: str = ""
    definition_hash: str = ""
    size_bytes: int = 0
    created: str = ""
    layers: tuple[LayerDetails, ...] = ()
    interpreter: str = ""
    environment: str = ""
    base: str = ""
    base_digest: str = ""
    dockerfile: str = ""
    build_args: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    images: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values; the schema is frozen in ``tests/golden``."""
        return asdict(self)


def describe(store: ImageStore, found: Found, reference: str, *, others: Sequence[Manifest] = (), **known: Any) -> ImageDetails:
    """Return what the image ``found`` in ``store`` is.

    Args:     others: manifests of other images, for how many share a layer.  known: further fields.
    Raises:   InvalidImage: damaged.  Unavailable, Denied.
    """
    manifest = read_manifest(found.content, found.descriptor.media_type)
    if isinstance(manifest, Index):
        images = {
            m.platform: str(m.digest) for m in reversed(manifest.manifests) if m.platform
        }  # of two, engines take the first
        return ImageDetails(
            reference, exists=True, store=store.name, digest=found.descriptor.digest, platforms=tuple(sorted(images)), images=images,
            **known,
        )  # fmt: skip
    config = read_config_of(store, manifest, reference)
    variables, labels = dict(config.variables), dict(config.labels)
    key = variables.get("WARDIAN_ENVIRONMENT", "")
    shared = _shared(manifest, others)
    layers = tuple(
        LayerDetails(layer.digest, diff_id, layer.media_type, layer.size_bytes, packages_in(layer), shared.get(layer.digest, 0))
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=False)
    )
    return ImageDetails(
        reference, exists=True, platform=config.platform, store=store.name, digest=found.descriptor.digest, image_key=key,
        tags=known.pop("tags", (image_tag(key),) if key else ()), lock_digest=labels.get(LOCK_LABEL, ""),  # type: ignore[arg-type]
        size_bytes=sum(layer.size_bytes for layer in manifest.layers), created=config.created, layers=layers,
        interpreter=INTERPRETER if key else "", environment=ENVIRONMENT_PATH if key else "", variables=variables, **known,
    )  # fmt: skip


def packages_of(details: ImageDetails) -> dict[str, str]:
    """Return name → version of every package that the image's layers name."""
    pairs = [text.rpartition(" ") for layer in details.layers for text in layer.packages]
    return {name: version for name, _, version in pairs if name}


def packages_in(layer: Descriptor) -> tuple[str, ...]:
    """Return what a layer says is in it, ``name version`` each; empty: it is of a base image."""
    text = dict(layer.annotations).get(PACKAGES_ANNOTATION, "")
    return tuple(line for line in text.split("\n") if line)


def _shared(manifest: Manifest, others: Sequence[Manifest]) -> dict[Digest, int]:
    mine = {layer.digest for layer in manifest.layers}
    counts: dict[Digest, int] = {}
    for other in others:
        for digest in {layer.digest for layer in other.layers} & mine:
            counts[digest] = counts.get(digest, 0) + 1
    return counts
