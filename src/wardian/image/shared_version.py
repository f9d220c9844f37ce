"""Versions of environments in an image store: a name, a version, its definition and its locks, for others to pull.

Tags (semantics §5): ``v-<name>-<version>``; a name that is too long for a tag, or could be read in two ways, is a digest.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest, canonical_json
from wardian.errors import Conflict, InvalidDigest, Unavailable, wrong_in
from wardian.image.blob import put_bytes, put_empty, read_whole
from wardian.image.first_tag import tag_first
from wardian.image.oci import InvalidImage, Manifest, is_tag, read_manifest
from wardian.tools.disk import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from wardian.image.store import Found, ImageStore

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
            values = json.loads(content)
            schema = int(values.pop("schema"))
            if schema > SCHEMA:
                raise InvalidImage(f"the shared version has schema {schema}, this Wardian reads up to {SCHEMA}", hint="use a newer Wardian",
                                   code="newer_schema")  # fmt: skip
            values["locks"] = {str(platform): Digest(digest) for platform, digest in values.get("locks", {}).items()}
            values["bases"] = {
                str(platform): {"reference": str(base["reference"]), "digest": str(base["digest"] and Digest(base["digest"])), "store": str(base["store"])}
                for platform, base in values.get("bases", {}).items()
            }  # fmt: skip
            for key in ("content_key", "definition_hash"):
                values[key] = Digest(values[key])
            values["source"], values["labels"] = tuple(values.get("source", ())), tuple(values.get("labels", ()))
            known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
            return cls(**known)
        except (ValueError, KeyError, TypeError, AttributeError, InvalidDigest) as error:
            raise InvalidImage(f"this is not a shared version: {wrong_in(error)}", code="not_a_version") from error


def version_tag(name: str, version: str) -> str:
    """Return the tag of a shared version."""
    tag = f"{PREFIX}{name}-{version}"
    plain = _PLAIN_VERSION.fullmatch(version) is not None  # else `a-1` `2` and `a` `1-2` would be one
    return tag if plain and is_tag(tag) else f"{PREFIX}{Digest.of_document([name, version])}"


def find_version(store: ImageStore, name: str, version: str) -> SharedVersion | None:
    """Return a shared version, or None.

    Raises:   InvalidImage: code ``tag_mismatch``: something else is under its tag; damaged.  Unavailable, Denied.
    """
    tag = version_tag(name, version)
    found = store.find(tag)
    if found is None:
        return None
    shared = _read(store, found, tag)
    if (shared.name, shared.version) != (name, version):
        raise InvalidImage(f"`{tag}` in {store.name} is {shared.name}:{shared.version}, not {name}:{version}", code="tag_mismatch",
                           hint="somebody has changed it; delete that tag, and push the version again")  # fmt: skip
    return shared


def shared_versions(store: ImageStore, name: str | None = None) -> Iterator[SharedVersion]:
    """Yield the shared versions in ``store``, all or those of ``name``.

    Raises:   InvalidImage: code ``tag_mismatch``: something else is under a tag that is a version's; damaged.  Unavailable, Denied.
    """
    for tag in store.tags(PREFIX):
        if name is not None and not _may_be_of(name, tag):
            continue
        found = store.find(tag)
        if found is None:  # removed since
            continue
        shared = _read(store, found, tag)
        if name is None or shared.name == name:
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


def _read(store: ImageStore, found: Found, tag: str) -> SharedVersion:
    manifest = read_manifest(found.content, found.descriptor.media_type)
    if not isinstance(manifest, Manifest) or manifest.artifact_type != ARTIFACT or len(manifest.layers) != 1:
        raise InvalidImage(f"`{tag}` in {store.name} holds no version of an environment", code="tag_mismatch",
                           hint="such tags are for what `wardian env push` puts there: give it another tag, and delete this one")  # fmt: skip
    try:
        return SharedVersion.from_json(read_whole(store, manifest.layers[0], _LONGEST_BYTES))
    except InvalidImage as error:
        raise InvalidImage(f"`{tag}` in {store.name}: {error.message}", hint=error.hint, code=error.stable_code) from error
