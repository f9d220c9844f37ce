"""What a clean-up may take of what images are made of: layers, images of no version, interpreters, what killed builds left."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import InvalidDigest, WardianError
from wardian.image.base_python import MARK
from wardian.prefix.evict import STALE_AFTER_S, Candidate
from wardian.tools.disk import FileLock, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from wardian.bootstrap import Parts

_OWN = ("i-", "x-", "s-")  # tags that builds make anew


class ImageCleaning:
    """A ``wardian.prefix.evict.Beside`` over this machine's images.

    Every image that a version of any workspace of this home has had stays, and every base that one is pinned to: old digests too.
    Layers that only time was saved with go by last use, and images that no version refers to, each before its layers. While an
    image is made nothing goes; while something goes nobody begins to make one.
    """

    kinds: tuple[str, ...] = ("layer", "image", "python", "staging", "flight")

    def __init__(self, parts: Parts, now: Callable[[], float] = time.time):
        self._parts = parts
        self._now = now
        self._cache = parts.cache
        self._store = parts.images.local
        self._known_roots: set[Digest] | None = None
        self._reached: tuple[object, set[Digest]] = (None, set())

    # -- what there is -------------------------------------------------------------------------------------------------

    def candidates(self) -> Iterator[Candidate]:
        """See ``Beside``."""
        yield from self._pythons()
        yield from self._leftovers()
        try:
            roots = self._known_roots = self._roots()
        except WardianError:  # a workspace that cannot be read may need any of it
            return
        used = {digest: (path, moment) for digest, path, moment in self._store.holdings()}
        is_kept = self._is_kept(roots)
        kept = self._store.reachable(roots, tags=is_kept)
        orphans: set[Digest] = set()
        for tag, digest in self._store.named():
            if is_kept(tag):
                continue
            needs = self._store.reachable([digest], tags=lambda _tag: False)
            moments = [used[one][1] for one in needs if one in used]
            orphans.add(digest)
            path = self._store.root / "blobs" / "sha256" / digest
            yield Candidate("image", tag, path, min(moments, default=0.0) - 1e-3, 0, "of no version")
        for blob, (path, moment) in used.items():
            if blob not in kept and blob not in orphans:
                yield Candidate("layer", blob, path, moment, 0)

    def kept(self) -> Iterable[Path]:
        """See ``Beside``."""
        blobs = self._store.root / "blobs" / "sha256"
        try:
            roots = self._roots()
        except WardianError:
            return [path for _, path, _ in self._store.holdings()]
        return [blobs / digest for digest in sorted(self._store.reachable(roots, tags=self._is_kept(roots)))]

    def _roots(self) -> set[Digest]:
        """Return what the versions of all workspaces of this home refer to.

        Raises:   WardianError: one cannot be read.
        """
        from wardian.workspace.database import Database
        from wardian.workspace.images import Images

        found = set(self._parts.images.records.roots())
        for path in sorted((self._parts.settings.home / "workspaces").glob("*/workspace.db")):
            if path.parent != self._parts.directory:
                found |= Images(Database.open(path)).roots()
        return found

    def _is_kept(self, roots: set[Digest]) -> Callable[[str], bool]:
        ours = {tag for tag, digest in self._store.named() if tag.startswith(_OWN) and not self._leads_to(digest, roots)}
        return lambda tag: tag not in ours

    def _leads_to(self, digest: Digest, roots: set[Digest]) -> bool:
        """Return whether a version refers to the image, or to one that the index names."""
        return digest in roots or bool(self._store.reachable([digest], tags=lambda _tag: False) & roots)

    def _pythons(self) -> Iterator[Candidate]:
        for mark in sorted((self._cache / "base-pythons").glob(f"*/{MARK}")):
            yield Candidate("python", mark.parent.name, mark.parent, _changed(mark), 0, "of a base image")
        for path in sorted((self._cache / "staging" / "pythons").glob("[!.]*")):
            yield Candidate("python", path.name, path, _changed(path), 0, "makes byte-code")

    def _leftovers(self) -> Iterator[Candidate]:
        """What killed processes left: staging prefixes that nobody holds, other temporary files and flights of more than a day."""
        staging, old = self._cache / "staging", self._now() - STALE_AFTER_S
        for path in sorted(
            [*staging.glob("[!.]*"), *(staging / "pythons").glob(".*"), *(self._cache / "base-pythons").glob(".*")]
        ):
            if path.name == "pythons" or path.suffix == ".lock":
                continue
            lock = path.with_name(f"{path.name}.lock")
            if not FileLock(lock).is_held() if lock.exists() else _changed(path) < old:
                yield Candidate("staging", path.name, path, _changed(path), 0, "a build that was broken off")
        for path in sorted((self._cache / "flights").glob("*.lock")):
            if _changed(path) < old and not FileLock(path).is_held():
                yield Candidate("flight", path.stem, path, _changed(path), 0)

    # -- removal -------------------------------------------------------------------------------------------------------

    def remove(self, candidate: Candidate) -> bool:
        """See ``Beside``."""
        if candidate.kind == "flight":
            return _remove_flight(candidate.path)
        if candidate.kind == "staging":
            remove_tree(candidate.path, self._cache / "trash")
            candidate.path.with_name(f"{candidate.path.name}.lock").unlink(missing_ok=True)
            return True
        with self._parts.prefixes.nothing_beside() as free:
            if not free:
                return False
            if candidate.kind == "python":
                mark = candidate.path / MARK
                if _changed(mark if mark.exists() else candidate.path) > candidate.used:
                    return False
                remove_tree(candidate.path, self._cache / "trash")
                return True
            return self._remove_image(candidate.name) if candidate.kind == "image" else self._remove_layer(candidate)

    def _remove_image(self, tag: str) -> bool:
        digest = dict(self._store.named()).get(tag)
        if digest is not None and self._leads_to(digest, self._roots()):  # a version has got it since
            return False
        self._store.untag([tag])
        if digest is not None and digest not in self._store.reachable(self._roots()):
            self._store.remove(digest, unless_since=self._now())
        return True

    def _remove_layer(self, candidate: Candidate) -> bool:
        with contextlib.suppress(InvalidDigest):
            digest = Digest(candidate.name)
            if digest not in self._reachable_now():
                return self._store.remove(digest, unless_since=candidate.used)
        return False

    def _reachable_now(self) -> set[Digest]:
        """Return what tags lead to, read anew when they have changed, and versions: what those have got since was asked for since."""
        if self._known_roots is None:
            self._known_roots = self._roots()
        tags = self._store.named()
        if self._reached[0] != tags:
            self._reached = (tags, self._store.reachable(self._known_roots))
        return self._reached[1]


def _remove_flight(path: Path) -> bool:
    lock = FileLock(path)
    if not lock.try_acquire():
        return False
    with lock:
        for suffix in (".log", ".failed"):
            path.with_suffix(suffix).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    return True


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
