"""Archives that lie in directories already, as they were carried to a node: taken from there, checked as if from anywhere; nothing is asked."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from wardian.errors import BadArchive, NotFound
from wardian.events import Event, silent
from wardian.package.archive import validate_archive
from wardian.tools.disk import need_space

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.lock import Artifact
    from wardian.package.store import PackageStore

_PARALLEL = 4
_PIECE_BYTES = 64 << 20


class CarriedArchives:
    """Archives of ``directories``, each at ``<sha256>/<file>``, brought into ``store``.

    Args:     directories: looked through in this order.
              check: raises if an archive is hostile.
    """

    def __init__(
        self, store: PackageStore, directories: Sequence[Path], *, check: Callable[[Path, str], object] = validate_archive
    ):
        self._store = store
        self._directories = directories
        self._check = check

    def fetch(self, artifacts: Sequence[Artifact], listener: Listener = silent) -> dict[Digest, Path]:
        """Return where each artifact's archive lies in the store. Hard links where they are possible; else copies.

        Every archive is read whole and compared with its digest; new ones are validated.

        Raises:   NotFound: ``archive_not_carried``: none of the directories has it.
                  BadArchive: it is not what the lock says, or hostile.  DiskFull.
        """
        with ThreadPoolExecutor(_PARALLEL) as pool:
            verified = pool.map(lambda a: self._store.verified(a.installed_sha256, a.installed_file), artifacts)
            found = {a.installed_sha256: path for a, path in zip(artifacts, verified, strict=True) if path is not None}
            missing = {a.installed_sha256: a for a in artifacts if a.installed_sha256 not in found}
            places = {sha256: self._place(artifact) for sha256, artifact in missing.items()}
            if missing:
                listener(
                    Event(
                        "phase",
                        f"taking {len(missing)} package{'s' if len(missing) != 1 else ''} from {places[next(iter(missing))].parent.parent}",
                    )
                )
            taken = pool.map(lambda sha256: self._take(missing[sha256], places[sha256]), missing)
            return found | dict(zip(missing, taken, strict=True))

    def _place(self, artifact: Artifact) -> Path:
        for directory in self._directories:
            place = directory / artifact.installed_sha256 / artifact.installed_file
            if place.is_file():
                return place
        raise NotFound(
            f"{artifact.installed_file} is in none of {', '.join(map(str, self._directories)) or 'no directories'}",
            hint=f"a node asks no index: put it into <directory>/{artifact.installed_sha256}/", code="archive_not_carried",
        )  # fmt: skip

    def _take(self, artifact: Artifact, place: Path) -> Path:
        kind, sha256, file = ("wheel" if artifact.built else artifact.kind), artifact.installed_sha256, artifact.installed_file
        size_bytes, wanted = place.stat().st_size, artifact.built.size if artifact.built else artifact.size_bytes
        if wanted is not None and size_bytes != wanted:
            raise BadArchive(f"{place} has {size_bytes:,} bytes, not {wanted:,}", code="wrong_size",
                             hint="remove it: it is brought there again")  # fmt: skip

        def check(path: Path) -> None:
            self._check(path, kind)

        linked = self._store.link(sha256, file, place, check)
        if linked is not None:
            return linked
        need_space(self._store.root, size_bytes)
        return self._store.ensure(sha256, file, lambda stream: _copy(place, stream), check)


def _copy(place: Path, stream: IO[bytes]) -> None:
    """Copy within the kernel, or the file server, where they can: a file system that shares blocks stores nothing twice."""
    with place.open("rb") as source:
        try:
            while os.copy_file_range(source.fileno(), stream.fileno(), _PIECE_BYTES):
                pass
        except OSError:
            import shutil

            source.seek(0)
            stream.seek(0)
            stream.truncate()
            shutil.copyfileobj(source, stream, 1 << 20)
