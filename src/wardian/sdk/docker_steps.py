"""The base image that a definition's own Docker steps make: carried out once per version and platform, then pinned by digest."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import BuildFailed, Denied, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.definition.docker_section import DockerSection
    from wardian.definition.platform import Platform
    from wardian.image.engine import Login
    from wardian.image.store import ImageStore
    from wardian.workspace.version import EnvironmentVersion

STEPS = "docker steps"  # stands in a pin where a reference stands for others


def steps_tag(docker: DockerSection, platform: Platform) -> str:
    """Return the tag of what these steps make for ``platform``: definitions with the same steps share it."""
    context = docker.build_context
    steps: dict[str, object] = {
        "dockerfile": docker.dockerfile,
        "context": [context.digest, context.dockerfile] if context else None,
        "platform": platform.name,
    }
    steps |= {key: dict(value) for key, value in (("args", docker.build_args), ("secrets", docker.build_secrets)) if value}
    return f"b-{Digest.of_document(steps)}"


def build_base(parts: Parts, version: EnvironmentVersion, platform: Platform, *, refresh: bool = False) -> Digest:
    """Carry out the Docker steps of a version with whatever builder this machine has; return the digest of the image, in ``images.home``.

    Not reproducible: what was built before from the same steps is taken, unless ``refresh``. One build for all who want it at once.

    Raises:   NotFound: code ``no_such_secret``: one that the steps mount is not kept here.  Denied: ``secret_not_for_this``: as ``check_login``.
              InvalidDefinition: the Dockerfile's faults.  BuildFailed: code ``docker_build_failed``, with ``FILE:LINE:``.
              EngineUnavailable: ``no_builder``: the message says of each why not.  NotFound: code ``no_build_context``.
    """
    from wardian.image.builder import build_image
    from wardian.tools.flight import Flight

    images, docker = parts.images, version.environment.docker
    home, tag = images.home, steps_tag(docker, platform)
    if not refresh and (found := home.find(tag)) is not None:
        return found.descriptor.digest
    with Flight.of(parts.flights, tag).lead(parts.listener, lambda: not refresh and home.find(tag) is not None) as listener:
        if listener is None:
            return _there(home, tag)
        with parts.builds.record("base", str(version), tag, listener) as recorder:
            context = docker.build_context
            directory = None
            if context is not None and (directory := parts.artifacts.find(context.digest, {})) is None:
                raise NotFound(f"the build context of {version} (tree {context.digest.short}) is not here", code="no_build_context",
                               hint="register the definition again where the directory is")  # fmt: skip
            from wardian.definition.platform import this_platform

            secrets = _secrets(parts, version)
            built = build_image(
                images.builders, home, scratch=images.scratch, dockerfile=docker.dockerfile, context=directory,
                name=context.dockerfile if context else "Dockerfile", names=(tag,), refresh=refresh, build_args=docker.build_args, secrets=secrets,
                plain_http=True,  # to loopback alone: see the builders
                logins=_logins(parts, docker, directory),
                platform="" if platform == this_platform() else platform.name, listener=recorder,
            )  # fmt: skip
            recorder.outcome |= {"digest": built.descriptor.digest, "builder": built.builder, "store": home.name}
            return built.descriptor.digest


def _secrets(parts: Parts, version: EnvironmentVersion) -> dict[str, str]:
    """Return what the steps mount, by id. Only secrets that are bound to no host: a definition must not have logins sent elsewhere."""
    found = {}
    for key, name in version.environment.docker.build_secrets.items():
        secret = parts.secrets.find(name)
        if secret is None:
            raise NotFound(f"the Docker steps of {version} mount the secret `{name}` as `{key}`, and there is none of that name here",
                           code="no_such_secret", hint=f"`wardian secret set {name}` asks for its value")  # fmt: skip
        if secret.kind != "plain":
            raise Denied(f"the secret `{name}`, which the Docker steps of {version} mount, is a login for {secret.url}, and goes nowhere else",
                         code="secret_not_for_this", hint="keep what steps may mount as a plain secret: `wardian secret set NAME`, without --url")  # fmt: skip
        found[key] = secret.value
    return found


def _logins(parts: Parts, docker: DockerSection, context: Path | None) -> dict[str, Login]:
    """Return the logins for the registries that the steps name."""
    from wardian.definition.dockerfile import parse_dockerfile
    from wardian.errors import InvalidReference
    from wardian.image.reference import parse_image_reference
    from wardian.sdk.base_login import check_login

    name = docker.build_context.dockerfile if docker.build_context else "Dockerfile"
    path = context / name if context else None
    text = docker.dockerfile or (path.read_text(errors="replace") if path is not None and path.is_file() else "")
    found = {}
    images = parse_dockerfile(text, name).base_images(docker.build_args)
    check_login(parts, docker, images)
    for image in images:
        with contextlib.suppress(InvalidReference):  # a variable that only the builder knows
            reference = parse_image_reference(image)
            login = parts.images.registry_login(reference.registry, reference.repository)
            if login is not None:
                found[reference.registry] = login
    return found


def _there(home: ImageStore, tag: str) -> Digest:
    found = home.find(tag)
    if found is None:
        raise BuildFailed("what the Docker steps made is gone again", hint="run it again")
    return found.descriptor.digest
