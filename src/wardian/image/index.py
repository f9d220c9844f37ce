"""Several images of one environment under one name: an index of its images for several platforms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import NotFound
from wardian.image.oci import Index, InvalidImage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.image.oci import Descriptor
    from wardian.image.store import ImageStore


def index_tag(keys: Mapping[str, Digest]) -> str:
    """Return the tag of the index of the images with these keys, by platform. It is written once, as theirs are (ADR 0021)."""
    return f"x-{Digest.of_document({'tag': 'wardian-index', 'images': dict(sorted(keys.items()))})}"


def put_index(store: ImageStore, images: Mapping[str, tuple[Digest, Digest]]) -> Descriptor:
    """Name images that ``store`` has by one index, under its own tag; return its descriptor. Idempotent: the same bytes everywhere.

    Args:     images: platform → the image's key and the digest of its manifest.
    Raises:   NotFound: an image is not there.  InvalidImage: code ``tag_mismatch``.  Unavailable, Denied, DiskFull.
    """
    children = []
    for platform, (_, digest) in sorted(images.items()):
        found = store.find(f"sha256:{digest}")
        if found is None:
            raise NotFound(f"{store.name} has no image sha256:{digest}", code="image_not_found", hint="build it again")
        children.append(replace(found.descriptor, platform=platform))
    index = Index(tuple(children))
    tag = index_tag({platform: key for platform, (key, _) in images.items()})
    content = index.to_json()
    known = store.find(tag)
    if known is not None and known.content != content:
        raise InvalidImage(f"`{tag}` in {store.name} names something else", code="tag_mismatch",
                           hint="somebody has changed it; delete that tag, and build it again")  # fmt: skip
    return known.descriptor if known is not None else store.tag(content, index.media_type, [tag])
