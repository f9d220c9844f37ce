"""The names of images, below every room, so that settings can be checked: in a registry, in a layout's directory, in an archive."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from wardian.digest import Digest
from wardian.errors import InvalidDigest, InvalidReference

DEFAULT_REGISTRY = "docker.io"
LATEST = "latest"
FILE_KINDS = ("oci", "oci-archive", "docker-archive")
OF_ENVIRONMENT = "wardian"  # what stands before the name of an environment whose image is meant
_FOREIGN_KINDS = ("containers-storage", "dir", "docker-daemon", "ostree", "sif", "tarball")  # other tools' transports
_ALIASES = {
    "index.docker.io": DEFAULT_REGISTRY,
    "registry-1.docker.io": DEFAULT_REGISTRY,
    "registry.hub.docker.com": DEFAULT_REGISTRY,
}
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::(\d+))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST_AT_END = re.compile(r"@sha\d+:[^@/]*$")
_LONGEST_NAME = 255
_LARGEST_PORT = 65535
_SHAPES = (
    "[HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST], oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG]"
)


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image in a registry.

    Attributes:
        registry: ``HOST[:PORT]``; ``docker.io`` where none was written.
        repository: in that registry: ``library/python``.
        tag: empty: none was written.
        digest: of its manifest or index; it counts, whatever the tag.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def wanted(self) -> str:
        """What to ask the repository for: the digest, else the tag, else ``latest``."""
        return f"sha256:{self.digest}" if self.digest else self.tag or LATEST

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def at(self, digest: Digest) -> ImageReference:
        """Return the reference to exactly these bytes, in the same repository."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@sha256:{self.digest}" if self.digest else "")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image in a file or directory of this machine.

    Attributes:
        kind: ``oci`` (a layout's directory), ``oci-archive``, ``docker-archive``.
        path: as it was written.
        tag: which of several; of a Docker archive ``NAME:TAG``; of each also ``sha256:…``. Empty: the only one.
    """

    kind: str
    path: str
    tag: str = ""

    @property
    def is_archive(self) -> bool:
        """Whether it is one file, read and written as a whole."""
        return self.kind != "oci"

    def __str__(self) -> str:
        mark = "@" if self.tag.startswith("sha256:") else ":"
        return f"{self.kind}:{self.path}" + (f"{mark}{self.tag}" if self.tag else "")


def is_tag(text: str) -> bool:
    """Return whether ``text`` can be a tag in a registry."""
    return _TAG.fullmatch(text) is not None


def parse_image_name(text: str) -> ImageReference | ImageFile:
    """Return the image that ``text`` points at, in a registry or in a file.

    Raises:   InvalidReference: code ``invalid_image_reference``; the hint says what to write.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind in FILE_KINDS:
        return _file(text, kind, rest)
    if text.startswith("/") and "@sha256:" in text:  # as this machine's own images are shown
        return _file(text, "oci", text)
    if colon and kind in _FOREIGN_KINDS:
        raise _bad(text, f"`{kind}:` is no kind of place that is known here", f"an image is {_SHAPES}")
    return parse_image_reference(text)


def parse_registry(text: str) -> ImageReference | ImageFile:
    """Return the repository or the layout's directory that holds many images: ``HOST[:PORT]/REPOSITORY`` or ``oci:DIRECTORY``.

    Raises:   InvalidReference: code ``invalid_registry``: it names one image, or an archive; else as ``parse_image_name``.
    """
    found = parse_image_name(text)
    if found.tag or (found.digest is not None if isinstance(found, ImageReference) else found.kind != "oci"):
        raise InvalidReference(f"`{_shown(text)}` is not a registry", hint="a registry is `HOST[:PORT]/REPOSITORY`, without a tag, or `oci:DIRECTORY`",
                               code="invalid_registry")  # fmt: skip
    return found


def parse_base_image(text: str) -> ImageReference | ImageFile:
    """Return the image that others may be built on: in a registry, in a layout's directory, or in an archive.

    Raises:   InvalidReference: it is an environment; else as ``parse_image_name``.
    """
    if text.startswith(f"{OF_ENVIRONMENT}:"):
        raise _bad(text, "is none to build on", f"an image is {_SHAPES}")
    return parse_image_name(text)


def parse_host(text: str) -> str:
    """Return ``HOST[:PORT]`` as registries are compared by.

    Raises:   InvalidReference: it is none; a login in it is not repeated.
    """
    if "@" in text:
        raise _login(text.rpartition("@")[2])
    if "/" in text:
        host = text.rpartition("://")[2].partition("/")[0]
        raise _bad(text, "is more than a host", f"write `{_shown(host)}`" if host else "write HOST or HOST:PORT")
    return _registry(text, text)


def parse_image_reference(text: str) -> ImageReference:
    """Return the image in a registry that ``text`` points at: ``python``, ``localhost:5000/x:1``, ``ghcr.io/a/b@sha256:…``.

    The first part is a host if it holds a ``.`` or a ``:``, or is ``localhost``; else the registry is ``docker.io``, and a name of
    one part lies in its ``library``.

    Raises:   InvalidReference: code ``invalid_image_reference``; the hint says what to write. A login in it is not repeated.
    Source:   the distribution project's reference grammar
    """
    if _holds_login(text):
        raise _login(_DIGEST_AT_END.sub("", text).rpartition("@")[2])
    if "://" in text:
        scheme, _, rest = text.partition("://")
        hint = (
            f"write `{_shown(rest)}`"
            if scheme == "docker"
            else "leave the scheme away; a registry without TLS is declared insecure"
        )
        raise _bad(text, "has a scheme", hint)
    if not text or text != text.strip() or re.search(r"\s|[\x00-\x1f\x7f]", text):
        raise _bad(text, "is empty, or holds spaces", f"an image is {_SHAPES}")
    rest, at, digest_text = text.partition("@")
    digest = _digest(text, digest_text) if at else None
    head, slash, tail = rest.rpartition("/")
    last, colon, tag = tail.partition(":")
    if colon and not is_tag(tag):
        raise _bad(
            text,
            f"`{_shown(tag)}` is not a tag",
            "at most 128 letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`",
        )
    name = f"{head}{slash}{last}"
    first, slash, path = name.partition("/")
    if slash and (re.search(r"[.:\[]", first) or first == "localhost" or first != first.lower()):
        registry = _registry(text, first)
    else:
        registry, path = DEFAULT_REGISTRY, name
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    _check_repository(text, path)
    if len(f"{registry}/{path}") > _LONGEST_NAME:
        raise _bad(text, f"has a name of more than {_LONGEST_NAME} characters", "choose a shorter one")
    return ImageReference(registry, path, tag, digest)


def _file(text: str, kind: str, rest: str) -> ImageFile:
    if (named := re.fullmatch(r"([^:\0]+)@(sha256:[0-9a-f]{64})", rest)) and not rest.startswith("//"):
        return ImageFile(kind, named[1], named[2])
    path, _, tag = rest.partition(":")
    if not path or "\0" in path or path.startswith("//"):
        raise _bad(text, "names no file", f"write `{kind}:PATH` or `{kind}:PATH:TAG`")
    if kind == "docker-archive":
        if tag:
            reference = parse_image_reference(tag)
            if reference.digest:
                raise _bad(text, "has a digest, and archives have names", f"write `{kind}:{path}:NAME:TAG`")
    elif rest.endswith(":") or (tag and not is_tag(tag)):
        raise _bad(text, f"`{_shown(tag)}` is not a tag", "a path that holds a `:` cannot be written here; link or move it")
    return ImageFile(kind, path, tag)


def _registry(text: str, host: str) -> str:
    match = _HOST.fullmatch(host)
    if match is None:
        raise _bad(text, f"`{_shown(host)}` is not a host", "write HOST or HOST:PORT")
    if match[1] and not 0 < int(match[1]) <= _LARGEST_PORT:
        raise _bad(text, f"`{match[1]}` is not a port", "a port is a number from 1 to 65535")
    lower = host.lower()
    return _ALIASES.get(lower, lower)


def _check_repository(text: str, path: str) -> None:
    for part in path.split("/"):
        if _COMPONENT.fullmatch(part):
            continue
        lower = part.lower()
        if lower != part and _COMPONENT.fullmatch(lower):
            raise _bad(
                text, f"`{_shown(part)}` has capital letters", f"names in registries are lower case: `{_shown(text.lower())}`"
            )
        raise _bad(
            text,
            f"`{_shown(part)}` is not part of a name",
            "lower-case letters and digits, with single `.`, `_`, `__` or `-` between",
        )
    if _HEX.fullmatch(path.removeprefix("library/")):
        raise _bad(text, "is a digest without a name", f"write NAME@sha256:{path.removeprefix('library/')}")


def _digest(text: str, written: str) -> Digest:
    if not written.startswith("sha256:"):
        raise _bad(text, f"`{_shown(written)}` is not a digest", "write `@sha256:` and 64 hexadecimal digits")
    try:
        return Digest(written)
    except InvalidDigest:
        raise _bad(
            text, f"`{_shown(written)}` is not a digest", "write `@sha256:` and 64 lower-case hexadecimal digits"
        ) from None


def _holds_login(text: str) -> bool:
    """Whether ``USER@`` or ``USER:PASSWORD@`` stands before a name; a digest, even a wrong one, stands behind one."""
    name, _, rest = _DIGEST_AT_END.sub("", text).partition("@")
    return bool(rest) and (":" in name.rpartition("/")[2] or bool(re.search(r"[/.:@]", rest)))


def _login(rest: str) -> InvalidReference:
    host = rest.partition("/")[0] or "HOST"
    hint = f"leave it out: `wardian secret set NAME --kind registry --url https://{_shown(host)} --user USER` keeps it, or use `docker login`"
    return InvalidReference(f"a login stands before `{_shown(rest)}`", hint=hint, code="invalid_image_reference")


def _bad(text: str, why: str, hint: str) -> InvalidReference:
    shown = _shown(text)
    return InvalidReference(f"the image `{shown}` {why}" if not why.startswith("`") else f"in the image `{shown}` {why}", hint=hint,
                            code="invalid_image_reference")  # fmt: skip


def _shown(text: str) -> str:
    short = text if len(text) <= 200 else f"{text[:200]}…"  # noqa: PLR2004
    return short if short.isprintable() else ascii(short)[1:-1]
