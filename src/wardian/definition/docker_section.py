"""The section of a definition that says what its images start from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wardian.definition.local_path import checked_path
from wardian.definition.platform import get_platform
from wardian.definition.secret_text import looks_secret
from wardian.definition.values import FrozenMap, clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.definition.fault_list import FaultList
    from wardian.digest import Digest

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_LOGIN = re.compile(r"^(\s*(?:[A-Za-z][A-Za-z0-9+.-]*://)?).*@(?=[^@]*/)", re.DOTALL)
_OF_FILES = ("oci:", "oci-archive:", "docker-archive:")  # their paths may hold any character
SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class BuildContext:
    """A directory for a Docker build: its digest, and the Dockerfile's path in it."""

    digest: Digest
    path: str = "."
    dockerfile: str = "Dockerfile"


@dataclass(frozen=True, slots=True)
class DockerSection:
    """What an image starts from: at most one of ``base_image``, ``dockerfile`` (its text) and ``build_context``.

    Attributes:
        build_args: for the steps of ``dockerfile`` or ``build_context``; part of the identity, and to be seen in the image.
        build_secrets: id in the steps (``RUN --mount=type=secret,id=…``) → name of a stored secret; in no identity.
        credentials: name of the stored secret that logs in to the registry of the base image; in no identity.
    """

    base_image: str | None = None
    dockerfile: str | None = None
    build_context: BuildContext | None = None
    platform: str | None = None
    credentials: str | None = None
    build_args: Mapping[str, str] = field(default_factory=FrozenMap)
    build_secrets: Mapping[str, str] = field(default_factory=FrozenMap)

    @property
    def has_steps(self) -> bool:
        """Whether there are Docker steps: a Dockerfile, or a build context."""
        return self.dockerfile is not None or self.build_context is not None


def checked_docker(section: DockerSection, faults: FaultList) -> DockerSection:
    """Return ``section`` with its values normalised; what is wrong with it is noted in ``faults``."""
    given = [n for n in ("base_image", "dockerfile", "build_context") if getattr(section, n)]
    if len(given) > 1:
        faults.add("too_many_docker_options", "docker", f"at most one of {', '.join(given)} may be given")
    platform = section.platform and faults.checked("docker.platform", get_platform, section.platform)
    if section.base_image is not None and without_login(section.base_image) != section.base_image:
        faults.add("secret_in_definition", "docker.base_image", "the base image holds a login of its registry",
                   "`wardian secret set NAME`, and `docker: {credentials: NAME}`")  # fmt: skip
    elif section.base_image is not None and (not section.base_image.strip() or re.search(r"\s", section.base_image)):
        faults.add("bad_image", "docker.base_image", f"`{section.base_image}` is not an image reference")
    _check_steps(section, given, faults)
    return replace(
        section,
        base_image=section.base_image and clean_text(section.base_image),
        dockerfile=section.dockerfile and clean_text(section.dockerfile),
        build_context=section.build_context and _checked_context(section.build_context, faults),
        platform=platform,
        build_args=FrozenMap({key: clean_text(value) for key, value in section.build_args.items()}),
        build_secrets=FrozenMap(section.build_secrets),
    )


def without_login(image: str) -> str:
    """Return ``image`` without what stands before its registry as before the host of a URL: ``USER:PASSWORD@``.

    No reference has an ``@`` before a ``/``, save one into a directory or an archive.
    """
    return image if image.startswith(_OF_FILES) else _LOGIN.sub(r"\1", image)


def _check_steps(section: DockerSection, given: list[str], faults: FaultList) -> None:
    if section.dockerfile:
        _check_dockerfile(section.dockerfile, faults)
    for field_name in ("build_args", "build_secrets"):
        if getattr(section, field_name) and not {"dockerfile", "build_context"} & set(given):
            faults.add("no_docker_steps", f"docker.{field_name}", "there are no Docker steps that could use them",
                       "they go with `dockerfile` or `build_context`")  # fmt: skip
    for key, value in section.build_args.items():
        path = f"docker.build_args.{key}"
        if not VARIABLE.fullmatch(key):
            faults.add("bad_build_arg", path, f"`{key}` is not the name of a build argument", "letters, digits and `_`")
        elif looks_secret(key, value):
            faults.add("secret_in_definition", path, f"the value of `{key}` looks like a secret, and would stay in the image's history",
                       f"mount it: `RUN --mount=type=secret,id={key} …`, with `build_secrets: {{{key}: NAME}}` and `wardian secret set NAME`")  # fmt: skip
    for key, name in section.build_secrets.items():
        if not SECRET_ID.fullmatch(key):
            faults.add(
                "bad_build_secret",
                f"docker.build_secrets.{key}",
                f"`{key[:80]}` is not an id of a secret",
                "letters, digits, `.`, `_`, `-`",
            )
        elif not SECRET_NAME.fullmatch(name):
            faults.add("bad_build_secret", f"docker.build_secrets.{key}", "this is no name of a stored secret",
                       "give the name that `wardian secret set NAME` keeps it under, never the value")  # fmt: skip


def _check_dockerfile(text: str, faults: FaultList) -> None:
    """Note each fault of a Dockerfile; its field path ends in the line: ``docker.dockerfile:3``."""
    from wardian.definition.dockerfile import parse_dockerfile
    from wardian.errors import InvalidDefinition

    try:
        parse_dockerfile(clean_text(text))
    except InvalidDefinition as error:
        for fault in error.faults:
            faults.add(fault.code, f"docker.dockerfile:{fault.line}", fault.message, fault.hint)


def _checked_context(context: BuildContext, faults: FaultList) -> BuildContext:
    path = faults.checked("docker.build_context.path", checked_path, context.path)
    dockerfile = faults.checked("docker.build_context.dockerfile", checked_path, context.dockerfile).removeprefix("./")
    if dockerfile.split("/")[0] in (".", ".."):
        faults.add(
            "bad_path", "docker.build_context.dockerfile", f"`{context.dockerfile[:120]}` is no file in the build context"
        )
    return replace(context, path=path, dockerfile=dockerfile)
