"""How records write a moment."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return this moment. Everything that keeps records takes this as an argument."""
    return datetime.now(UTC)


def moment_text(moment: datetime) -> str:
    """Return ``moment`` (aware) in RFC 3339, UTC, to the microsecond: texts of one form sort as the times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
