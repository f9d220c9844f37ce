"""Interpreters of a lock on this machine: standalone builds unpacked once, or the machine's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import InstallFailed
from wardian.lock.python import HOST
from wardian.package.archive import extract_python
from wardian.prefix.cache import SCHEME, PrefixCache, Ready
from wardian.prefix.seal import seal
from wardian.small_file import read_small
from wardian.tools.disk import write_atomically

if TYPE_CHECKING:
    from wardian.events import Listener
    from wardian.lock.lock import Artifact
    from wardian.tools.uv import Uv


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter on this machine. ``identity`` goes into the prefix key where the lock does not pin its bytes."""

    path: Path
    version: str
    identity: dict[str, str] | None = None
    requires: tuple[str, ...] = ()


class Interpreters:
    """Finds or unpacks the interpreter that a lock names.

    Args:     memory: a file that remembers the digests of the machine's interpreters while they do not change.
    """

    def __init__(self, uv: Uv, cache: PrefixCache, memory: Path):
        self._uv = uv
        self._cache = cache
        self._memory = memory

    def ensure(self, artifact: Artifact, archive: Path | None, listener: Listener) -> Interpreter:
        """Return the interpreter of ``artifact``, unpacking ``archive`` if it is a standalone build that is not here yet.

        Raises:   InstallFailed: the machine does not have that interpreter.
        """
        if artifact.source == HOST:
            return self.host(artifact.version)
        key = standalone_key(artifact.sha256)

        def install(prefix: Path) -> Ready:
            if archive is None:
                raise InstallFailed(f"the archive of {artifact.file} is not here")
            extract_python(archive, prefix / "python")
            python = prefix / "python" / "bin" / "python3"
            found = self._uv.inspect(python)
            if found is None or found.version != artifact.version:
                raise InstallFailed(f"{artifact.file} does not run here: it was to be Python {artifact.version}",
                                    hint="it may be for another platform, or need a newer C library", code="python_does_not_run")  # fmt: skip
            added_bytes = seal(prefix).size_bytes + archive.stat().st_size
            return Ready(key=key, python=str(python), facts={"python": artifact.version, "added_bytes": added_bytes})

        ready, _ = self._cache.ensure(key, install, listener)
        return Interpreter(Path(ready.python), artifact.version, requires=(key[:32],))

    def find(self, artifact: Artifact) -> Interpreter | None:
        """Return the interpreter if it is here already, contacting and unpacking nothing."""
        if artifact.source == HOST:
            return self.find_host(artifact.version)
        ready = self._cache.find(standalone_key(artifact.sha256))
        return (
            Interpreter(Path(ready.python), artifact.version, requires=(standalone_key(artifact.sha256)[:32],))
            if ready
            else None
        )

    def host(self, version: str) -> Interpreter:
        """Return the machine's own CPython of exactly this version.

        Raises:   InstallFailed: it has none; names what it has.
        """
        found = self.find_host(version)
        if found is None:
            other = self._uv.find_python()
            has = f"this machine has {other.version}" if other else "this machine has no Python"
            raise InstallFailed(f"the lock is not portable: it wants the machine's Python {version}, but {has}",
                                hint=f"install Python {version}, or solve anew here: `wardian env upgrade NAME`", code="python_missing")  # fmt: skip
        return found

    def find_host(self, version: str) -> Interpreter | None:
        """Return the machine's own CPython of exactly this version, or None. Quick where it was found before."""
        known = self._remembered()
        entry = known.get(version)
        if entry and (fingerprint := _fingerprint(Path(entry["path"]))) == entry["fingerprint"]:
            return Interpreter(Path(entry["path"]), version, {"path": entry["path"], "sha256": entry["sha256"]})
        found = self._uv.find_python(f"=={version}")
        if found is None or found.version != version:
            return None
        fingerprint = _fingerprint(found.path)
        sha256 = Digest.of_file(found.path)
        known[version] = {"path": str(found.path), "fingerprint": fingerprint, "sha256": str(sha256)}
        write_atomically(self._memory, json.dumps(known, indent=1).encode())
        return Interpreter(found.path, version, {"path": str(found.path), "sha256": str(sha256)})

    def _remembered(self) -> dict[str, Any]:
        try:
            document = json.loads(read_small(self._memory))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}


def standalone_key(sha256: Digest) -> Digest:
    """Return the prefix key of an unpacked standalone build."""
    return Digest.of_document({"scheme": SCHEME, "python": sha256})


def _fingerprint(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ino}:{found.st_dev}"
