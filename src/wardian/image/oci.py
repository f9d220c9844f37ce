"""OCI's values: descriptors, manifests, indexes and image configurations, read strictly and written one way.

Source:   OCI image specification 1.1; Docker's schema 2 where registries and daemons still give it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest, canonical_json
from wardian.errors import WardianError, wrong_in
from wardian.image.outside_json import (
    WrongJson,
    digest_in,
    list_in,
    object_in,
    pairs_in,
    read_object,
    refuse_floats,
    shown,
    text_in,
    texts_in,
)
from wardian.image_name import is_tag as is_tag  # noqa: PLC0414 - who reads manifests asks for it here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER + "+gzip"
LAYER_ZSTD = LAYER + "+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_LIST)

LARGEST_MANIFEST_BYTES = 4 << 20  # what registries accept
_LARGEST_SIZE = (1 << 63) - 1


class InvalidImage(WardianError):
    """A manifest, an index or a configuration is damaged, hostile or of a kind that Wardian does not know."""

    code = "invalid_image"

    def at(self, place: str) -> InvalidImage:
        """Return the same, said of ``place``: the image that it is about."""
        return type(self)(f"{place}: {self.message}", hint=self.hint, code=self.stable_code, details=self.details)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What names some bytes in a store: media type, sha256 and size.

    Attributes:
        platform: in an index: ``linux/amd64``; empty elsewhere. A variant is a third part: ``linux/arm/v7``.
        annotations: sorted pairs.
    """

    media_type: str
    digest: Digest
    size_bytes: int
    platform: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    artifact_type: str = ""

    def as_document(self) -> dict[str, Any]:
        """Return the descriptor as OCI's JSON has it."""
        document: dict[str, Any] = {"mediaType": self.media_type, "digest": f"sha256:{self.digest}", "size": self.size_bytes}
        if self.platform:
            document["platform"] = dict(zip(("os", "architecture", "variant"), self.platform.split("/"), strict=False))
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        return document

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Descriptor:
        """Return the descriptor of ``content``."""
        return cls(media_type, Digest.of(content), len(content))

    @classmethod
    def from_document(cls, document: Any) -> Descriptor:
        """Return the descriptor that OCI's JSON states.

        Raises:   InvalidImage: a field is missing or of the wrong type; a digest that is not sha256; a negative size.
        """
        try:
            size, digest = document["size"], document["digest"]
            if type(size) is not int or not 0 <= size <= _LARGEST_SIZE:
                raise InvalidImage(f"`{str(size)[:80]}` is not a size", code="wrong_size")
            if not isinstance(digest, str) or not digest.startswith("sha256:"):
                raise InvalidImage(f"`{str(digest)[:80]}` is not a sha256 digest", code="unsupported_digest")
            where = document.get("platform") or {}
            parts = [where.get("os", ""), where.get("architecture", ""), where.get("variant", "")]
            notes = document.get("annotations") or {}
            return cls(
                str(document["mediaType"]), digest_in(digest, "digest"), size, "/".join(parts).rstrip("/"),
                tuple(sorted((str(k), str(v)) for k, v in notes.items())), str(document.get("artifactType", "")),
            )  # fmt: skip
        except WrongJson as error:
            raise InvalidImage(str(error), code="unsupported_digest") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidImage(f"this is not a descriptor: {wrong_in(error)}") from error


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest, or an artifact's: a configuration and layers, from the lowest to the highest."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = MANIFEST
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> bytes:
        """Return the manifest as canonical JSON: the same manifest is the same bytes everywhere."""
        document: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": self.media_type, "config": self.config.as_document(),
            "layers": [layer.as_document() for layer in self.layers],
        }  # fmt: skip
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        if self.subject:
            document["subject"] = self.subject.as_document()
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return canonical_json(document)


@dataclass(frozen=True, slots=True)
class Index:
    """Several manifests under one name, such as an image for several platforms."""

    manifests: tuple[Descriptor, ...]
    media_type: str = INDEX
    annotations: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> bytes:
        """Return the index as canonical JSON."""
        document: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": self.media_type, "manifests": [m.as_document() for m in self.manifests]
        }  # fmt: skip
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return canonical_json(document)

    def for_platform(self, platform: str) -> Descriptor | None:
        """Return the first manifest for ``platform`` (``linux/amd64``; a variant in the index does not matter), or None."""
        return next((m for m in self.manifests if m.platform == platform or m.platform.startswith(platform + "/")), None)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container starts from: platform, variables, working directory, user, the layers' diff_ids.

    Attributes:
        diff_ids: sha256 of each uncompressed layer, lowest first.
        variables: in order; later ones win.
        extra: every other field of ``config`` as it was read (``ExposedPorts``, ``Volumes`` …).
    """

    platform: str
    diff_ids: tuple[Digest, ...]
    variables: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    working_directory: str = ""
    user: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    created: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the configuration as canonical JSON."""
        inner: dict[str, Any] = dict(self.extra)
        known = {
            "Env": [f"{name}={value}" for name, value in self.variables], "Cmd": list(self.command),
            "Entrypoint": list(self.entrypoint), "WorkingDir": self.working_directory, "User": self.user, "Labels": dict(self.labels),
        }  # fmt: skip
        inner |= {key: value for key, value in known.items() if value}
        document: dict[str, Any] = {
            **dict(zip(("os", "architecture", "variant"), self.platform.split("/"), strict=False)),
            "config": inner,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in self.diff_ids]},
        }
        if self.history:
            document["history"] = [dict(entry) for entry in self.history]
        if self.created:
            document["created"] = self.created
        return canonical_json(document)


