"""The port for what carries out Docker steps on this machine (BuildKit, docker, podman, buildah), and the one way to use it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wardian.definition.dockerfile import Dockerfile, parse_dockerfile
from wardian.definition.secret_text import looks_secret
from wardian.errors import BuildFailed, InvalidInput
from wardian.events import Event, silent
from wardian.image.archives import open_docker_archive, open_oci_archive
from wardian.image.context import stage_context
from wardian.image.copy import copy_image
from wardian.image.engine import EngineUnavailable
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.events import Listener
    from wardian.image.engine import Login
    from wardian.image.oci import Descriptor
    from wardian.image.store import ImageStore


class BuildCanceled(BuildFailed):
    """A build was stopped on request."""

    code = "build_canceled"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to build, with nothing left to decide.

    Attributes:
        dockerfile: as it was read; it lies at ``path`` in ``context``.
        context: a directory with exactly what the build may see.
        tag: a name for the result in the builder's own storage, by which its cache survives.
        build_args: seen by everybody: they stay in the image's history.
        secrets: id → value, for ``RUN --mount=type=secret``; neither kept nor logged.
        platform: ``linux/arm64``; empty: this machine's.
        logins: by registry.  plain_http: registries of this machine (127.0.0.0/8) may be
            reached without TLS; about others, the builders' own configuration decides.
        refresh: newer base images are looked for.  use_cache: steps that were done before are not done again.
    """

    dockerfile: Dockerfile
    context: Path
    path: Path
    tag: str
    build_args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    platform: str = ""
    logins: Mapping[str, Login] = field(default_factory=dict)
    plain_http: bool = False
    refresh: bool = False
    use_cache: bool = True


@dataclass(frozen=True, slots=True)
class BuilderCheck:
    """Whether a builder is usable here; ``detail``: if not, why; else what is worth knowing."""

    name: str
    works: bool
    version: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image that Docker steps made: its manifest, who built it, and why that one was taken."""

    descriptor: Descriptor
    builder: str
    why: str


class ImageBuilder(Protocol):
    """Carries out Docker steps. Contract: tests/contracts/test_image_builder.py.

    Nothing of secrets is in the image, the log, the history or a list of processes; a builder whose caller is killed stops.
    """

    name: str  # ``buildkit`` | ``buildah`` | ``podman`` | ``docker``
    archive: str  # what ``build`` writes: ``oci`` | ``docker``

    def check(self) -> BuilderCheck:
        """Return whether it works here. Raises nothing."""
        ...

    def cannot(self, recipe: Recipe) -> str:
        """Return what of ``recipe`` it cannot do, in words; empty: it can all of it."""
        ...

    def build(self, recipe: Recipe, output: Path, log: Callable[[str], None], *, stop: int | None = None) -> None:
        """Build ``recipe`` and write the image to the archive ``output``. ``log`` gets what it says, line by line, as it comes.

        Args:     stop: a descriptor; when it can be read, the build ends and nothing of it runs any more.
        Raises:   BuildFailed: ``docker_build_failed``: a step failed; the message begins with ``FILE:LINE:``.  BuildCanceled.
                  NotFound: ``image_not_found``: a base image.  Denied.  EngineUnavailable.
        """
        ...


def build_image(
    builders: Sequence[ImageBuilder],
    target: ImageStore,
    *,
    scratch: Path,
    dockerfile: str | None = None,
    context: Path | None = None,
    name: str = "Dockerfile",
    names: Sequence[str] = (),
    build_args: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    platform: str = "",
    logins: Mapping[str, Login] | None = None,
    plain_http: bool = False,
    refresh: bool = False,
    use_cache: bool = True,
    stop: int | None = None,
    listener: Listener = silent,
) -> BuiltImage:
    """Carry out Docker steps and bring the image to ``target``; its digest is what it is known by from then on.

    The steps are a text alone, or a context with the Dockerfile ``name`` in it. ``target`` gets the image whole or not at all.

    Args:     builders: in order of preference; the first that works here and can do it is taken, and the listener is told why.
              scratch: a directory for the context and the archive; nothing stays there.
              names: tags in ``target``.  listener: gets ``phase``, ``notice`` and ``output`` events.
    Raises:   InvalidDefinition: the Dockerfile's faults.  InvalidInput: ``bad_build_arg``, ``bad_secret``.
              EngineUnavailable: ``no_builder``; the message says of each why not.  As ``ImageBuilder.build`` and ``copy_image``.
    """
    arguments = dict(build_args or {})
    for key, value in arguments.items():
        if looks_secret(key, value):
            raise InvalidInput(f"the build argument `{key}` looks like a secret, and would stay in the image's history", code="bad_build_arg",
                               hint=f"mount it: `RUN --mount=type=secret,id={key} …`, and give it as a secret")  # fmt: skip
    with disk_errors(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=scratch, prefix="build-"))
    try:
        recipe = replace(
            _recipe(dockerfile, context, name, place, platform), build_args=arguments, secrets=dict(secrets or {}), platform=platform,
            logins=dict(logins or {}), plain_http=plain_http, refresh=refresh, use_cache=use_cache,
        )  # fmt: skip
        builder, why = choose_builder(builders, recipe)
        listener(Event("notice", f"the Docker steps are built by {builder.name}", data={"builder": builder.name, "why": why}))
        listener(Event("phase", "building", data={"builder": builder.name}))
        output = place / "image.tar"
        builder.build(recipe, output, lambda line: listener(Event("output", line)), stop=stop)
        listener(Event("phase", "storing"))
        opened = open_oci_archive if builder.archive == "oci" else open_docker_archive
        with opened(output, scratch=place) as source:
            copied = copy_image(source, "", target, names, listener=listener)
        return BuiltImage(copied.descriptor, builder.name, why)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def choose_builder(builders: Sequence[ImageBuilder], recipe: Recipe) -> tuple[ImageBuilder, str]:
    """Return the first builder that works here and can build ``recipe``, and why it is that one.

    Raises:   EngineUnavailable: ``no_builder``.
    """
    passed: list[str] = []
    for builder in builders:
        check = builder.check()
        why_not = check.detail if not check.works else builder.cannot(recipe)
        if not why_not:
            detail = f"{check.version}" + (f" ({check.detail})" if check.detail else "")
            return builder, "; ".join([detail or "it works here", *passed])
        passed.append(f"not {builder.name}: {why_not}")
    raise EngineUnavailable(
        "nothing on this machine can carry out these Docker steps: " + "; ".join(passed or ["no builder is known"]),
        hint="install podman, buildah or docker", code="no_builder",
    )  # fmt: skip


def _recipe(dockerfile: str | None, context: Path | None, name: str, place: Path, platform: str) -> Recipe:
    from wardian.digest import Digest

    if context is not None:
        staged = stage_context(context, place / "context", dockerfile=name)
        text = staged.read_text(errors="replace")
    else:
        text = dockerfile or ""
    parsed = parse_dockerfile(text, name)  # before anything is written for it
    if context is None:
        (place / "context").mkdir(parents=True)
        staged = place / "Dockerfile"  # beside the context, which is empty: nothing can be copied from it
        staged.write_text(text)
    origin = str(context.absolute()) if context else text
    tag = f"wardian-build:{str(Digest.of(f'{origin}:{name}:{platform}'.encode()))[:16]}"
    return Recipe(parsed, place / "context", staged, tag)
