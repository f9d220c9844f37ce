"""Two environments compared: what was asked for, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wardian.definition.difference import Difference
    from wardian.lock.difference import LockDifference
    from wardian.lock.lock import Lock
    from wardian.workspace.version import EnvironmentVersion


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two environments compared: what was asked for, and what it came to, where both are locked."""

    left: str
    right: str
    definition: Difference
    packages: LockDifference | None
    same_hash: bool
    hash_because: tuple[str, ...]
    platform: str

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "left": self.left, "right": self.right, "same_hash": self.same_hash, "hash_differs_in": list(self.hash_because),
            "definition": self.definition.as_document(), "platform": self.platform,
            "packages": self.packages.as_document() if self.packages is not None else None,
        }  # fmt: skip


def compare(left: EnvironmentVersion, right: EnvironmentVersion, left_lock: Lock | None, right_lock: Lock | None) -> Comparison:
    """Return how two versions differ: definitions, why their hashes differ, and packages where both are locked."""
    from wardian.definition.difference import difference
    from wardian.definition.identity import hashed_fields
    from wardian.definition.platform import this_platform
    from wardian.lock import difference as locks

    ours, theirs = hashed_fields(left.environment), hashed_fields(right.environment)
    because = tuple(key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key))
    packages = locks.difference(left_lock, right_lock) if left_lock and right_lock else None
    return Comparison(str(left), str(right), difference(left.environment, right.environment), packages,
                      left.definition_hash == right.definition_hash, because, this_platform().name)  # fmt: skip
