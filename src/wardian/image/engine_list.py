"""The engines and builders that Wardian knows, in the order in which they are preferred."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import NotFound
from wardian.image.engine import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.image.builder import ImageBuilder
    from wardian.image.engine import ContainerEngine, EngineCheck

ENGINES = ("podman", "docker")


def engine_named(name: str, environ: Mapping[str, str], memory: Path) -> ContainerEngine:
    """Return the engine ``name``; nothing is called yet, and it may not be installed.

    Args:     environ: for its processes.  memory: a directory in the cache: what works on this machine is remembered there.
    Raises:   NotFound: ``engine_not_found``.
    """
    if name == "podman":
        from wardian.image.engine_podman import PodmanEngine

        return PodmanEngine(environ, memory=memory)
    if name == "docker":
        from wardian.image.engine_docker import DockerEngine

        return DockerEngine(environ, memory=memory)
    raise NotFound(f"there is no container engine `{name[:80]}`", hint=f"known: {', '.join(ENGINES)}", code="engine_not_found")


def first_engine(environ: Mapping[str, str], memory: Path) -> tuple[ContainerEngine, Sequence[EngineCheck]]:
    """Return the first engine that works here, and what was found out about each that was tried.

    Raises:   EngineUnavailable: ``no_engine``: none does; the message says of each why not.
    """
    checks = []
    for name in ENGINES:
        engine = engine_named(name, environ, memory)
        checks.append(engine.check())
        if checks[-1].works:
            return engine, checks
    why = "; ".join(f"{check.name}: {check.detail}" for check in checks)
    raise EngineUnavailable(f"no container engine works here: {why}", hint="install podman", code="no_engine")


def image_builders(environ: Mapping[str, str], memory: Path) -> tuple[ImageBuilder, ...]:
    """Return all builders, the most capable first, those without a daemon before docker's classic one."""
    from wardian.image.builder_buildah import BuildahBuilder, PodmanBuilder
    from wardian.image.builder_docker import BuildKitBuilder, DockerBuilder

    return (
        BuildKitBuilder(environ), BuildahBuilder(environ, memory=memory), PodmanBuilder(environ, memory=memory), DockerBuilder(environ),
    )  # fmt: skip
