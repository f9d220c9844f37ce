"""Copying images from one place to another: any two stores, one platform or all."""

from __future__ import annotations

import threading
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from wardian.errors import NotFound
from wardian.events import Event, silent
from wardian.image.blob import named_in, read_config_of
from wardian.image.oci import Descriptor, Index, InvalidImage, Manifest, read_manifest
from wardian.image.referrers import add_referrer
from wardian.image.registry import RegistryImageStore
from wardian.tools.stopping import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wardian.events import Listener
    from wardian.image.store import Found, ImageStore

_DEEPEST = 4
_MOST_MANIFESTS = 1000
_STEP_BYTES = 4 << 20  # a progress event for so many bytes


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did.

    Attributes:
        descriptor: of the manifest or index that was copied.
        present, mounted, sent: how many blobs were there already, came from another repository of the host, were transferred.
        sent_bytes: the size of those that were transferred.
    """

    descriptor: Descriptor
    present: int = 0
    mounted: int = 0
    sent: int = 0
    sent_bytes: int = 0


def copy_image(
    source: ImageStore,
    reference: str,
    target: ImageStore,
    names: Sequence[str] = (),
    *,
    platform: str | None = None,
    jobs: int = 4,
    listener: Listener = silent,
) -> Copied:
    """Copy what ``reference`` names in ``source`` to ``target``, under these tags; return what was done.

    Digests stay as they are. What is there is not sent again; blobs go in parallel and in pieces, so that memory stays flat;
    manifests follow their blobs, tags come last: a copy that is broken off leaves nothing that a tag leads to. Idempotent.

    Args:     reference: a tag or ``sha256:…``.  names: none: found by its digest alone.
              platform: of an index, copy the image for it alone; ``linux/amd64``. None: everything.
              jobs: blobs at the same time.
              listener: gets ``progress`` events in bytes.
    Raises:   NotFound: codes ``image_not_found``, ``platform_not_found``; ``no_such_blob``: the source lacks part of it.
              InvalidImage, BadArchive: the source is damaged.  Unavailable, Denied, DiskFull.
    """
    root = select_image(source, reference, platform)
    manifests = _children_first(source, root)
    if (known := _tag_what_is_there(target, root, names)) is not None:
        done = Copied(known, present=len(_blobs(manifests)))
    else:
        counts = _Blobs(source, target, listener).copy(_blobs(manifests), jobs)
        for found, manifest in manifests[:-1]:
            target.tag(found.content, found.descriptor.media_type)
            _refer(target, manifest, found)
        target.tag(root.content, root.descriptor.media_type, names)
        done = Copied(root.descriptor, *counts)
    _refer(target, manifests[-1][1], root)
    return done


def select_image(source: ImageStore, reference: str, platform: str | None) -> Found:
    """Return what ``reference`` names; with ``platform``: the image for it alone.

    Raises:   NotFound: codes ``image_not_found``, ``platform_not_found``.  InvalidImage, Unavailable, Denied.
    """
    found = _get(source, reference)
    if platform is None:
        return found
    for _ in range(_DEEPEST):
        parsed = read_manifest(found.content, found.descriptor.media_type)
        if isinstance(parsed, Manifest):
            built_for = read_config_of(source, parsed, named_in(source, reference)).platform
            if built_for != platform and not built_for.startswith(f"{platform}/"):
                raise _no_platform(source, reference, platform, [built_for])
            return found
        child = parsed.for_platform(platform)
        if child is None:
            raise _no_platform(source, reference, platform, [m.platform for m in parsed.manifests if m.platform])
        found = _get(source, f"sha256:{child.digest}")
    raise InvalidImage(f"{source.name}: `{reference}` is an index of indexes of indexes", code="nested_index")


def only_image(store: ImageStore) -> str:
    """Return a name of the only image of a layout or an archive: its tag, or ``sha256:…`` if it has none.

    Raises:   NotFound: code ``image_not_found``: it is empty.  InvalidReference: code ``ambiguous_image``; the hint names what it holds.
    """
    tags = store.tags()
    if len(tags) == 1:
        return tags[0]
    found = store.find("")
    if found is None:
        raise NotFound(f"{store.name} holds no image", code="image_not_found")
    return tags[0] if tags else f"sha256:{found.descriptor.digest}"


def _get(source: ImageStore, reference: str) -> Found:
    found = source.find(reference)
    if found is None:
        raise NotFound(f"{source.name} has no image `{reference}`", code="image_not_found",
                       hint="check its name and its tag; where a registry needs a login, it may hide what is there")  # fmt: skip
    return found


def _no_platform(source: ImageStore, reference: str, platform: str, there_are: list[str]) -> NotFound:
    return NotFound(f"{source.name}: `{reference}` is not for {platform}", code="platform_not_found",
                    hint=f"it is for {', '.join(sorted(set(there_are))) or 'no platform that it names'}")  # fmt: skip


def _children_first(source: ImageStore, root: Found) -> list[tuple[Found, Manifest | Index]]:
    ordered: list[tuple[Found, Manifest | Index]] = []
    seen: set[str] = set()

    def visit(found: Found, depth: int) -> None:
        seen.add(found.descriptor.digest)
        parsed = read_manifest(found.content, found.descriptor.media_type)
        if isinstance(parsed, Index):
            if depth >= _DEEPEST or len(seen) + len(parsed.manifests) > _MOST_MANIFESTS:
                raise InvalidImage(f"{source.name}: sha256:{root.descriptor.digest} holds too many images", code="nested_index")
            for child in parsed.manifests:
                if child.digest not in seen:
                    visit(_get(source, f"sha256:{child.digest}"), depth + 1)
        ordered.append((found, parsed))

    visit(root, 1)
    return ordered


def _blobs(manifests: list[tuple[Found, Manifest | Index]]) -> list[Descriptor]:
    """Return every blob once, in the order of the manifests."""
    found = {
        blob.digest: blob
        for _, manifest in manifests
        if isinstance(manifest, Manifest)
        for blob in (manifest.config, *manifest.layers)
    }
    return list(found.values())


def _tag_what_is_there(target: ImageStore, root: Found, names: Sequence[str]) -> Descriptor | None:
    """Tag the image if a registry has it: one question in place of one for each blob. A directory is quick to ask, and is mended."""
    if not isinstance(target, RegistryImageStore) or target.find(f"sha256:{root.descriptor.digest}") is None:
        return None
    try:
        return target.tag(root.content, root.descriptor.media_type, names)
    except NotFound:  # the manifest is there, and something of it was lost
        return None


def _refer(target: ImageStore, manifest: Manifest | Index, found: Found) -> None:
    if isinstance(manifest, Manifest) and manifest.subject is not None:
        add_referrer(target, manifest, found.descriptor)


class _StoppedError(Exception):
    """Another blob has failed: this one is not needed any more."""


class _Blobs:
    """The transfers of one copy."""

    def __init__(self, source: ImageStore, target: ImageStore, listener: Listener):
        self._source = source
        self._target = target
        self._listener = listener
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done: dict[str, int] = {}
        self._told = 0
        self._total = 0

    def copy(self, blobs: list[Descriptor], jobs: int) -> tuple[int, int, int, int]:
        """Return how many were present, mounted and sent, and the bytes of the last."""
        self._total = sum(blob.size_bytes for blob in blobs)
        ways = {"present": 0, "mounted": 0, "sent": 0}
        sent_bytes = 0
        if jobs > 1:  # the largest first: the end is not one large blob alone
            blobs = sorted(blobs, key=lambda blob: -blob.size_bytes)
        with workers(jobs, "copy") as pool:
            try:
                futures = {pool.submit(self._one, blob): blob for blob in blobs}
                for future in as_completed(futures):
                    way = future.result()
                    ways[way] += 1
                    sent_bytes += futures[future].size_bytes if way == "sent" else 0
            finally:
                self._stop.set()
        return ways["present"], ways["mounted"], ways["sent"], sent_bytes

    def _one(self, blob: Descriptor) -> str:
        if self._stop.is_set():
            raise _StoppedError

        @contextmanager
        def content() -> Iterator[IO[bytes]]:
            with self._source.open(blob) as stream:
                yield cast("IO[bytes]", _Counted(stream, lambda done: self._count(blob, done)))

        way = self._target.put(blob, content, origin=self._source)
        self._count(blob, blob.size_bytes)
        return way

    def _count(self, blob: Descriptor, done: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        with self._lock:
            self._done[blob.digest] = min(max(done, self._done.get(blob.digest, 0)), blob.size_bytes)  # attempts begin anew
            total = sum(self._done.values())
            if total - self._told >= _STEP_BYTES or (total == self._total and total > self._told):
                self._told = total
                self._listener(Event("progress", f"copying to {self._target.name}", total, self._total))


class _Counted:
    """A stream that says how far it has been read."""

    def __init__(self, stream: IO[bytes], on_read: Callable[[int], None]):
        self._stream = stream
        self._on_read = on_read
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes."""
        piece = self._stream.read(size)
        self._done += len(piece)
        self._on_read(self._done)
        return piece
