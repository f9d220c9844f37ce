"""Which base image a new version gets: a newer one of the same reference, or the one that it had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.image.base import Base
    from wardian.workspace.version import EnvironmentVersion


@dataclass(frozen=True, slots=True)
class BaseMove:
    """The base image on one platform, before and after; equal digests: it stays.

    Attributes:
        reference: as it is written.  before, after: digests of manifests; None: ``scratch``.  store: where ``after`` is.
        anew: it was made by Docker steps, which are carried out again when the new version's image is built.
    """

    platform: str
    reference: str
    before: Digest | None
    after: Digest | None
    store: str
    anew: bool = False

    def __bool__(self) -> bool:
        """Whether it moves."""
        return self.anew or self.before != self.after

    def __str__(self) -> str:
        before, after = (f"sha256:{digest.short}" if digest else "scratch" for digest in (self.before, self.after))
        after = "made anew when the next image is built" if self.anew else after
        return f"{self.platform} {self.reference} {before}{f' → {after}' if self else ''}"

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "platform": self.platform,
            "reference": self.reference,
            "before": self.before,
            "after": self.after,
            "anew": self.anew,
        }


def plan_bases(
    parts: Parts, version: EnvironmentVersion, environment: Environment, platforms: Sequence[str], *, hold: bool
) -> tuple[BaseMove, ...]:
    """Return the bases of a new version of ``version``, for the platforms on which that one has a base. Nothing is pinned.

    Where it has none yet, the new version gets one at first need, as every version does. Docker steps are carried out again then.

    Args:     hold: keep the bases as they are.
    Raises:   NotFound, BuildFailed, Unavailable, Denied: see ``wardian.image.base.get_base``.
    """
    found = []
    for name in platforms:
        pin = parts.images.records.find_base(version.id, name)
        if pin is None:
            continue
        if not hold and environment.docker.has_steps:
            found.append(BaseMove(name, "Docker steps", pin.digest, None, "", anew=True))
            continue
        if not hold and parts.settings.offline:
            parts.listener(Event("notice", f"offline: the base image {pin.reference} stays sha256:{(pin.digest or '')[:12]}"))
        if hold or parts.settings.offline:
            found.append(BaseMove(name, pin.reference, pin.digest, pin.digest, pin.store))
            continue
        reference, base = _newest(parts, environment, name)
        found.append(BaseMove(name, reference, pin.digest, base.digest if base else None, base.store.name if base else ""))
    return tuple(found)


def _newest(parts: Parts, environment: Environment, platform: str) -> tuple[str, Base | None]:
    """Return how a definition's base image is written, and what that means now; None: ``scratch``."""
    from wardian.image.base import get_base
    from wardian.sdk.base_login import check_login
    from wardian.sdk.image_base import SCRATCH, ImageBases

    reference = environment.docker.base_image or parts.settings.base_image
    if reference == SCRATCH:
        return reference, None
    check_login(parts, environment.docker, [reference])
    store, tag = ImageBases(parts).place_of(reference)
    return reference, get_base(store, tag, platform)
