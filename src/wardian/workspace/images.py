"""Which base image a version is pinned to, and which images it has had, per platform."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.workspace.clock import moment_text, utc_now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from datetime import datetime

    from wardian.workspace.database import Database


@dataclass(frozen=True, slots=True)
class BasePin:
    """The base image of a version on a platform, for ever.

    Attributes:
        reference: as it was written.  digest: of the manifest for this platform; None: ``scratch``.
        store: where it was found.
    """

    reference: str
    digest: Digest | None
    store: str
    pinned: str


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image that a version has had.

    Attributes:
        digest: of its manifest.  config: of its configuration: what container engines know it by.
        store: the repository that has it.  origin: ``built`` | ``workspace registry`` | ``global registry`` | ``given``.
        scheme: how it was asked for.
    """

    platform: str
    key: Digest
    digest: Digest
    config: Digest
    store: str
    origin: str
    scheme: str
    size_bytes: int
    known: str


class Images:
    """Records of images in a workspace. Safe across processes: every change is one transaction.

    Source:   semantics §3, §5
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    def find_base(self, version_id: int, platform: str) -> BasePin | None:
        """Return the base image that a version is pinned to, or None."""
        row = self._database.row("SELECT * FROM base_pins WHERE version_id = ? AND platform = ?", version_id, platform)
        if row is None:
            return None
        return BasePin(
            row["reference"], Digest(row["base_digest"]) if row["base_digest"] else None, row["store"], row["pinned"]
        )

    def pin_base(self, version_id: int, platform: str, reference: str, digest: Digest | None, store: str) -> BasePin:
        """Pin a version to a base image unless it is pinned already; return the pin that holds."""
        with self._database.write():
            self._database.execute(
                "INSERT OR IGNORE INTO base_pins VALUES (?, ?, ?, ?, ?, ?)",
                version_id, platform, _plain(reference), digest or "", store, moment_text(self._now()),
            )  # fmt: skip
        found = self.find_base(version_id, platform)
        if found is None:
            raise AssertionError
        return found

    def copy_bases(self, from_version_id: int, to_version_id: int) -> None:
        """Pin a copy to the bases of its original, on each platform where the copy has none yet."""
        with self._database.write():
            self._database.execute(
                "INSERT OR IGNORE INTO base_pins SELECT ?, platform, reference, base_digest, store, ? FROM base_pins WHERE version_id = ?",
                to_version_id, moment_text(self._now()), from_version_id,
            )  # fmt: skip

    def find(self, version_id: int, platform: str, scheme: str, store: str) -> KnownImage | None:
        """Return the image that a version has had in ``store``, asked for with this scheme, or None."""
        row = self._database.row(
            "SELECT * FROM images WHERE version_id = ? AND platform = ? AND scheme = ? AND store = ?",
            version_id,
            platform,
            scheme,
            store,
        )
        return _image(row) if row is not None else None

    def list(self, version_id: int) -> list[KnownImage]:
        """Return every image that a version has had, the newest first."""
        rows = self._database.rows("SELECT * FROM images WHERE version_id = ? ORDER BY known DESC, platform", version_id)
        return [_image(row) for row in rows]

    def roots(self) -> set[Digest]:
        """Return the manifests of every image that any version has had or a model was trained in, and of bases: a clean-up leaves them alone."""
        rows = self._database.rows(
            "SELECT manifest_digest FROM images UNION SELECT base_digest FROM base_pins WHERE base_digest != ''"
            " UNION SELECT image_digest FROM models WHERE image_digest IS NOT NULL"
        )
        return {Digest(row[0]) for row in rows}

    def put(self, version_id: int, image: KnownImage) -> None:
        """Record that a version has this image. Idempotent."""
        with self._database.write():
            self._database.execute(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                version_id, image.platform, image.key, image.digest, image.config, image.store, image.origin, image.scheme, image.size_bytes,
                moment_text(self._now()),
            )  # fmt: skip

    def forget(self, version_id: int, platform: str, scheme: str, store: str) -> None:
        """Forget an image that is not in its store any more."""
        with self._database.write():
            self._database.execute(
                "DELETE FROM images WHERE version_id = ? AND platform = ? AND scheme = ? AND store = ?",
                version_id,
                platform,
                scheme,
                store,
            )


def _plain(text: str) -> str:
    """Return a reference whose path may hold bytes that this locale does not know, as UTF-8 has it."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _image(row: sqlite3.Row) -> KnownImage:
    return KnownImage(row["platform"], Digest(row["image_key"]), Digest(row["manifest_digest"]), Digest(row["config_digest"]), row["store"], row["origin"], row["scheme"],
                      row["size_bytes"], row["known"])  # fmt: skip
