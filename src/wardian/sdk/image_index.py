"""One image for several platforms: the index of a version's images, in the workspace's registry or this machine's store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.bootstrap import Parts
    from wardian.digest import Digest
    from wardian.sdk.image_making import EnvironmentImage
    from wardian.workspace.version import EnvironmentVersion


@dataclass(frozen=True, slots=True)
class EnvironmentIndex:
    """The index of a version's images.

    Attributes:
        store: the repository that has it.  tag: its own tag there.  platforms: those that it has an image for.
    """

    digest: Digest
    store: str
    tag: str
    platforms: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What container engines and other tools call it."""
        return f"{self.store}@sha256:{self.digest}"


def ensure_index(parts: Parts, version: EnvironmentVersion, images: Sequence[EnvironmentImage]) -> EnvironmentIndex:
    """Return the index of these images, put where images of this workspace go; those that are elsewhere are copied there first.

    Raises:   NotFound: the store of an image is gone.  InvalidImage: code ``tag_mismatch``.  Unavailable, Denied, DiskFull.
    """
    from wardian.image.copy import copy_image
    from wardian.image.index import index_tag, put_index

    home = parts.images.home
    for one in images:
        if one.store != home.name:
            source = parts.images.store_named(one.store)
            if source is None:
                raise NotFound(f"{one.store} is gone", code="image_not_found", hint=f"`wardian env build {version} --image`")
            copy_image(source, f"sha256:{one.digest}", home, listener=parts.listener)
    descriptor = put_index(home, {one.platform: (one.key, one.digest) for one in images})
    tag = index_tag({one.platform: one.key for one in images})
    return EnvironmentIndex(descriptor.digest, home.name, tag, tuple(sorted(one.platform for one in images)))
