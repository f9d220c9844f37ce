"""The conda solver and linker with real parts around them: a fetcher, a store, a channel. No pytest in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.builders import an_environment

from wardian.definition.platform import get_platform
from wardian.events import Event, silent
from wardian.lock.conda import CondaSolver
from wardian.lock.solver import SolveRequest
from wardian.package.fetch import Fetcher
from wardian.package.hints import Hints
from wardian.package.store import PackageStore
from wardian.prefix.conda import install_conda
from wardian.tools.http import Http

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.conda_channel import Channel

    from wardian.digest import Digest
    from wardian.lock.lock import Artifact
    from wardian.prefix.activation import Activation


def a_solver(place: Path, **changes: Any) -> CondaSolver:
    """Return a solver that keeps everything below ``place``."""
    values: dict[str, Any] = {
        "archives": a_fetcher(place), "cache": place / "repodata", "channels": {}, "mirrors": {}, "credentials": lambda _url: None,
        "environ": {}, "timeout_s": 3.0,
    }  # fmt: skip
    return CondaSolver(**{**values, **changes})


def a_fetcher(place: Path) -> Fetcher:
    """Return a fetcher with a store of its own."""
    return Fetcher(PackageStore(place / "packages"), Http(), Hints(place / "hints"), limit_bytes=1 << 30)


def a_request(
    *conda: str, channels: Sequence[str], platform: str = "linux/amd64", pip: Sequence[str] = (), **changes: Any
) -> SolveRequest:
    """Return a request for these conda requirements; ``accelerators`` goes to the definition, the rest to the request."""
    environment = an_environment(conda=conda, channels=channels, pip=pip, accelerators=changes.pop("accelerators", {}))
    return SolveRequest(environment, get_platform(platform), **changes)


def solved(place: Path, *conda: str, channels: Sequence[str], **changes: Any) -> tuple[Artifact, ...]:
    """Return the packages for these requirements."""
    return a_solver(place).solve_conda(a_request(*conda, channels=channels, **changes), silent)


def names(artifacts: Sequence[Artifact]) -> dict[str, str]:
    """Return version by name."""
    return {artifact.name: artifact.version for artifact in artifacts}


def archives_in(channel: Channel, artifacts: Sequence[Artifact]) -> dict[Digest, Path]:
    """Return where the archives of ``artifacts`` lie in ``channel``."""
    return {a.sha256: channel.directory / a.subdir / a.file for a in artifacts}


def installed(
    channel: Channel, prefix: Path, *conda: str, cache: Path, events: list[Event] | None = None, **changes: Any
) -> Activation:
    """Solve over ``channel`` and install into ``prefix``; ``changes`` go to ``install_conda``."""
    artifacts = solved(cache, *conda, channels=[channel.url])
    values: dict[str, Any] = {"package_cache": cache / "conda-packages", "link_scripts": "refuse"}
    heard: list[Event] = [] if events is None else events
    return install_conda(artifacts, archives_in(channel, artifacts), prefix, listener=heard.append, **{**values, **changes})
