"""Is an image what its lock gives? Made again in an empty cache, and compared layer by layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, NotFound
from wardian.sdk.image_details import packages_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.bootstrap import Parts
    from wardian.image.build import MadeImage, StoredImage
    from wardian.image.oci import Descriptor, ImageConfig, Manifest
    from wardian.sdk.images import ImageCollection
    from wardian.workspace.version import EnvironmentVersion

SAME, COMPRESSED, CONTENT, MISSING, EXTRA = "same", "compressed", "content", "missing", "extra"


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """One layer of the image, and the one that was made again.

    Attributes:
        packages: what is in it; empty: of the base image.
        state: ``same`` | ``compressed`` (the same files, other bytes in the registry) | ``content`` (other files) | ``missing`` (not made
            again) | ``extra`` (only made again).
        digest, diff_id: of the image's; ``again_digest``, ``again_diff_id``: of the one that was made again. Empty: there is none.
    """

    packages: tuple[str, ...]
    state: str
    digest: str
    diff_id: str
    again_digest: str
    again_diff_id: str


@dataclass(frozen=True, slots=True)
class RebuiltImage:
    """An image beside the same made again.

    Attributes:
        notes: what is not reproducible by nature.
    """

    version: EnvironmentVersion
    platform: str
    store: str
    digest: str
    again_digest: str
    layers: tuple[LayerComparison, ...]
    config_differs: bool
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether every byte is."""
        return self.digest == self.again_digest

    @property
    def differing(self) -> list[LayerComparison]:
        """The layers that differ."""
        return [layer for layer in self.layers if layer.state != SAME]

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "reference": str(self.version), "platform": self.platform, "store": self.store, "same": self.same, "digest": self.digest,
            "again_digest": self.again_digest, "config_differs": self.config_differs, "layers": [asdict(layer) for layer in self.layers],
            "notes": list(self.notes),
        }  # fmt: skip


def rebuild_image(
    parts: Parts, images: ImageCollection, version: EnvironmentVersion, platform: str | None = None
) -> RebuiltImage:
    """Return the version's image beside the same made again: from fetched archives, whose digests the lock names, in an empty cache.

    An image that the version does not have is built first. The build is a record; what it made is removed.

    Raises:   InvalidInput: code ``user_managed``: the image is the user's own.  What building raises.
    """
    from wardian.image.build import read_image

    if version.kind == "user":
        raise InvalidInput(f"{version} is user-managed: its image is yours as it is", hint="there is nothing to make again",
                           code="user_managed")  # fmt: skip
    image = images.build(version, platforms=[platform] if platform else ())[0]
    store = parts.images.store_named(image.store)
    found = store.find(f"sha256:{image.digest}") if store is not None else None
    if store is None or found is None:
        raise NotFound(f"the image of {version} is gone from {image.store}", code="image_not_found",
                       hint=f"`wardian env build {version} --image`")  # fmt: skip
    stored = read_image(store, found, image.key)
    made = _made_again(parts, version, stored, image.platform)
    again = made.assembled
    again_digest = _digest(again.manifest)
    layers = tuple(_layers(stored, made))
    return RebuiltImage(
        version, image.platform, image.store, image.digest, again_digest, layers,
        config_differs=stored.manifest.config.digest != again.manifest.config.digest, notes=tuple(_notes(version, layers)),
    )  # fmt: skip


def _made_again(parts: Parts, version: EnvironmentVersion, stored: StoredImage, platform: str) -> MadeImage:
    import os
    import tempfile
    from pathlib import Path

    from wardian.definition.platform import get_platform
    from wardian.image.build import make_image
    from wardian.sdk.image_making import ImageMaker
    from wardian.tools.disk import disk_errors, remove_tree

    locked = parts.locker.ensure(version, get_platform(platform))
    lock = parts.locks.get(locked.chosen.lock_digest, definition_hash=version.definition_hash)
    request = ImageMaker(parts).request(version, get_platform(platform), lock)
    scratch = parts.images.scratch
    with disk_errors(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f"verify.{os.getpid()}.", dir=scratch))
    try:
        with parts.builds.record("image", f"{version} again", stored.key, parts.listener) as recorder:
            made = make_image(
                request, parts.images.empty_workshop(place),
                fetch=lambda artifacts: parts.fetch(version.environment, lock, artifacts, recorder),
                link_scripts=version.environment.python.link_scripts, listener=recorder,
            )  # fmt: skip
            recorder.outcome |= {"digest": _digest(made.assembled.manifest)}
    finally:
        remove_tree(place, scratch / "trash")
    return made


def _layers(stored: StoredImage, made: MadeImage) -> Iterator[LayerComparison]:
    ours = _with_diff_ids(stored.manifest, stored.config)
    again = _with_diff_ids(made.assembled.manifest, made.assembled.config)
    names = [packages_in(layer) for layer, _ in ours]
    if [packages_in(layer) for layer, _ in again] == names:
        for first, second in zip_longest(ours, again):
            yield _compared(first, second)
        return
    left = {packages_in(layer): (layer, diff_id) for layer, diff_id in again}  # other layers altogether: by what is in them
    for layer, diff_id in ours:
        yield _compared((layer, diff_id), left.pop(packages_in(layer), None))
    for other in left.values():
        yield _compared(None, other)


def _with_diff_ids(manifest: Manifest, config: ImageConfig) -> list[tuple[Descriptor, str]]:
    return [(layer, str(diff_id)) for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)]


def _compared(ours: tuple[Descriptor, str] | None, again: tuple[Descriptor, str] | None) -> LayerComparison:
    if ours is None or again is None:
        state = EXTRA if ours is None else MISSING
    elif ours[1] != again[1]:
        state = CONTENT
    else:
        state = SAME if ours[0].digest == again[0].digest else COMPRESSED
    layer, diff_id = ours or (None, "")
    other, other_diff_id = again or (None, "")
    named = layer or other
    return LayerComparison(
        packages_in(named) if named else (), state, str(layer.digest) if layer else "", diff_id, str(other.digest) if other else "", other_diff_id
    )  # fmt: skip


def _notes(version: EnvironmentVersion, layers: tuple[LayerComparison, ...]) -> Iterator[str]:
    if version.environment.docker.has_steps:
        yield "Docker steps may come out otherwise each time: they are not run again, their result is pinned by its digest"
    scripts = [name for layer in layers for name in layer.packages if name.startswith("link script of ")]
    if scripts:
        yield f"link scripts are programs, and may come out otherwise each time: {', '.join(scripts)}"


def _digest(manifest: Manifest) -> str:
    from wardian.digest import Digest

    return str(Digest.of(manifest.to_json()))
