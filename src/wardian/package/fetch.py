"""Fetches the archives that a lock names: every byte is checked here, whoever asks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import BadArchive, NotFound, Unavailable, WardianError
from wardian.events import Event, silent
from wardian.lock.ports import Obtained
from wardian.package.archive import validate_archive
from wardian.tools.disk import need_space
from wardian.tools.http import without_credentials
from wardian.tools.stopping import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from wardian.events import Listener
    from wardian.lock.lock import Artifact
    from wardian.package.hints import Hints
    from wardian.package.store import PackageStore
    from wardian.tools.http import Http

_PARALLEL = 8

Locate = "Callable[[Artifact], Iterable[str]]"


class Fetcher:
    """Brings archives to this machine. Implements ``wardian.lock.ports.Archives``.

    Args:     limit_bytes: the largest archive taken.
    """

    def __init__(
        self,
        store: PackageStore,
        http: Http,
        hints: Hints,
        *,
        limit_bytes: int,
        check: Callable[[Path, str], object] = validate_archive,
    ):
        self.store = store
        self._http = http
        self._hints = hints
        self._limit = limit_bytes
        self._check = check

    def note_location(self, sha256: Digest, url: str) -> None:
        """Remember where an archive was offered."""
        self._hints.put(sha256, url)

    def obtain(
        self, urls: Sequence[str], file: str, *, kind: str, sha256: Digest | None, trusted: Collection[str] = ()
    ) -> Obtained:
        """Return the archive, from the store or from the first URL that has it. See ``Archives.obtain``."""
        if sha256 is not None:
            path = self.store.ensure(
                sha256, file, lambda stream: self._first(urls, file, stream, None, trusted), lambda p: self._validate(p, kind)
            )
            self._hints.put(sha256, urls[0])
            return Obtained(path, sha256, path.stat().st_size)
        with self.store.temporary(file) as temporary:
            with temporary.open("w+b") as stream:
                self._first(urls, file, stream, None, trusted)
            actual = Digest.of_file(temporary)
            self._validate(temporary, kind)
            path = self.store.adopt(temporary, actual, file)
        self._hints.put(actual, urls[0])
        return Obtained(path, actual, path.stat().st_size)

    def fetch(
        self,
        artifacts: Sequence[Artifact],
        locate: Callable[[Artifact], Iterable[str]],
        listener: Listener = silent,
        *,
        trusted: Collection[str] = (),
    ) -> dict[Digest, Path]:
        """Return where each artifact's archive lies, fetching what is missing, several at a time.

        Each archive is read once and checked: digest, size, every path and link in it. What is here already has its
        digest compared again.

        Args:     locate: gives the URLs to try for an artifact, best first; asked only for what is missing.
                  trusted: hosts (``HOST[:PORT]``) whose certificates are not checked.
        Raises:   BadArchive: an archive is not what the lock says, or is hostile.  NotFound: no place has it any more.
                  Denied, Unavailable, DiskFull: as they say.
        """
        found: dict[Digest, Path] = {}
        missing: list[Artifact] = []
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for artifact, path in zip(artifacts, pool.map(self._verified, artifacts), strict=True):
                if path is None:
                    missing.append(artifact)
                else:
                    found[artifact.installed_sha256] = path
        if not missing:
            return found
        total = sum(a.size_bytes or 0 for a in missing)
        need_space(self.store.root, total)
        listener(Event("phase", f"fetching {len(missing)} package{'s' if len(missing) != 1 else ''}", total=total))
        done = _Counter(listener, total)
        with workers(_PARALLEL, "fetch") as pool:
            futures = [pool.submit(self._one, artifact, locate, done, trusted) for artifact in missing]
            try:
                for artifact, future in zip(missing, futures, strict=True):
                    found[artifact.installed_sha256] = future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
        return found

    def _verified(self, artifact: Artifact) -> Path | None:
        return self.store.verified(artifact.installed_sha256, artifact.installed_file)

    def _one(
        self, artifact: Artifact, locate: Callable[[Artifact], Iterable[str]], done: _Counter, trusted: Collection[str]
    ) -> Path:
        kind = "wheel" if artifact.built else artifact.kind
        file = artifact.installed_file

        def write(stream: IO[bytes]) -> None:
            self._first(locate(artifact), file, stream, done.add, trusted)
            size = stream.tell()
            wanted = artifact.built.size if artifact.built else artifact.size_bytes
            if wanted is not None and size != wanted:
                raise BadArchive(f"{file} has {size:,} bytes, not {wanted:,}", code="wrong_size",
                                 hint="the server has another file under this name than when it was locked")  # fmt: skip

        try:
            return self.store.ensure(artifact.installed_sha256, file, write, lambda path: self._validate(path, kind))
        except WardianError as error:
            error.details.setdefault("artifact", f"{artifact.name} {artifact.version}")
            raise

    def _validate(self, path: Path, kind: str) -> None:
        self._check(path, kind)

    def _first(
        self,
        urls: Iterable[str],
        file: str,
        stream: IO[bytes],
        on_bytes: Callable[[int], None] | None,
        trusted: Collection[str],
    ) -> None:
        last: WardianError | None = None
        for url in urls:
            try:
                stream.seek(0)
                stream.truncate()
                self._http.download(
                    url, stream, limit_bytes=self._limit, on_bytes=on_bytes or (lambda _n: None), trusted=trusted
                )
                return
            except (NotFound, Unavailable) as error:
                last = error if last is None or isinstance(error, Unavailable) else last
        if isinstance(last, Unavailable):
            raise last
        where = f" ({without_credentials(str(last))})" if last else ""
        raise NotFound(f"{file} is nowhere to be had any more{where}", code="artifact_gone",
                       hint="an index or mirror that has it: `wardian config set mirrors…`; or `wardian env upgrade` for a new lock")  # fmt: skip


class _Counter:
    def __init__(self, listener: Listener, total: int):
        self._listener = listener
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            done = self._done
        self._listener(Event("progress", "fetching", done=done, total=self._total))