def read_manifest(content: bytes, media_type: str = "") -> Manifest | Index:
    """Return the manifest or index that ``content`` is. ``media_type``: what the store calls it; the document's own wins.

    Raises:   InvalidImage: not JSON, too large, too many layers, of another kind or with fields missing; the message says which.
    """
    if len(content) > LARGEST_MANIFEST_BYTES:
        raise InvalidImage(f"a manifest of {len(content):,} bytes", hint=f"at most {LARGEST_MANIFEST_BYTES:,} are read")
    document = _document(content)
    kind = str(document.get("mediaType") or media_type or ("index" if "manifests" in document else MANIFEST))
    notes = document.get("annotations")
    annotations = tuple(sorted((str(k), str(v)) for k, v in notes.items())) if isinstance(notes, dict) else ()
    if kind in INDEXES or kind == "index":
        return Index(
            tuple(map(Descriptor.from_document, _list(document, "manifests"))), kind if kind in INDEXES else INDEX, annotations
        )
    if kind not in MANIFESTS:
        raise InvalidImage(f"`{kind[:120]}` is not a kind of manifest that is known here", code="unsupported_manifest",
                           hint="schema 1 images: pull and push them once with a current tool")  # fmt: skip
    if document.get("schemaVersion") != 2:  # noqa: PLR2004 - OCI's only one
        raise InvalidImage(
            f"a manifest of schema version {str(document.get('schemaVersion'))[:20]}", code="unsupported_manifest"
        )
    layers = tuple(map(Descriptor.from_document, _list(document, "layers")))
    subject = document.get("subject")
    return Manifest(
        Descriptor.from_document(document.get("config")), layers, kind, str(document.get("artifactType", "")),
        Descriptor.from_document(subject) if subject else None, annotations,
    )  # fmt: skip


def read_config(content: bytes) -> ImageConfig:
    """Return the image configuration that ``content`` is.

    Raises:   InvalidImage: not JSON, or fields missing or of the wrong type.
    """
    try:
        document = read_object(content)
        inner = dict(object_in(document, "config"))
        known = ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Labels")
        history = _history(document)
        parts = [text_in(document, "os") or "linux", text_in(document, "architecture"), text_in(document, "variant")]
        if not parts[1]:
            raise WrongJson("`architecture` is missing")
        if "rootfs" not in document:
            raise WrongJson("`rootfs` is missing")
        ids = list_in(object_in(document, "rootfs"), "diff_ids", "rootfs")
        config = ImageConfig(
            platform="/".join(parts).rstrip("/"),
            diff_ids=tuple(digest_in(value, f"rootfs.diff_ids[{number}]") for number, value in enumerate(ids)),
            variables=_variables(inner), command=texts_in(inner, "Cmd", "config"), entrypoint=texts_in(inner, "Entrypoint", "config"),
            working_directory=text_in(inner, "WorkingDir", "config"), user=text_in(inner, "User", "config"),
            labels=tuple(sorted(pairs_in(inner, "Labels", "config").items())), history=history, created=text_in(document, "created"),
            extra={key: value for key, value in inner.items() if key not in known},
        )  # fmt: skip
        refuse_floats(config.extra, "config")
    except WrongJson as error:
        raise InvalidImage(f"this is not an image configuration: {error}") from error
    return config


def _variables(inner: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    found = []
    for number, item in enumerate(texts_in(inner, "Env", "config")):
        name, _, value = item.partition("=")
        if not name:
            raise WrongJson(f"`config.Env[{number}]` is {shown(item)}, and names no variable")
        found.append((name, value))
    return tuple(found)


def _history(document: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    found = list_in(document, "history")
    for number, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise WrongJson(f"`history[{number}]` is {shown(entry)}, and not an object")
    refuse_floats(found, "history")
    return tuple(found)


def check_tags(names: Sequence[str]) -> None:
    """Make sure that all of ``names`` can be tags.

    Raises:   InvalidImage: code ``invalid_tag``.
    """
    for name in names:
        if not is_tag(name):
            raise InvalidImage(f"`{name[:160]}` cannot be a tag", code="invalid_tag",
                               hint="at most 128 letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`")  # fmt: skip


def _document(content: bytes) -> dict[str, Any]:
    try:
        return read_object(content)
    except WrongJson as error:
        raise InvalidImage(str(error)) from error


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise InvalidImage(f"`{key}` is not a list")
    return value
