"""Versions of environments in an image store: a name, a version, its definition and its locks, for others to pull.

Tags (semantics §5): ``v-<name>-<version>``; a name that is too long for a tag, or could be read in two ways, is a digest.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest, canonical_json
from wardian.errors import BadArchive, Conflict, NotFound, Unavailable
from wardian.image.blob import put_bytes, put_empty, read_whole
from wardian.image.first_tag import tag_first
from wardian.image.oci import InvalidImage, Manifest, is_tag, read_manifest
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
from wardian.tools.disk import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from wardian.errors import WardianError
    from wardian.image.store import ImageStore

ARTIFACT = "application/vnd.wardian.environment.v1+json"
SCHEMA = 1
PREFIX = "v-"
_LONGEST_BYTES = 16 << 20
_TRIES = 5
_DIGEST_TAG = re.compile(rf"{PREFIX}[0-9a-f]{{64}}")
_PLAIN_VERSION = re.compile(r"[A-Za-z0-9._]+")


@dataclass(frozen=True, slots=True)
class SharedVersion:
    """A version as it is shared. Immutable, but for its labels.

    Attributes:
        definition: the whole content, in the shape of ``wardian.definition.document``; ``definition_hash``: its hash.
        source: format and text that it was written in, comments kept; empty: made in Python.
        locks: platform → lock_digest.  images: platform → {key, digest}, as far as they are in the same place.
        bases: platform → {reference, digest, store} of the base image that it is pinned to.
    """

    name: str
    version: str
    content_key: Digest
    definition_hash: Digest
    definition: Mapping[str, Any]
    source: tuple[str, str] | tuple[()] = ()
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    locks: Mapping[str, Digest] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    bases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    created: str = ""

    def to_json(self) -> bytes:
        """Return the version as canonical JSON."""
        return canonical_json({"schema": SCHEMA, **asdict(self)})

    @classmethod
    def from_json(cls, content: bytes) -> SharedVersion:
        """Return the version that ``to_json`` wrote.

        Raises:   InvalidImage: it is none, or of a newer schema.
        """
        try:
            values = read_object(content)
            schema = values.get("schema")
            if type(schema) is not int:
                raise WrongJson(f"`schema` is {shown(schema)}, and not a number")
            if schema > SCHEMA:
                raise InvalidImage(f"the shared version has schema {schema}, this Wardian reads up to {SCHEMA}", hint="use a newer Wardian",
                                   code="newer_schema")  # fmt: skip
            refuse_floats(values)
            return cls(**_fields(values))
        except WrongJson as error:
            raise InvalidImage(f"this is not a shared version: {error}", code="not_a_version") from error


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    texts = {key: text_in(values, key) for key in ("name", "version", "description", "created")}
    for key in ("name", "version"):
        if not texts[key]:
            raise WrongJson(f"`{key}` is missing")
    source = tuple(
        one for one in list_in(values, "source") if isinstance(one, str)
    )  # believed only if it states the definition
    bases = {platform: pairs_in(values["bases"], platform, "bases") for platform in object_in(values, "bases")}
    return {
        **texts,
        **{key: digest_in(values.get(key), key) for key in ("content_key", "definition_hash")},
        "definition": _definition(values),
        "source": source if len(source) == 2 else (),  # noqa: PLR2004 - format and text
        "tags": pairs_in(values, "tags"),
        "labels": texts_in(values, "labels"),
        "locks": {platform: digest_in(value, f"locks.{platform}") for platform, value in object_in(values, "locks").items()},
        "images": {platform: pairs_in(values["images"], platform, "images") for platform in object_in(values, "images")},
        "bases": {platform: _base(base, f"bases.{platform}") for platform, base in bases.items()},
    }


def _base(base: dict[str, str], path: str) -> dict[str, str]:
    digest = base.get("digest", "")
    return {
        "reference": text_in(base, "reference", path),
        "digest": digest and str(digest_in(digest, f"{path}.digest")),
        "store": text_in(base, "store", path),
    }


def _definition(values: dict[str, Any]) -> dict[str, Any]:
    """Return the definition, whose texts are texts and whose lists are lists; its own rules are checked by who takes it."""
    definition = object_in(values, "definition")
    if not definition:
        raise WrongJson("`definition` is missing")
    for name in ("python", "docker", "spark"):
        for key, value in object_in(definition, name, "definition").items():
            path = f"definition.{name}"
            if key == "local":
                for number, one in enumerate(list_in(definition[name], key, path)):
                    pairs_in({f"local[{number}]": one}, f"local[{number}]", path)
            elif isinstance(value, list):
                texts_in(definition[name], key, path)
            elif isinstance(value, dict):
                pairs_in(definition[name], key, path)
            else:
                text_in(definition[name], key, path)
    for key in ("name", "description"):
        text_in(definition, key, "definition")
    for key in ("tags", "accelerators", "variables"):
        pairs_in(definition, key, "definition")
    return definition


def version_tag(name: str, version: str) -> str:
    """Return the tag of a shared version."""
    tag = f"{PREFIX}{name}-{version}"
    plain = _PLAIN_VERSION.fullmatch(version) is not None  # else `a-1` `2` and `a` `1-2` would be one
    return tag if plain and is_tag(tag) else f"{PREFIX}{Digest.of_document([name, version])}"


def find_version(store: ImageStore, name: str, version: str) -> SharedVersion | None:
    """Return a shared version, or None.

    Raises:   InvalidImage: code ``tag_mismatch``: something else is under its tag; damaged.  Unavailable, Denied.
    """
    return _read(store, version_tag(name, version))


def shared_versions(
    store: ImageStore, name: str | None = None, *, on_fault: Callable[[str, WardianError], object] | None = None
) -> Iterator[SharedVersion]:
    """Yield the shared versions in ``store``, all or those of ``name``.

    Args:     on_fault: told of each tag that holds none, or a damaged one, which is passed over then; None: it is raised.
    Raises:   InvalidImage: code ``tag_mismatch``: something else is under a tag that is a version's; damaged.  Unavailable, Denied.
    """
    for tag in store.tags(PREFIX):
        if name is not None and not _may_be_of(name, tag):
            continue
        try:
            shared = _read(store, tag)
        except (InvalidImage, BadArchive, NotFound) as error:
            if on_fault is None:
                raise
            on_fault(tag, error)
            continue
        if shared is not None and (name is None or shared.name == name):
            yield shared


def take_labels(store: ImageStore, shared: SharedVersion) -> dict[str, str]:
    """Take a version's labels away from the other versions of its name; return label → the version that had it.

    Raises:   as ``shared_versions``.
    """
    taken: dict[str, str] = {}
    for other in list(shared_versions(store, shared.name)) if shared.labels else []:
        moved = set(other.labels) & set(shared.labels)
        if moved and other.version != shared.version:
            manifest = _put(store, replace(other, labels=tuple(label for label in other.labels if label not in moved)))
            store.tag(manifest.to_json(), manifest.media_type, (version_tag(other.name, other.version),))
            taken |= dict.fromkeys(sorted(moved), other.version)
    return taken


def share(store: ImageStore, shared: SharedVersion, *, locks: Path, wait: Callable[[float], None] = time.sleep) -> bool:
    """Put a version into ``store``; return whether it is new there. Its locks and images must be there already.

    Idempotent: a version with the same content is only given the labels, and the locks and images that it lacks. Of two that put
    different content there at once, one gets the conflict (ADR 0026).

    Args:     locks: a directory for locks between this machine's processes.  wait: waits so many seconds.
    Raises:   Conflict: code ``version_exists``: other content, or other locks, under this name and version.  Unavailable, Denied.
    """
    tag = version_tag(shared.name, shared.version)

    def look() -> SharedVersion | None:
        found = find_version(store, shared.name, shared.version)
        if found is not None:
            _check_same(store, found, shared)
        return found

    with FileLock(locks / f"{tag}.{Digest.of(store.name.encode())[:16]}.lock"):
        there, new = tag_first(store, tag, look, lambda: _put(store, shared), settle=wait)
        if there is None:
            raise Unavailable(f"{store.name} took {shared.name}:{shared.version}, and has it not", code="registry_unavailable",
                              hint="what answers there keeps nothing: check the address, and that it is a registry to push to")  # fmt: skip
        for _ in range(_TRIES):
            if there is None or (both := _together(there, shared)).to_json() == there.to_json():
                return new
            manifest = _put(store, both)
            store.tag(manifest.to_json(), manifest.media_type, (tag,))
            there = look()
    raise Unavailable(
        f"others are changing {shared.name}:{shared.version} in {store.name}", hint="push it again", code="version_in_use"
    )


def _put(store: ImageStore, shared: SharedVersion) -> Manifest:
    """Bring everything but the tag there, and return the manifest for it."""
    manifest = Manifest(put_empty(store), (put_bytes(store, shared.to_json(), ARTIFACT),), artifact_type=ARTIFACT)
    store.tag(manifest.to_json(), manifest.media_type)
    return manifest


def _together(there: SharedVersion, ours: SharedVersion) -> SharedVersion:
    """Return what is there, with the labels, locks, images and bases that ours has."""
    return replace(
        ours, locks={**ours.locks, **there.locks}, images={**ours.images, **there.images}, bases={**ours.bases, **there.bases},
        labels=tuple(sorted({*ours.labels, *there.labels})), created=there.created,
    )  # fmt: skip


def _may_be_of(name: str, tag: str) -> bool:
    """Return whether a version of ``name`` may be under ``tag``: one of a version with plain characters, or a digest."""
    rest = tag.removeprefix(f"{PREFIX}{name}-")
    return (rest != tag and _PLAIN_VERSION.fullmatch(rest) is not None) or _DIGEST_TAG.fullmatch(tag) is not None


def _check_same(store: ImageStore, there: SharedVersion, ours: SharedVersion) -> None:
    hint = f"push it under another version: `wardian env create {ours.name} --from {ours.name}:{ours.version} --version …`"
    if there.content_key != ours.content_key:
        raise Conflict(f"{store.name} has another {ours.name}:{ours.version}: its definition differs", hint=hint, code="version_exists",
                       details={"theirs": there.definition_hash, "ours": ours.definition_hash})  # fmt: skip
    for platform, digest in ours.locks.items():
        if there.locks.get(platform, digest) != digest:
            raise Conflict(f"{store.name} has {ours.name}:{ours.version} with another lock for {platform}: {there.locks[platform].short}, not {digest.short}",
                           hint=hint, code="version_exists")  # fmt: skip


def _read(store: ImageStore, tag: str) -> SharedVersion | None:
    """Return the version under ``tag``, whose own tag that is; None: the tag is not there."""
    found = store.find(tag)
    if found is None:
        return None
    manifest = read_manifest(found.content, found.descriptor.media_type)
    if not isinstance(manifest, Manifest) or manifest.artifact_type != ARTIFACT or len(manifest.layers) != 1:
        raise InvalidImage(f"`{tag}` in {store.name} holds no version of an environment", code="tag_mismatch",
                           hint="such tags are for what `wardian env push` puts there: give it another tag, and delete this one")  # fmt: skip
    try:
        shared = SharedVersion.from_json(read_whole(store, manifest.layers[0], _LONGEST_BYTES))
    except InvalidImage as error:
        raise error.at(f"`{tag}` in {store.name}") from error
    if version_tag(shared.name, shared.version) != tag:
        raise InvalidImage(f"`{tag}` in {store.name} is {shared.name[:100]}:{shared.version[:100]}, which has another tag", code="tag_mismatch",
                           hint="somebody has changed it; delete that tag, and push the version again")  # fmt: skip
    return shared
