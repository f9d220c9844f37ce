"""What an image is identified by before it exists: the lock, the base and how Wardian writes images (semantics §5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from wardian.digest import Digest

if TYPE_CHECKING:
    from wardian.lock.lock import Lock

WRITER = 1  # another number where the same lock would give other bytes


@dataclass(frozen=True, slots=True)
class ImageScheme:
    """How images are written. Part of every key: two schemes share no layer.

    Attributes:
        compressor: library, version and level, as ``wardian.image.compression`` names it: ``zstandard-0.25.0/1.5.7:3``.
        byte_code: whether packages carry byte-code.
        epoch: the time of every file, seconds since 1970.
        writer: the version of Wardian's rules for layers.
    """

    compressor: str
    byte_code: bool = True
    epoch: int = 0
    writer: int = WRITER


def image_key(lock: Lock, base: Digest | None, scheme: ImageScheme) -> Digest:
    """Return the key of the image of ``lock`` on the base whose manifest has the digest ``base`` (None: ``scratch``).

    The tag's number is that of the rules by which layers are put together. No name, version, variable, workspace, host or time has a part in it.
    """
    return Digest.of_document(
        {"lock": lock.digest, "base": base, "scheme": asdict(scheme), "platform": lock.platform, "tag": "wardian-image-2"}
    )


def image_tag(key: Digest) -> str:
    """Return the tag that an image with this key has in every repository."""
    return f"i-{key}"
