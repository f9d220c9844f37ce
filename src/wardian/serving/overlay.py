"""The serving layer on this machine: a directory beside the environment, by content, for the end of its Python's path."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import BuildFailed
from wardian.events import Event
from wardian.prefix.cache import PrefixCache, Ready
from wardian.prefix.evict import Candidate
from wardian.prefix.seal import seal
from wardian.serving.layer_files import layer_entries
from wardian.tools.disk import need_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.events import Listener
    from wardian.image.byte_code import ByteCompiler
    from wardian.image.entry import Entry
    from wardian.serving.extension import Extension

DIRECTORY = "serving"  # below the cache
_SCHEME = "wardian-overlay-1"
_USUAL_RATIO = 8  # of what lies there, byte-code included, to the wheels


@dataclass(frozen=True, slots=True)
class Overlay:
    """A serving layer on this machine; read-only.

    Attributes:
        path: the directory; ``wardian_server/__main__.py`` in it is the server.
        key: what is in it; its first 32 characters are the directory's name.
        cached: it was there before.
    """

    path: Path
    key: Digest
    cached: bool
    added_bytes: int = 0


class Overlays:
    """The serving layers of this machine, below ``root``.

    Safe between processes and against ``kill -9``: one makes a layer, the others wait for it; what has no ready mark does not
    exist for anybody, and the next one who needs it clears it away.
    """

    def __init__(self, root: Path):
        self._cache = PrefixCache(root)

    def find(self, extension: Extension) -> Overlay | None:
        """Return the layer if it is there, contacting nothing: the compiled one, if there are both. Marks it as used."""
        for compiled in (True, False):
            key = overlay_key(extension, compiled=compiled)
            if self._cache.find(key) is not None:
                return Overlay(self._cache.path(key), key, cached=True)
        return None

    def ensure(
        self,
        extension: Extension,
        python: str,
        fetch: Callable[[], Mapping[Digest, Path]],
        listener: Listener,
        *,
        jobs: int = 2,
    ) -> Overlay:
        """Return the layer of ``extension``, unpacking it if it is not there; all of it or nothing.

        Its modules are compiled by ``python`` first, so that no start of a server has to. Where that interpreter cannot, they
        are left as they are, and a notice says so.

        Args:     python: an interpreter of that minor version, the environment's best; empty: there is none on this machine.
                  fetch: brings all wheels of the extension here, validated.
        Raises:   what ``fetch`` raises.  BadArchive: as ``layer_entries``.  DiskFull.
        """
        if python:
            try:
                with self._compiler(python, jobs) as compiler:
                    return self._ensure(extension, compiler, fetch, listener)
            except BuildFailed as error:
                if error.stable_code != "byte_code_failed":
                    raise
                listener(Event("notice", f"the serving layer stays uncompiled, so servers start later: {error.message}"))
        return self._ensure(extension, None, fetch, listener)

    def _ensure(
        self,
        extension: Extension,
        compiler: ByteCompiler | None,
        fetch: Callable[[], Mapping[Digest, Path]],
        listener: Listener,
    ) -> Overlay:
        key = overlay_key(extension, compiled=compiler is not None)

        def install(path: Path) -> Ready:
            archives = fetch()
            need_space(self._cache.root, _USUAL_RATIO * sum(archive.stat().st_size for archive in archives.values()))
            listener(Event("phase", "unpacking the serving layer"))
            self._unpack(extension, archives, path, compiler)
            sealed = seal(path)
            packages = [f"{a.name} {a.version}" for a in extension.artifacts]
            return Ready(key=key, facts={"packages": packages, "files": sealed.files, "added_bytes": sealed.size_bytes})

        ready, cached = self._cache.ensure(key, install, listener)
        return Overlay(self._cache.path(key), key, cached, 0 if cached else int(ready.facts["added_bytes"]))

    def hold(self, overlay: Overlay) -> AbstractContextManager[None]:
        """Keep a layer from being removed while the block runs, as each server does that runs from it.

        Raises:   Unavailable: code ``prefix_gone``: it was removed before this could take hold of it.
        """
        return self._cache.hold(overlay.key)

    @property
    def cache(self) -> PrefixCache:
        """The directories with their marks and locks."""
        return self._cache

    @contextlib.contextmanager
    def _compiler(self, python: str, jobs: int) -> Iterator[ByteCompiler]:
        from wardian.image.byte_code import ByteCompiler

        with ByteCompiler([python], jobs=jobs) as compiler:
            yield compiler

    def _unpack(self, extension: Extension, archives: Mapping[Digest, Path], path: Path, compiler: ByteCompiler | None) -> None:
        from wardian.image.spool import Spool
        from wardian.image.wheel_entries import ByteCodeMaker

        with Spool(self._cache.root / "spool") as spool:
            byte_code = ByteCodeMaker(compiler, spool) if compiler is not None else None
            with layer_entries(extension, archives, str(path).lstrip("/"), byte_code) as entries:
                _write(entries)


def _write(entries: Iterable[Entry]) -> None:
    """Write files where their paths say, which were checked to be plain ones below the layer's directory."""
    from pathlib import Path

    for entry in entries:
        target = Path("/", entry.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            if entry.open_content is not None:
                with entry.open_content() as content:
                    shutil.copyfileobj(content, stream)


def overlay_key(extension: Extension, *, compiled: bool = True) -> Digest:
    """Return what identifies a layer: its wheels, and the minor version of the Python that its byte-code is for, if it has some."""
    minor = ".".join(extension.python.split(".")[:2]) if compiled else ""
    return Digest.of_document(
        {"scheme": _SCHEME, "python": minor, "wheels": [[a.file, str(a.sha256)] for a in extension.artifacts]}
    )


class OverlayCleaning:
    """A ``wardian.prefix.evict.Beside`` over the serving layers: each can be made again, but not while a server runs from it."""

    kinds: tuple[str, ...] = ("serving", "unfinished-layer")

    def __init__(self, overlays: Overlays):
        self._cache = overlays.cache

    def candidates(self) -> Iterator[Candidate]:
        """See ``Beside``."""
        for name, ready, used in self._cache.entries():
            path = self._cache.root / name
            if ready is None:
                if not self._cache.installing(name):
                    yield Candidate("unfinished-layer", name, path, used, 0, "a serving layer that was broken off")
            elif not self._cache.use_lock(name).is_held():
                yield Candidate(
                    "serving", name, path, used, 0, f"a serving layer of {len(ready.facts.get('packages', ()))} packages"
                )

    def kept(self) -> Iterable[Path]:
        """See ``Beside``."""
        return [
            self._cache.root / name
            for name, ready, _ in self._cache.entries()
            if ready is not None and self._cache.use_lock(name).is_held()
        ]

    def remove(self, candidate: Candidate) -> bool:
        """See ``Beside``."""
        if candidate.kind == "serving":
            used = next((used for name, _, used in self._cache.entries() if name == candidate.name), 0.0)
            if used > candidate.used:  # somebody has found it since: it is about to be used
                return False
        return self._cache.remove(candidate.name)
