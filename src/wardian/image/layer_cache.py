"""Layers that were made before on this machine: a note for each by its key, the bytes in a store of images."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

from wardian.digest import Digest, canonical_json
from wardian.errors import InvalidDigest, Unavailable
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.image.layer import Layer, write_layer
from wardian.image.oci import Descriptor, InvalidImage
from wardian.small_file import NoSmallFile, read_small
from wardian.tools.disk import FileLock, disk_errors, write_atomically
from wardian.tools.stopping import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.image.compression import Compression
    from wardian.image.entry import Entry
    from wardian.image.key import ImageScheme
    from wardian.image.store import ImageStore

_LOOK_EVERY_S = 1.0  # how soon a wait for another process ends when the work is stopped


def layer_key(
    scheme: ImageScheme,
    kind: str,
    packages: Sequence[Digest],
    *,
    site_packages: str = "",
    interpreter: Digest | None = None,
    details: Any = None,
) -> Digest:
    """Return what identifies a layer before it exists: everything that decides about its bytes, and nothing else.

    Args:     kind: what makes it: ``python``, ``wheel``, ``conda`` …
              packages: sha256 of the archives, in the order in which they go in.
              site_packages: where Python's packages lie, relative to the environment's root; ``""`` where it does not matter.
              interpreter: sha256 of the one that makes byte-code; without it, or if the scheme has no byte-code, there is none.
              details: further plain values that decide.
    Source:   semantics §5
    """
    makes_byte_code = scheme.byte_code and interpreter is not None
    return Digest.of_document({
        "tag": "wardian-layer", "kind": kind, "packages": list(packages), "prefix": ENVIRONMENT_PATH, "site_packages": site_packages,
        "byte_code": str(interpreter) if makes_byte_code else "", "compressor": scheme.compressor, "epoch": scheme.epoch,
        "writer": scheme.writer, "details": details,
    })  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerContent:
    """What goes into a layer. ``facts``: JSON values that are kept beside it, for when its entries are not here."""

    entries: Iterable[Entry]
    facts: Any = None


@dataclass(frozen=True, slots=True)
class LayerTask:
    """A layer that is wanted.

    Attributes:
        name: for people: ``numpy 2.1.0``.
        content: opens its content; called only if the layer is not here. The entries are read until the block ends.
        size_bytes: about how large it is: large ones are begun first.
    """

    key: Digest
    name: str
    content: Callable[[], AbstractContextManager[LayerContent]]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CachedLayer:
    """A layer whose blob is in the store; ``cached``: it was there before."""

    layer: Layer
    facts: Any
    cached: bool


class LayerCache:
    """The layers made on this machine. Safe between threads and processes: one makes a layer, the others wait for it.

    A note is written last, when the blob is in ``store``; a blob that is missing, or that the store finds changed, is made anew. After
    ``kill -9`` anywhere, the next call for the key starts from the beginning.

    Args:     root: the directory of the notes. Layers in the making lie in ``incoming`` below it and never change once they are
                  whole: a store on the same disk may link them.
              compression, epoch: as the keys' scheme says.
    """

    def __init__(self, root: Path, store: ImageStore, *, compression: Compression, epoch: int):
        self.root = root
        self.incoming = root / "incoming"
        self._store = store
        self._compression = compression
        self._epoch = epoch

    def find(self, key: Digest) -> CachedLayer | None:
        """Return the layer with this key, or None: it was not made here, or its blob is gone or damaged.

        Raises:   Unavailable, Denied: the store cannot say.
        """
        try:
            document = json.loads(read_small(self.root / f"{key}.json"))
            layer = Layer(
                Descriptor.from_document(document["layer"]), Digest(document["diff_id"]), int(document["uncompressed_bytes"])
            )
            facts = document["facts"]
        except FileNotFoundError:
            return None
        except (
            NoSmallFile,
            InvalidImage,
            InvalidDigest,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ):  # damaged: not a note of ours
            return None
        try:
            self._store.put(layer.descriptor, _needed)
        except _NeededError:
            return None
        return CachedLayer(layer, facts, cached=True)

    def ensure(
        self,
        task: LayerTask,
        *,
        on_wait: Callable[[str], None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> CachedLayer:
        """Return the layer of ``task``, making it if it is not here.

        Args:     on_wait: called once, with who is making it, before waiting.
                  check: called between pieces and while waiting; what it raises stops the work.
        Raises:   whatever opening the content raises, unchanged; nothing is kept then.  BadArchive: see ``write_tar``.
                  DiskFull.  Unavailable, Denied: the store.
        """
        if found := self.find(task.key):
            return found
        lock = FileLock(self.root / "locks" / f"{task.key}.lock")
        _acquire(lock, on_wait, check)
        with lock:
            found = self.find(task.key) or self._make(task, check)
            lock.path.unlink(missing_ok=True)
        return found

    def ensure_all(
        self,
        tasks: Sequence[LayerTask],
        *,
        jobs: int,
        on_wait: Callable[[str], None] | None = None,
        on_done: Callable[[LayerTask, CachedLayer], None] = lambda _task, _layer: None,
    ) -> list[CachedLayer]:
        """Return the layers of ``tasks``, in their order, making up to ``jobs`` at once. The bytes do not depend on ``jobs``.

        The first error, or an interrupt, stops the others; what was whole by then is kept.

        Args:     on_done: called in this thread, in the order in which they are done.
        """
        stop = threading.Event()

        def check() -> None:
            if stop.is_set():
                raise _StoppedError

        made: dict[int, CachedLayer] = {}
        with workers(jobs, "layers") as pool:
            order = sorted(range(len(tasks)), key=lambda n: -tasks[n].size_bytes)
            futures = {pool.submit(self.ensure, tasks[n], on_wait=on_wait, check=check): n for n in order}
            try:
                for future in as_completed(futures):
                    number = futures[future]
                    made[number] = future.result()
                    on_done(tasks[number], made[number])
            except BaseException:
                stop.set()
                raise
        return [made[n] for n in range(len(tasks))]

    def sweep(self) -> int:
        """Remove notes whose blobs are gone and what failed or killed work left; return how many. Safe beside everything else.

        Raises:   Unavailable, Denied: the store cannot say.
        """
        removed = 0
        for note in list(self.root.glob("*.json")):
            with contextlib.suppress(InvalidDigest):
                if self.find(Digest(note.stem)) is None:
                    note.unlink(missing_ok=True)
                    removed += 1
        begun = [left.name for left in self.incoming.glob("*")]
        for key in dict.fromkeys([*begun, *(lock.stem for lock in (self.root / "locks").glob("*.lock"))]):
            lock = FileLock(self.root / "locks" / f"{key}.lock")
            if lock.try_acquire():
                with lock:
                    (self.incoming / key).unlink(missing_ok=True)
                    lock.path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _make(self, task: LayerTask, check: Callable[[], None]) -> CachedLayer:
        temporary = self.incoming / task.key  # the lock is ours: what lies there is a dead process's
        try:
            with task.content() as content:
                facts = content.facts
                with _Sink(temporary) as sink:
                    layer = write_layer(
                        content.entries, sink, compression=self._compression, mtime=self._epoch, name=task.name, check=check
                    )
            self._store.put(layer.descriptor, lambda: temporary.open("rb"))
            document = {
                "layer": layer.descriptor.as_document(), "diff_id": layer.diff_id, "uncompressed_bytes": layer.uncompressed_bytes,
                "name": task.name, "facts": facts,
            }  # fmt: skip
            write_atomically(self.root / f"{task.key}.json", canonical_json(document))
        finally:
            temporary.unlink(missing_ok=True)
        return CachedLayer(layer, facts, cached=False)


class _Sink:
    """A new file; only what goes wrong with it is an error of the disk's, not what goes wrong with the content."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> Self:
        with disk_errors(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)  # not written over: the store may have linked it
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        return self

    def write(self, piece: bytes) -> None:
        with disk_errors(self._path.parent):
            left = memoryview(piece)
            while left:
                left = left[os.write(self._descriptor, left) :]

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _acquire(lock: FileLock, on_wait: Callable[[str], None] | None, check: Callable[[], None]) -> None:
    told = False

    def tell(holder: str) -> None:
        nonlocal told
        if on_wait and not told:
            told = True
            on_wait(holder)

    while True:
        check()
        try:
            lock.acquire(timeout_s=_LOOK_EVERY_S, on_wait=tell)
        except Unavailable as error:
            if error.stable_code != "locked":  # a full disk
                raise
            continue
        return


class _NeededError(Exception):
    """The store asked for the bytes: it does not have them."""


class _StoppedError(Exception):
    """Another layer failed, or somebody interrupted."""


def _needed() -> NoReturn:
    raise _NeededError
