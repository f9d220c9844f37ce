"""What refers to an image: signatures, bills of materials, locks. Kept so that other tools find them.

Source:   OCI distribution specification 1.1, "Listing referrers" and "Referrers tag schema"
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.errors import Unavailable
from wardian.image.oci import INDEX, Index, read_manifest
from wardian.image.registry import RegistryImageStore

if TYPE_CHECKING:
    from wardian.digest import Digest
    from wardian.image.oci import Descriptor, Manifest
    from wardian.image.store import ImageStore

_TRIES = 8


def referrers_tag(subject: Digest) -> str:
    """Return the tag that lists what refers to ``subject``, where a store keeps no such lists itself."""
    return f"sha256-{subject}"


def list_referrers(store: ImageStore, subject: Digest) -> list[Descriptor]:
    """Return what refers to ``subject``, in no order that means anything.

    Raises:   Unavailable, Denied, InvalidImage.
    """
    if isinstance(store, RegistryImageStore) and (listed := store.referrers(subject)) is not None:
        return listed
    found = store.find(referrers_tag(subject))
    if found is None:
        return []
    parsed = read_manifest(found.content, found.descriptor.media_type)
    return list(parsed.manifests) if isinstance(parsed, Index) else []


def add_referrer(store: ImageStore, manifest: Manifest, descriptor: Descriptor) -> None:
    """Make a manifest that was stored, and that has a subject, known as referring to it. Idempotent.

    A registry that lists referrers itself needs nothing. Elsewhere the list is a tag; when others write it at the same time, it is
    read back and written again until all are in it.

    Args:     descriptor: of ``manifest``, as ``store.tag`` returned it.
    Raises:   Unavailable: also, code ``referrers_contended``, if others write over it all the time.  Denied, InvalidImage.
    """
    subject = manifest.subject
    if subject is None or (isinstance(store, RegistryImageStore) and store.referrers(subject.digest) is not None):
        return
    mine = replace(
        descriptor, artifact_type=manifest.artifact_type or manifest.config.media_type, annotations=manifest.annotations
    )
    for _ in range(_TRIES):
        listed = list_referrers(store, subject.digest)
        if any(known.digest == mine.digest for known in listed):
            return
        together = tuple(sorted((*listed, mine), key=lambda known: known.digest))
        store.tag(Index(together).to_json(), INDEX, [referrers_tag(subject.digest)])
    raise Unavailable(f"{store.name}: others write the list of what refers to sha256:{subject.digest} all the time",
                      code="referrers_contended", hint="run it again")  # fmt: skip
