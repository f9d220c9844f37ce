"""Small images for tests: layers, configuration and manifest, in memory. No pytest in here."""

from __future__ import annotations

import io
import random
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from wardian.digest import Digest
from wardian.image.oci import CONFIG, LAYER, MANIFEST, Descriptor, ImageConfig, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.image.store import ImageStore


def content(seed: int, size_bytes: int) -> bytes:
    """Return bytes that are always the same for ``seed``."""
    return random.Random(seed).randbytes(size_bytes)  # noqa: S311


def blob(data: bytes, media_type: str = LAYER) -> tuple[Descriptor, Callable[[], IO[bytes]]]:
    """Return what ``ImageStore.put`` takes for ``data``."""
    return Descriptor.of(data, media_type), lambda: io.BytesIO(data)


def tar_layer(files: dict[str, bytes]) -> bytes:
    """Return an uncompressed layer with these files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    return target.getvalue()


@dataclass
class AnImage:
    """An image of ``layers`` (uncompressed tars) for one platform.

    ``packed``: the layers as they are stored; ``media_types``: theirs. Empty: stored as they are.
    """

    layers: list[bytes]
    platform: str = "linux/amd64"
    packed: list[bytes] = field(default_factory=list)
    media_types: list[str] = field(default_factory=list)
    variables: tuple[tuple[str, str], ...] = (("PATH", "/usr/bin:/bin"),)

    @property
    def config(self) -> bytes:
        """The configuration as it is stored."""
        return ImageConfig(
            self.platform, tuple(Digest.of(layer) for layer in self.layers), self.variables, ("/bin/true",)
        ).to_json()

    @property
    def blobs(self) -> list[tuple[Descriptor, bytes]]:
        """The configuration and the layers, as they are stored."""
        types = self.media_types or [LAYER] * len(self.layers)
        stored = [(Descriptor.of(d, t), d) for d, t in zip(self.packed or self.layers, types, strict=True)]
        return [(Descriptor.of(self.config, CONFIG), self.config), *stored]

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        config, *layers = (descriptor for descriptor, _ in self.blobs)
        return Manifest(config, tuple(layers))

    @property
    def descriptor(self) -> Descriptor:
        """What an index says of it."""
        found = Descriptor.of(self.manifest.to_json(), MANIFEST)
        return Descriptor(found.media_type, found.digest, found.size_bytes, self.platform)

    def put(self, store: ImageStore, *names: str) -> Descriptor:
        """Store it, with these tags."""
        for descriptor, data in self.blobs:
            store.put(descriptor, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
        return store.tag(self.manifest.to_json(), MANIFEST, names)


def an_image(seed: int = 1, *, platform: str = "linux/amd64", layers: int = 2) -> AnImage:
    """Return a small image; another ``seed``, other layers."""
    made = [tar_layer({f"opt/file-{seed}-{n}": content(seed * 100 + n, 2000 + n)}) for n in range(layers)]
    return AnImage(made, platform)
