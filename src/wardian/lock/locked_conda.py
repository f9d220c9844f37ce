"""The conda packages of another tool's lock file: taken as they are listed; no channel is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wardian.definition.well_known import channel_identity
from wardian.errors import SolveFailed
from wardian.lock.lock import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.definition.platform import Platform
    from wardian.formats.locked_input import LockedConda, LockedInput, LockedPlatform
    from wardian.lock.conda import CondaSolver
    from wardian.lock.solver import SolveRequest

_HINT = "lock anew with the tool that wrote the file, and create from the new file"


def locked_platform(locked: LockedInput, platform: Platform) -> LockedPlatform:
    """Return what the file lists for ``platform``.

    Raises:   SolveFailed: code ``locked_elsewhere``: it lists nothing for it.
    """
    platforms = locked.platforms or {}
    if platform.name not in platforms:
        known = ", ".join(platforms) or "no platform that Wardian knows"
        raise SolveFailed(
            f"the lock file is not for {platform}", code="locked_elsewhere", hint=f"it is for: {known}; `pixi workspace platform add` adds one"
        )  # fmt: skip
    return platforms[platform.name]


def locked_conda(conda: CondaSolver, locked: LockedInput, request: SolveRequest) -> tuple[Artifact, ...]:
    """Return the conda packages for the request's platform, ordered by name, each from the definition's channel of that identity.

    Raises:   SolveFailed: codes ``locked_elsewhere``, ``not_in_locked_input``.  What ``plan_channels`` raises.
    """
    found = locked_platform(locked, request.platform).conda
    _check(request, found, locked)
    aliases = {channel_identity(url): alias for url, alias in conda.channel_aliases(request.environment).items()}
    return tuple(sorted((_artifact(one, aliases) for one in found), key=lambda artifact: artifact.name))


def _artifact(one: LockedConda, aliases: Mapping[str, str]) -> Artifact:
    identity = channel_identity(one.channel)
    if identity not in aliases:
        raise SolveFailed(f"{one.file} is from the channel {identity}, which the definition does not name", code="not_in_locked_input",
                          hint="create the environment from the lock file again")  # fmt: skip
    stamp = datetime.fromtimestamp(one.milliseconds / 1000, UTC) if one.milliseconds else None
    exact = "milliseconds" if stamp is not None and stamp.microsecond else "seconds"
    return Artifact(
        kind="conda", source=f"channel:{aliases[identity]}", name=one.name, version=one.version, file=one.file, sha256=one.sha256,
        size_bytes=one.size_bytes, build=one.build, build_number=one.build_number, subdir=one.subdir, depends=one.depends,
        constrains=one.constrains, noarch=one.noarch, site_packages_path=one.site_packages_path, license=one.license,
        timestamp=stamp.isoformat(timespec=exact).replace("+00:00", "Z") if stamp else "",
    )  # fmt: skip


def _check(request: SolveRequest, found: tuple[LockedConda, ...], locked: LockedInput) -> None:
    """Check that what the definition asks conda for is what the file has: it may have been changed since."""
    from wardian.definition.match_spec import MatchSpec
    from wardian.tools import rattler

    anywhere = {one.name for platform in (locked.platforms or {}).values() for one in platform.conda}
    here = {one.name: one for one in found}
    for position, text in enumerate(request.environment.python.conda):
        spec = MatchSpec.parse(text)
        one = here.get(spec.name)
        if one is None and spec.name in anywhere:
            continue  # it is wanted on other platforms
        if one is None or (spec.url is None and not rattler.fits(f"{spec.name}{spec.rest}", one.name, one.version, one.build)):
            what = "nothing of that name" if one is None else f"{one.name} {one.version}"
            raise SolveFailed(f"python.conda[{position}] `{text}` is not in the lock file of this environment: it has {what}",
                              code="not_in_locked_input", hint=_HINT)  # fmt: skip
