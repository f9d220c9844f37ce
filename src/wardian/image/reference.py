"""How people point at an image: in a registry, in a layout, in an archive, or as that of an environment."""

from __future__ import annotations

from dataclasses import dataclass

from wardian.definition.reference import Reference
from wardian.image_name import (
    FILE_KINDS,
    LATEST,
    OF_ENVIRONMENT,
    ImageFile,
    ImageReference,
    parse_image_name,
    parse_image_reference,
)

__all__ = ["FILE_KINDS", "LATEST", "EnvironmentImage", "ImageFile", "ImageReference", "parse_image", "parse_image_reference"]


@dataclass(frozen=True, slots=True)
class EnvironmentImage:
    """The image of an environment: ``wardian:sklearn:5``."""

    environment: Reference

    def __str__(self) -> str:
        return f"{OF_ENVIRONMENT}:{self.environment}"


def parse_image(text: str) -> ImageReference | ImageFile | EnvironmentImage:
    """Return what ``text`` points at.

    Raises:   InvalidReference: code ``invalid_image_reference``, or what an environment's reference has; the hint says what to write.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == OF_ENVIRONMENT and not rest.startswith("//"):
        return EnvironmentImage(Reference.parse(rest))
    return parse_image_name(text)
