"""Installed prefixes on this machine, one per key."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, Unavailable, WardianError
from wardian.events import Event
from wardian.small_file import NoSmallFile, read_small
from wardian.tools.disk import FileLock, disk_errors, empty_trash, remove_tree, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from wardian.digest import Digest
    from wardian.events import Listener

SCHEME = "wardian-prefix-1"
_TRIES = 50
LONGEST_PATH = 200  # bytes: conda's placeholder is 255, and shebang lines are cut at 127 to 255 by older kernels
MARK = ".wardian/ready.json"
BYTE_CODE = ".wardian/bytecode.json"  # which modules were compiled afterwards, when all are
BESIDE = "images.install"  # among the locks of installations: shared by all who make images


@dataclass(frozen=True, slots=True)
class Ready:
    """What the ready mark says of a prefix.

    Attributes:
        python: the interpreter, or empty.
        variables: what a process in the prefix has set, PATH apart.
        path_entries: directories that go before the system's PATH.
        requires: directory names of other prefixes that this one needs (a standalone Python).
        facts: what people ask of it later: lock digest, package count.
    """

    key: str
    python: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    path_entries: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the mark's text."""
        document = {"scheme": SCHEME, "key": self.key, "python": self.python, "variables": dict(self.variables),
                    "path_entries": list(self.path_entries), "requires": list(self.requires), "facts": dict(self.facts)}  # fmt: skip
        return json.dumps(document, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Ready | None:
        """Return what a mark says; None if it is no mark of this scheme."""
        try:
            document = json.loads(text)
            if document["scheme"] != SCHEME:
                return None
            return cls(document["key"], document["python"], document["variables"], tuple(document["path_entries"]),
                       tuple(document["requires"]), document["facts"])  # fmt: skip
        except (ValueError, KeyError, TypeError):
            return None


class PrefixCache:
    """Prefixes by key: a directory that has its ready mark is complete; any other does not count.

    Safe between processes and against ``kill -9``: one installs, the others wait for the same key; what a killed
    installer leaves is removed by the next. Contract: tests/contracts/test_prefix_cache.py.
    """

    def __init__(self, root: Path):
        self.root = root
        longest = len(os.fsencode(root)) + 33
        if longest > LONGEST_PATH:
            raise InvalidInput(
                f"the path of the prefixes, {root}/…, would have {longest} bytes; at most {LONGEST_PATH} work everywhere",
                hint="point WARDIAN_CACHE at a shorter path", code="prefix_path_too_long",
            )  # fmt: skip

    def path(self, key: Digest) -> Path:
        """Return where the prefix of ``key`` is, or would be."""
        return self.root / key[:32]

    def find(self, key: Digest) -> Ready | None:
        """Return the ready mark of ``key``, or None. Marks the prefix as used."""
        try:
            ready = Ready.from_json(read_small(self.path(key) / MARK))
        except (FileNotFoundError, NotADirectoryError, NoSmallFile):
            return None
        if ready is None or ready.key != key:
            return None
        if not all((self.root / name / MARK).exists() for name in ready.requires):
            return None
        for name in (key[:32], *ready.requires):
            with contextlib.suppress(OSError):
                os.utime(self.use_lock(name).path)
        return ready

    def ensure(self, key: Digest, install: Callable[[Path], Ready], listener: Listener) -> tuple[Ready, bool]:
        """Return the ready mark of ``key`` and whether it was there; ``install`` is called only if it was not.

        ``install`` gets an empty directory, the final place, and returns the mark. If it raises, nothing is kept and
        the error passes through unchanged.
        """
        ready = self.find(key)
        if ready is not None:
            return ready, True
        lock = FileLock(self.root / "locks" / f"{key[:32]}.install")
        lock.acquire(
            on_wait=lambda holder: listener(Event("phase", f"waiting for {holder}, which installs the same environment"))
        )
        with lock:
            ready = self.find(key)
            if ready is not None:
                return ready, True
            path = self.path(key)
            with disk_errors(self.root):
                self._make_empty(path)
                try:
                    ready = install(path)
                    if ready.key != key:
                        raise WardianError(
                            f"the installer of prefix {key.short} returned a mark for {ready.key[:12]}", code="bug"
                        )
                    self.use_lock(key[:32]).acquire_and_release()
                    _mark(path, ready)
                except BaseException:
                    self._clear(path)
                    raise
        return ready, False

    def use_lock(self, name: str) -> _UseLock:
        """Return the lock that a run holds, shared, while it uses the prefix directory ``name``."""
        return _UseLock(self.root / "locks" / f"{name}.use")

    @contextlib.contextmanager
    def hold(self, key: Digest) -> Iterator[None]:
        """Keep the prefix of ``key``, and those it needs, from being evicted while the block runs.

        Raises:   Unavailable: code ``prefix_gone``: it was evicted before this could take hold of it.
        """
        with contextlib.ExitStack() as stack:
            waiting = [key[:32]]
            while waiting:
                name = waiting.pop()
                lock = self.use_lock(name)
                lock.acquire(shared=True)
                stack.callback(lock.release)
                try:  # after the lock: what is there now stays
                    ready = Ready.from_json(read_small(self.root / name / MARK))
                except (FileNotFoundError, NotADirectoryError, NoSmallFile):
                    raise Unavailable(
                        f"the prefix {name} was removed meanwhile", hint="try again: it is installed anew", code="prefix_gone"
                    ) from None
                waiting += ready.requires if ready else ()
            yield

    def entries(self) -> Iterator[tuple[str, Ready | None, float]]:
        """Yield each directory's name, its mark (None: unfinished) and time of last use (seconds since the epoch)."""
        for path in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if len(path.name) == 32 and path.is_dir():  # noqa: PLR2004
                ready = None
                with contextlib.suppress(OSError):
                    ready = Ready.from_json(read_small(path / MARK))
                used = 0.0
                with contextlib.suppress(OSError):
                    used = self.use_lock(path.name).path.stat().st_mtime
                yield path.name, ready, used

    def installing(self, name: str) -> bool:
        """Return whether a process installs the prefix directory ``name`` now."""
        return FileLock(self.root / "locks" / f"{name}.install").is_held()

    def is_installing(self) -> bool:
        """Return whether a process installs any prefix now."""
        return any(FileLock(path).is_held() for path in sorted((self.root / "locks").glob("*.install")))

    @contextlib.contextmanager
    def work_beside(self) -> Iterator[None]:
        """Keep clean-ups from archives and unpacked packages while the block runs, as an installation does: images need them too."""
        lock = FileLock(self.root / "locks" / BESIDE)
        lock.acquire(shared=True)
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def nothing_beside(self) -> Iterator[bool]:
        """Say whether no ``work_beside`` is under way; if so, none begins until the block ends."""
        lock = FileLock(self.root / "locks" / BESIDE)
        free = lock.try_acquire()
        try:
            yield free
        finally:
            lock.release()

    def remove(self, name: str) -> bool:
        """Remove a prefix directory unless a run holds it or an installer works on it; return whether it is gone."""
        install = FileLock(self.root / "locks" / f"{name}.install")
        if not install.try_acquire():
            return False
        with install:
            use = self.use_lock(name)
            if not use.try_acquire():
                return False
            with use:
                self._clear(self.root / name)
        return True

    def _make_empty(self, path: Path) -> None:
        """Make the directory anew; what a killed installer's dying child puts there meanwhile is removed again."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            self._clear(path)
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return
        raise WardianError(f"something keeps writing into {path}", hint="end the process that does", code="prefix_busy")

    def _clear(self, path: Path) -> None:
        remove_tree(path, self.root / "trash")

    def empty_trash(self) -> None:
        """Delete what killed processes left behind."""
        empty_trash(self.root / "trash")


class _UseLock(FileLock):
    def acquire_and_release(self) -> None:
        """Make the lock's file exist: its time is the time of last use."""
        self.acquire(shared=True)
        os.utime(self.path)
        self.release()


def _mark(path: Path, ready: Ready) -> None:
    place = path / ".wardian"
    place.mkdir(exist_ok=True)
    place.chmod(0o755)
    write_atomically(path / MARK, ready.to_json(), 0o444)
    place.chmod(0o555)
    path.chmod(0o555)
