"""Images in a directory: an OCI image layout, shared by the processes of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import stat
import time
from typing import IO, TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import InvalidDigest, InvalidReference, NotFound
from wardian.image.blob import CHUNK, VerifyingReader, copy_verified
from wardian.image.oci import (
    INDEX,
    LARGEST_MANIFEST_BYTES,
    Descriptor,
    Index,
    InvalidImage,
    Manifest,
    check_tags,
    read_manifest,
)
from wardian.image.store import Found
from wardian.tools.disk import FileLock, disk_errors, need_space, sync_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.image.store import ImageStore

REF_NAME = "org.opencontainers.image.ref.name"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_LARGEST_INDEX_BYTES = 256 << 20
_FICLONE = 0x40049409  # linux/fs.h
_CLEAN_UP_AFTER_S = 3600.0


class LayoutImageStore:
    """An OCI image layout: ``oci-layout``, ``index.json``, ``blobs/sha256``. Contract: ``ImageStore``. Other tools read it.

    ``index.json`` is what makes an image known, and is replaced last, as a whole. A blob gets its name only when all of it
    is on disk. ``.wardian/`` beside them holds locks, what is on its way, and a note for each blob that was put here: the file
    as it was when its digest was last compared, so that a blob is hashed again only if something touched it.

    Args:     root: the layout's directory; made when something is put.
              link_from: below these directories files are never changed in place: blobs are hard links to them.
    """

    def __init__(self, root: Path, *, link_from: Sequence[Path] = ()):
        self.root = root
        self.name = str(root)
        self._blobs = root / "blobs" / "sha256"
        self._own = root / ".wardian"
        self._link_from = tuple(link_from)
        self._read: tuple[tuple[int, int, int], list[dict[str, Any]]] | None = None

    # -- ImageStore ------------------------------------------------------------------------------------------------

    def find(self, reference: str) -> Found | None:
        """See ``ImageStore``. ``""`` is the only image that the layout holds.

        Raises:   InvalidReference: code ``ambiguous_image``: ``""``, and it holds several; the hint names them.
        """
        if reference.startswith("sha256:"):
            return self._found(Digest(reference), "")
        named = {
            (entry.get("digest"), str(entry.get("mediaType", "")))
            for entry in self._entries()
            if not reference or _tag_of(entry) == reference
        }
        if len(named) > 1 and not reference:
            raise InvalidReference(f"{self.name} holds {len(named)} images", code="ambiguous_image",
                                   hint=f"say which: {', '.join(self.tags()[:10]) or 'by its digest: none has a tag'}")  # fmt: skip
        if len(named) > 1:
            raise InvalidImage(f"`{reference}` names {len(named)} images in {self.name}", code="ambiguous_tag")
        for digest, media_type in named:
            try:
                found = self._found(Digest(str(digest)), media_type)
            except InvalidDigest as error:
                raise self._damaged(f"`{reference}` has no sha256 digest") from error
            if found is None:
                raise self._damaged(f"the manifest {digest} of `{reference}` is missing or is none")
            return found
        return None

    @contextlib.contextmanager
    def open(self, blob: Descriptor) -> Iterator[IO[bytes]]:
        """See ``ImageStore``. A damaged blob is removed, so that it can be put anew."""
        path = self._blobs / blob.digest
        try:
            stream = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{self.name} has no blob sha256:{blob.digest}", code="no_such_blob") from None
        with stream:
            yield VerifyingReader(stream, blob, self.name, lambda: self._drop(path, os.fstat(stream.fileno())))  # type: ignore[misc]

    def put(
        self,
        blob: Descriptor,
        open_content: Callable[[], AbstractContextManager[IO[bytes]]],
        *,
        origin: ImageStore | None = None,  # noqa: ARG002 - nothing to mount from
    ) -> str:
        """See ``ImageStore``. What is here already and was not touched is not read again; else it is compared, and replaced."""
        path = self._blobs / blob.digest
        if self._is_whole(path, blob):
            return "present"
        with open_content() as stream, disk_errors(self.root, blob.size_bytes), self._incoming(blob.digest) as temporary:
            self._fill(temporary, stream, blob)
            self._place(temporary, path)
        return "sent"

    def tag(self, manifest: bytes, media_type: str, names: Sequence[str] = ()) -> Descriptor:
        """See ``ImageStore``."""
        check_tags(names)
        parsed = read_manifest(manifest, media_type)
        descriptor = Descriptor.of(manifest, media_type)
        self._prepare()
        with disk_errors(self.root, len(manifest)):
            with self._lock():
                for needed in _needs(parsed):
                    self._demand(needed)
            self.put(descriptor, lambda: io.BytesIO(manifest))
            if names:
                with self._lock():
                    kept = [entry for entry in self._entries() if _tag_of(entry) not in names]
                    self._write([*kept, *({**descriptor.as_document(), "annotations": {REF_NAME: name}} for name in names)])
        return descriptor

    def tags(self, prefix: str = "") -> list[str]:
        """See ``ImageStore``."""
        return sorted({tag for entry in self._entries() if (tag := _tag_of(entry)) and tag.startswith(prefix)})

    # -- what a directory can do beside that -----------------------------------------------------------------------

    def untag(self, names: Sequence[str]) -> None:
        """Forget these tags; those that are not there are no error. What they named stays until ``collect``."""
        if (self.root / "index.json").exists():
            with disk_errors(self.root), self._lock():
                self._write([entry for entry in self._entries() if _tag_of(entry) not in names])

    def collect(self, *, grace_s: float = _CLEAN_UP_AFTER_S, now_s: Callable[[], float] = time.time) -> int:
        """Remove the blobs that no tag leads to, and what killed processes left; return the bytes that were freed.

        Only blobs that were put through this class, and not within the last ``grace_s`` seconds: an image that is being
        put has no tag yet. Safe beside everything else.
        """
        freed = 0
        if not self._own.is_dir():
            return freed
        with self._lock():
            reachable = self._reachable()
            for note in list((self._own / "notes").iterdir()) if (self._own / "notes").is_dir() else []:
                with contextlib.suppress(FileNotFoundError):
                    if note.name in reachable or now_s() - note.stat().st_mtime < grace_s:
                        continue
                    path = self._blobs / note.name
                    if path.exists():
                        found = path.stat()
                        freed += found.st_blocks * 512 if found.st_nlink == 1 else 0
                        path.unlink()
                    note.unlink(missing_ok=True)
        return freed + self._sweep(grace_s, now_s)

    # -- index.json ------------------------------------------------------------------------------------------------

    def _entries(self) -> list[dict[str, Any]]:
        path = self.root / "index.json"
        try:
            with path.open("rb") as stream:
                state = os.fstat(stream.fileno())
                key = (state.st_ino, state.st_mtime_ns, state.st_size)
                if self._read is not None and self._read[0] == key:
                    return self._read[1]
                content = stream.read(_LARGEST_INDEX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            document = json.loads(content)
            entries = document["manifests"]
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise TypeError("`manifests` is not a list of descriptors")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(f"index.json is damaged: {type(error).__name__}: {str(error)[:200]}") from error
        self._read = (key, entries)
        return entries

    def _write(self, entries: list[dict[str, Any]]) -> None:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        write_atomically(self.root / "index.json", json.dumps(document, separators=(",", ":")).encode())

    def _damaged(self, what: str) -> InvalidImage:
        return InvalidImage(
            f"{self.name}: {what}", code="damaged_layout", hint="remove the tag, or the whole layout, and push or build anew"
        )

    # -- blobs -----------------------------------------------------------------------------------------------------

    def _found(self, digest: Digest, media_type: str) -> Found | None:
        path = self._blobs / digest
        try:
            with path.open("rb") as stream:
                content = stream.read(LARGEST_MANIFEST_BYTES + 1)
                if len(content) > LARGEST_MANIFEST_BYTES:
                    return None  # a blob, but no manifest
                if Digest.of(content) != digest:
                    self._drop(path, os.fstat(stream.fileno()))
                    raise self._damaged(f"the manifest sha256:{digest} is damaged")
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            parsed = read_manifest(content, media_type)
        except InvalidImage:
            if media_type:
                raise
            return None
        return Found(Descriptor(parsed.media_type, digest, len(content)), content)

    def _is_whole(self, path: Path, blob: Descriptor) -> bool:
        """Return whether the blob is here as it should be; note that it was asked for."""
        try:
            with path.open("rb") as stream:
                state = os.fstat(stream.fileno())
                if state.st_size != blob.size_bytes:
                    return False
                if self._noted(blob.digest) != _signature(state) and Digest.of_stream(stream) != blob.digest:
                    return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._note(blob.digest, state)
        return True

    def _demand(self, needed: Descriptor) -> None:
        try:
            size = (self._blobs / needed.digest).stat().st_size
        except FileNotFoundError:
            size = -1
        if size != needed.size_bytes:
            raise NotFound(f"{self.name} has no blob sha256:{needed.digest}, which the manifest names", code="no_such_blob",
                           hint="put its blobs first")  # fmt: skip

    def _fill(self, temporary: Path, stream: IO[bytes], blob: Descriptor) -> None:
        source = _file_below(stream)
        place = "what was to be stored"
        if source is not None and (_clone(source, temporary) or self._link(source, temporary)):
            with temporary.open("rb") as copy:
                reader = VerifyingReader(copy, blob, place)
                while reader.read(CHUNK):
                    pass
                os.fsync(copy.fileno())
            return
        need_space(self.root, blob.size_bytes)
        with temporary.open("r+b") as target:
            copy_verified(stream, blob, target, place)
            target.flush()
            os.fsync(target.fileno())

    def _link(self, source: Path, temporary: Path) -> bool:
        if not any(source.is_relative_to(place) for place in self._link_from):
            return False
        link = temporary.with_name(f"{temporary.name}.link")
        try:
            os.link(source, link, follow_symlinks=False)
        except OSError:  # another file system, too many links, none at all
            return False
        link.replace(temporary)
        return True

    def _place(self, temporary: Path, path: Path) -> None:
        state = temporary.stat()
        with self._lock():  # `_drop` looks and removes under it
            temporary.replace(path)
        sync_directory(path.parent)
        self._note(Digest(path.name), state)

    def _drop(self, path: Path, seen: os.stat_result) -> None:
        """Remove a blob that is damaged, unless it was replaced since."""
        with contextlib.suppress(OSError), self._lock():
            if os.path.samestat(path.stat(), seen):
                path.unlink()

    @contextlib.contextmanager
    def _incoming(self, digest: Digest) -> Iterator[Path]:
        """Yield an empty file for a blob in the making; who sweeps sees by its lock that somebody is at it."""
        self._prepare()
        temporary = self._own / "incoming" / f"{digest}.{os.getpid()}.{os.urandom(6).hex()}"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield temporary
        finally:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)

    def _sweep(self, grace_s: float, now_s: Callable[[], float]) -> int:
        freed = 0
        place = self._own / "incoming"
        for entry in list(place.iterdir()) if place.is_dir() else []:
            with contextlib.suppress(OSError), entry.open("rb") as stream:
                state = os.fstat(stream.fileno())
                if now_s() - state.st_ctime < grace_s:  # a hard link's mtime is old
                    continue
                fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                entry.unlink()
                freed += state.st_blocks * 512 if state.st_nlink == 1 else 0
        return freed

    def _prepare(self) -> None:
        with disk_errors(self.root):
            if not (self.root / "oci-layout").exists():
                for place in (self._blobs, self._own / "incoming", self._own / "notes"):
                    place.mkdir(parents=True, exist_ok=True)
                if not (self.root / "index.json").exists():
                    with self._lock():
                        if not (self.root / "index.json").exists():
                            self._write([])
                write_atomically(self.root / "oci-layout", VERSION)
            elif not (self._own / "notes").is_dir():  # somebody else's layout
                for place in (self._blobs, self._own / "incoming", self._own / "notes"):
                    place.mkdir(parents=True, exist_ok=True)

    # -- notes -----------------------------------------------------------------------------------------------------

    def _noted(self, digest: Digest) -> str:
        try:
            return (self._own / "notes" / digest).read_text()
        except OSError:
            return ""

    def _note(self, digest: Digest, state: os.stat_result) -> None:
        with contextlib.suppress(OSError):  # not durable, and not needed: without a note the blob is hashed
            (self._own / "notes" / digest).write_text(_signature(state))

    def _reachable(self) -> set[str]:
        reachable: set[str] = set()
        todo = [
            (str(entry.get("digest", "")).removeprefix("sha256:"), str(entry.get("mediaType", ""))) for entry in self._entries()
        ]
        while todo:
            digest, media_type = todo.pop()
            if digest in reachable:
                continue
            reachable.add(digest)
            with contextlib.suppress(InvalidDigest, InvalidImage):
                found = self._found(Digest(digest), media_type)
                parsed = read_manifest(found.content, media_type) if found else None
                if isinstance(parsed, Index):
                    todo += [(child.digest, child.media_type) for child in parsed.manifests]
                elif isinstance(parsed, Manifest):
                    reachable |= {needed.digest for needed in _needs(parsed)}
        return reachable

    def _lock(self) -> FileLock:
        return FileLock(self._own / "lock")


def _needs(parsed: Manifest | Index) -> tuple[Descriptor, ...]:
    return parsed.manifests if isinstance(parsed, Index) else (parsed.config, *parsed.layers)


def _tag_of(entry: dict[str, Any]) -> str:
    notes = entry.get("annotations")
    return str(notes.get(REF_NAME, "")) if isinstance(notes, dict) else ""


def _signature(state: os.stat_result) -> str:
    return f"{state.st_ino} {state.st_size} {state.st_mtime_ns}"


def _file_below(stream: IO[bytes]) -> Path | None:
    """Return the regular file that ``stream`` reads, bytes as they are, from its beginning; None: it is something else."""
    from pathlib import Path

    raw = getattr(stream, "raw", stream)
    if type(raw) is not io.FileIO or not isinstance(raw.name, str) or stream.tell():
        return None
    path = Path(raw.name)
    with contextlib.suppress(OSError):
        state = path.lstat()
        if stat.S_ISREG(state.st_mode) and os.path.samestat(state, os.fstat(raw.fileno())):
            return path
    return None


def _clone(source: Path, temporary: Path) -> bool:
    """Let ``temporary`` share the blocks of ``source``, where the file system can."""
    with source.open("rb") as old, temporary.open("r+b") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
    return True
