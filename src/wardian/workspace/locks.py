"""The locks of a workspace, which version is pinned to which, and which is the current one of a hash."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.definition.reference import SHORTEST_HASH
from wardian.digest import Digest, canonical_json
from wardian.errors import Conflict, InvalidReference, NotFound
from wardian.workspace.clock import moment_text, utc_now
from wardian.workspace.database import DamagedRecords

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from datetime import datetime

    from wardian.lock.lock import Lock
    from wardian.workspace.database import Database

_SHOWN = 10
_CHOSEN = """l.lock_digest, l.install_digest, l.platform, l.packages, l.python_version, l.python_source, l.python_sha256,
  coalesce(p.created, '') AS created, coalesce(p.as_of, '') AS as_of"""


@dataclass(frozen=True, slots=True)
class ChosenLock:
    """What a warm run needs of the lock that answers it, without reading the lock itself.

    Attributes:
        packages: how many artifacts it installs.
        python_version, python_source, python_sha256: of its interpreter; ``""`` where it has none.
        created, as_of: when it was solved, and as of which time; RFC 3339.
        origin: where the choice came from: ``solved``, ``current``, ``curated``, a registry …
        chosen: when; RFC 3339, UTC.
    """

    lock_digest: Digest
    install_digest: Digest
    platform: str
    packages: int
    python_version: str
    python_source: str
    python_sha256: str
    created: str
    as_of: str
    origin: str
    chosen: str


@dataclass(frozen=True, slots=True)
class CurrentLockMove:
    """The current lock of a hash was set (``from_lock`` None) or replaced."""

    from_lock: Digest | None
    to_lock: Digest
    origin: str
    author: str
    moved: str


class Locks:
    """Keeps locks by digest, for ever as they were. Safe across processes: every change is one transaction.

    Source:   semantics §3
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    # -- locks -------------------------------------------------------------------------------------------------------

    def put(self, lock: Lock) -> Digest:
        """Keep ``lock`` and return its digest. Idempotent; the first provenance of a definition stays."""
        document = lock.as_document()
        provenance = document.pop("provenance")
        python = lock.python
        with self._database.write():
            self._database.execute(
                "INSERT OR IGNORE INTO locks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                lock.digest, lock.install_digest, lock.platform, len(lock.artifacts), python.version if python else "",
                python.source if python else "", python.sha256 if python else "", zlib.compress(canonical_json(document)),
            )  # fmt: skip
            self._database.execute(
                "INSERT OR IGNORE INTO lock_provenances (lock_digest, definition_hash, created, as_of, document) VALUES (?, ?, ?, ?, ?)",
                lock.digest, lock.provenance.definition_hash, lock.provenance.created, lock.provenance.as_of,
                json.dumps(provenance, ensure_ascii=False),
            )  # fmt: skip
        return lock.digest

    def find(self, digest: str, *, definition_hash: str | None = None) -> Lock | None:
        """Return the lock; None: it is not here.

        Args:     definition_hash: whose answer it was: decides the provenance, where several definitions share the lock.
        Raises:   DamagedRecords: what is kept is not what the digest says.  UnreadableLock: a newer schema.
        """
        from wardian.lock.lock import Lock

        row = self._database.row("SELECT document FROM locks WHERE lock_digest = ?", digest)
        if row is None:
            return None
        query = "SELECT document FROM lock_provenances WHERE lock_digest = ?"
        provenance = self._database.row(f"{query} AND definition_hash = ?", digest, definition_hash or "")
        if provenance is None:  # the first definition that it was kept for
            provenance = self._database.rows(f"{query} ORDER BY id LIMIT 1", digest)[0]
        try:
            document = json.loads(zlib.decompress(row[0]))
        except (zlib.error, ValueError):
            raise self._damaged(digest) from None
        lock = Lock.from_document({**document, "provenance": json.loads(provenance[0])})
        if lock.digest != digest:
            raise self._damaged(digest)
        return lock

    def get(self, digest: str, *, definition_hash: str | None = None) -> Lock:
        """Return the lock.

        Raises:   NotFound: it is not here; else as ``find``.
        """
        found = self.find(digest, definition_hash=definition_hash)
        if found is None:
            raise NotFound(f"there is no lock `{digest[:12]}` in this workspace", code="lock_not_found")
        return found

    def find_prefix(self, digits: str) -> Digest | None:
        """Return the digest of the lock that begins with these hexadecimal digits, at least six; None: there is none.

        Raises:   Conflict: several do.  InvalidReference: too few digits.
        """
        prefix = digits.lower()
        if len(prefix) < SHORTEST_HASH or not all(c in "0123456789abcdef" for c in prefix):
            raise InvalidReference(
                f"`{digits[:80]}` is not the beginning of a digest", hint=f"at least {SHORTEST_HASH} hexadecimal digits"
            )
        rows = self._database.rows(
            "SELECT lock_digest FROM locks WHERE lock_digest >= ? AND lock_digest < ? ORDER BY lock_digest LIMIT ?",
            prefix,
            prefix + "g",
            _SHOWN,
        )
        if len(rows) > 1:
            shown = ", ".join(row[0][:12] for row in rows)
            raise Conflict(f"several locks begin with `{prefix}`: {shown}", hint="give more digits", code="ambiguous_hash")
        return Digest(rows[0][0]) if rows else None

    # -- pins: of a version, for ever --------------------------------------------------------------------------------

    def pin(self, version_id: int, platform: str, lock_digest: str, origin: str) -> ChosenLock:
        """Pin a version on one platform to a lock that is kept here, once and for ever. Idempotent.

        Raises:   Conflict: code ``pinned``: it is pinned to another lock.  NotFound: the lock is not here.
        """
        with self._database.write():
            self._check_kept(lock_digest, platform)
            known = self.find_pin(version_id, platform)
            if known is None:
                self._database.execute(
                    "INSERT INTO pins VALUES (?, ?, ?, ?, ?)",
                    version_id,
                    platform,
                    lock_digest,
                    origin,
                    moment_text(self._now()),
                )
            elif known.lock_digest != lock_digest:
                raise Conflict(f"the version is pinned to lock {known.lock_digest.short} on {platform}, for ever",
                               hint="`wardian env upgrade` adds a version with a new lock", code="pinned",
                               details={"lock_digest": known.lock_digest})  # fmt: skip
            return self._pins(version_id, platform)[0]

    def find_pin(self, version_id: int, platform: str) -> ChosenLock | None:
        """Return the lock that a version is pinned to on a platform; None: none yet. One read by key, nothing decoded."""
        found = self._pins(version_id, platform)
        return found[0] if found else None

    def pins(self, version_id: int) -> tuple[ChosenLock, ...]:
        """Return a version's pins, in the order of the platforms' names."""
        return self._pins(version_id, None)

    def copy_pins(self, from_version_id: int, to_version_id: int, origin: str) -> None:
        """Pin a copy to what its original is pinned to, on each platform where the copy has no pin yet."""
        with self._database.write():
            self._database.execute(
                "INSERT OR IGNORE INTO pins SELECT ?, platform, lock_digest, ?, ? FROM pins WHERE version_id = ?",
                to_version_id, origin, moment_text(self._now()), from_version_id,
            )  # fmt: skip

    # -- the current lock of a hash ----------------------------------------------------------------------------------

    def current(self, definition_hash: str, platform: str) -> ChosenLock | None:
        """Return the lock that a new version with this hash gets; None: it must be found or solved."""
        row = self._database.row(
            f"SELECT {_CHOSEN}, c.origin, c.chosen"  # noqa: S608 - constant columns
            " FROM current_locks c JOIN locks l ON l.lock_digest = c.lock_digest"
            " LEFT JOIN lock_provenances p ON p.lock_digest = c.lock_digest AND p.definition_hash = c.definition_hash"
            " WHERE c.definition_hash = ? AND c.platform = ?",
            definition_hash, platform,
        )  # fmt: skip
        return _chosen(row) if row else None

    def ensure_current(
        self, definition_hash: str, platform: str, lock_digest: str, origin: str, *, author: str = ""
    ) -> ChosenLock:
        """Return the current lock of the hash; where there is none yet, ``lock_digest`` becomes it.

        Of several processes that solve the same hash at once the first one wins, and the others adopt its lock.
        """
        with self._database.write():
            return self.current(definition_hash, platform) or self.set_current(
                definition_hash, platform, lock_digest, origin, author=author
            )

    def set_current(
        self, definition_hash: str, platform: str, lock_digest: str, origin: str, *, author: str = ""
    ) -> ChosenLock:
        """Make a lock the current one of a hash (``env rebuild``); pinned versions keep theirs. Noted in the history.

        Raises:   NotFound: the lock is not here.
        """
        with self._database.write():
            self._check_kept(lock_digest, platform)
            was = self.current(definition_hash, platform)
            if was is None or was.lock_digest != lock_digest:
                moment = moment_text(self._now())
                self._database.execute(
                    "INSERT OR REPLACE INTO current_locks VALUES (?, ?, ?, ?, ?)",
                    definition_hash,
                    platform,
                    lock_digest,
                    origin,
                    moment,
                )
                self._database.execute(
                    "INSERT INTO current_lock_moves (definition_hash, platform, from_lock, to_lock, origin, author, moved)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    definition_hash, platform, was and was.lock_digest, lock_digest, origin, author, moment,
                )  # fmt: skip
            found = self.current(definition_hash, platform)
            if found is None:  # pragma: no cover - it was just written
                raise self._damaged(lock_digest)
            return found

    def current_history(self, definition_hash: str, platform: str) -> tuple[CurrentLockMove, ...]:
        """Return which locks were current for a hash, the newest move first."""
        rows = self._database.rows(
            "SELECT from_lock, to_lock, origin, author, moved FROM current_lock_moves WHERE definition_hash = ? AND platform = ?"
            " ORDER BY id DESC",
            definition_hash, platform,
        )  # fmt: skip
        return tuple(CurrentLockMove(Digest(row[0]) if row[0] else None, Digest(row[1]), *row[2:]) for row in rows)

    def users_of_hash(self, definition_hash: str) -> tuple[str, ...]:
        """Return references to all versions that share a hash, in order of registration: whom a rebuild concerns."""
        rows = self._database.rows(
            "SELECT e.name, v.version FROM versions v LEFT JOIN environments e ON e.id = v.environment_id"
            " WHERE v.definition_hash = ? ORDER BY v.id",
            definition_hash,
        )
        return tuple(f"{row[0]}:{row[1]}" if row[0] is not None else f"@{definition_hash[:12]}" for row in rows)

    # -- in common ---------------------------------------------------------------------------------------------------

    def _pins(self, version_id: int, platform: str | None) -> tuple[ChosenLock, ...]:
        rows = self._database.rows(
            f"SELECT {_CHOSEN}, n.origin, n.pinned AS chosen"  # noqa: S608 - constant columns
            " FROM pins n JOIN versions v ON v.id = n.version_id JOIN locks l ON l.lock_digest = n.lock_digest"
            " LEFT JOIN lock_provenances p ON p.lock_digest = n.lock_digest AND p.definition_hash = v.definition_hash"
            f" WHERE n.version_id = ?{' AND n.platform = ?' if platform is not None else ''} ORDER BY n.platform",
            version_id, *([platform] if platform is not None else []),
        )  # fmt: skip
        return tuple(_chosen(row) for row in rows)

    def _check_kept(self, lock_digest: str, platform: str) -> None:
        row = self._database.row("SELECT platform FROM locks WHERE lock_digest = ?", lock_digest)
        if row is None:
            raise NotFound(f"there is no lock `{lock_digest[:12]}` in this workspace", code="lock_not_found")
        if row[0] != platform:
            raise Conflict(f"lock {lock_digest[:12]} is for {row[0]}, not for {platform}", code="wrong_platform")

    def _damaged(self, digest: str) -> DamagedRecords:
        return DamagedRecords(f"the lock {digest[:12]} in {self._database.path} is damaged: its content has another digest",
                              hint="restore the file from a backup")  # fmt: skip


def _chosen(row: sqlite3.Row) -> ChosenLock:
    values = dict(row)
    return ChosenLock(
        **{**values, "lock_digest": Digest(values["lock_digest"]), "install_digest": Digest(values["install_digest"])}
    )
