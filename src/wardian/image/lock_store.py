"""Locks in an image store: each is an OCI artifact, found by its digest or as the current one of a definition.

Tags (semantics §5): ``l-<lock_digest>``, and ``d-<definition_hash>-<os>-<arch>``, which moves.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.definition.platform import get_platform
from wardian.digest import Digest
from wardian.errors import InvalidDigest
from wardian.events import Event
from wardian.image.blob import put_bytes, put_empty, read_whole
from wardian.image.first_tag import tag_first
from wardian.image.oci import Descriptor, InvalidImage, Manifest, read_manifest
from wardian.image.outside_json import WrongJson, read_object, refuse_floats
from wardian.lock.lock import Lock, UnreadableLock
from wardian.tools.disk import FileLock, atomic_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import IO

    from wardian.definition.platform import Platform
    from wardian.events import Listener
    from wardian.image.store import ImageStore

ARTIFACT = "application/vnd.wardian.lock.v1+json"
WHEEL = "application/vnd.wardian.wheel.v1"
TITLE = "org.opencontainers.image.title"

_LONGEST_LOCK_BYTES = 64 << 20


def lock_tag(digest: Digest) -> str:
    """Return the tag of the lock with this digest."""
    return f"l-{digest}"


def current_tag(definition_hash: Digest, platform: Platform) -> str:
    """Return the tag of the current lock of a definition on ``platform``."""
    return f"d-{definition_hash}-{platform.name.replace('/', '-')}"


class ImageLockStore:
    """A ``wardian.lock.store.LockStore`` over any image store: what a team shares through the registry that it has.

    Between the processes of one machine the first offer wins, as in every lock store. No registry can compare and set a tag:
    whoever offers from elsewhere looks again when all but the tag is written, and reads back what is there afterwards; the
    loser adopts it. Wheels that were built from source travel as the artifact's layers.

    Args:     store: the repository.  wheels: a directory of this machine, for the wheels of the locks that are found.
              locks: a directory for locks between this machine's processes.
    """

    def __init__(self, store: ImageStore, *, wheels: Path, locks: Path):
        self._store = store
        self._wheels = wheels
        self._locks = locks

    def find(self, digest: Digest) -> Lock | None:
        """Return the lock with this digest, or None.

        Raises:   InvalidImage: code ``tag_mismatch``: another lock is under its tag.  Unavailable, Denied.
        """
        lock = self._read(lock_tag(digest))
        if lock is not None and lock.digest != digest:
            raise _mismatch(self._store.name, lock_tag(digest), f"holds the lock {lock.digest.short}")
        return lock

    def find_current(self, definition_hash: Digest, platform: Platform) -> Lock | None:
        """See ``LockStore``. The wheels that were built for it are brought to this machine.

        Raises:   InvalidImage: code ``tag_mismatch``: the lock of something else is under the tag.  Unavailable, Denied.
        """
        tag = current_tag(definition_hash, platform)
        lock = self._read(tag)
        if lock is None:
            return None
        if lock.provenance.definition_hash != definition_hash or lock.platform != platform.name:
            said = f"holds the lock of @{lock.provenance.definition_hash.short} for {lock.platform}"
            raise _mismatch(self._store.name, tag, said)
        return lock

    def offer(self, lock: Lock, wheels: Iterable[Path]) -> Lock:
        """See ``LockStore``.

        Raises:   Unavailable, Denied.
        """
        definition_hash, platform = lock.provenance.definition_hash, get_platform(lock.platform)

        def prepare() -> Manifest:
            manifest = self._put_blobs(lock, list(wheels))
            self._tag(manifest, lock_tag(lock.digest))
            return manifest

        with FileLock(self._locks / f"{definition_hash}.{self._place}.lock"):
            tag = current_tag(definition_hash, platform)
            current, _ = tag_first(self._store, tag, lambda: self.find_current(definition_hash, platform), prepare)
        return current or lock

    def move(self, lock: Lock, wheels: Iterable[Path] = ()) -> None:
        """See ``LockStore``.

        Raises:   Unavailable, Denied.
        """
        definition_hash, platform = lock.provenance.definition_hash, get_platform(lock.platform)
        with FileLock(self._locks / f"{definition_hash}.{self._place}.lock"):
            manifest = self._put_blobs(lock, list(wheels))
            self._tag(manifest, lock_tag(lock.digest), current_tag(definition_hash, platform))

    def put(self, lock: Lock, wheels: list[Path]) -> Descriptor:
        """Store a lock under its digest, without making it anybody's current one; return its manifest's descriptor."""
        return self._tag(self._put_blobs(lock, wheels), lock_tag(lock.digest))

    def find_wheel(self, sha256: Digest, file: str) -> Path | None:
        """See ``LockStore``: of a lock that was found before."""
        path = self._wheels / sha256 / file
        return path if path.exists() else None

    def single_flight(self, definition_hash: Digest, listener: Listener) -> AbstractContextManager[object]:
        """See ``LockStore``: between the processes of this machine."""
        lock = FileLock(self._locks / f"{definition_hash}.solve")
        lock.acquire(on_wait=lambda holder: listener(Event("phase", f"waiting for {holder}, which solves the same definition")))
        return lock

    @property
    def _place(self) -> str:
        return Digest.of(self._store.name.encode())[:16]

    def _tag(self, manifest: Manifest, *tags: str) -> Descriptor:
        return self._store.tag(manifest.to_json(), manifest.media_type, tags)

    def _put_blobs(self, lock: Lock, wheels: list[Path]) -> Manifest:
        """Bring everything that the artifact names there, and return its manifest, for a tag."""
        text = lock.to_json().encode()
        layers = [replace(put_bytes(self._store, text, ARTIFACT), annotations=((TITLE, "lock.json"),))]
        for wheel in wheels:
            layer = Descriptor(WHEEL, Digest.of_file(wheel), wheel.stat().st_size, annotations=((TITLE, wheel.name),))
            self._store.put(layer, _opener(wheel))
            layers.append(layer)
        return Manifest(put_empty(self._store), tuple(layers), artifact_type=ARTIFACT)

    def _read(self, tag: str) -> Lock | None:
        found = self._store.find(tag)
        if found is None:
            return None
        manifest = read_manifest(found.content, found.descriptor.media_type)
        if not isinstance(manifest, Manifest) or manifest.artifact_type != ARTIFACT or not manifest.layers:
            raise _mismatch(self._store.name, tag, "holds no lock")
        content = read_whole(self._store, manifest.layers[0], _LONGEST_LOCK_BYTES)
        try:
            document = read_object(content)
            refuse_floats(document)
            lock = Lock.from_document(document)
        except (UnreadableLock, InvalidDigest, WrongJson) as error:
            if isinstance(error, UnreadableLock) and error.stable_code == "newer_lock_schema":
                raise
            raise _mismatch(self._store.name, tag, f"holds no lock: {error}") from error
        built = {(a.installed_sha256, a.installed_file) for a in lock.artifacts}
        for layer in manifest.layers[1:]:
            self._fetch_wheel(layer, built)
        return lock

    def _fetch_wheel(self, layer: Descriptor, built: set[tuple[Digest, str]]) -> None:
        file = dict(layer.annotations).get(TITLE, "")
        if (layer.digest, file) not in built:  # nothing that the lock names: it would be a file at a place of its choice
            return
        target = self._wheels / layer.digest / file
        if not target.exists():
            with self._store.open(layer) as source, atomic_writer(target) as stream:
                shutil.copyfileobj(source, stream)


def _opener(path: Path) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: path.open("rb")


def _mismatch(store: str, tag: str, said: str) -> InvalidImage:
    return InvalidImage(f"`{tag}` in {store} {said}", code="tag_mismatch",
                        hint="somebody has changed it; delete that tag, and make it again from a machine that has the lock")  # fmt: skip
