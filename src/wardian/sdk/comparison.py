"""Two environments compared: what was asked for, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wardian.definition.difference import Difference
    from wardian.definition.environment import Environment
    from wardian.lock.difference import LockDifference
    from wardian.lock.lock import Lock


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


def compare(
    left: Environment, right: Environment, names: tuple[str, str], locks: tuple[Lock | None, Lock | None]
) -> Comparison:
    """Return how two environments differ: definitions, why their hashes differ, and packages where both are locked."""
    from wardian.definition.difference import difference
    from wardian.definition.identity import hashed_fields
    from wardian.definition.platform import this_platform
    from wardian.lock.difference import difference as lock_difference

    ours, theirs = hashed_fields(left), hashed_fields(right)
    because = tuple(key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key))
    packages = lock_difference(locks[0], locks[1]) if locks[0] and locks[1] else None
    return Comparison(*names, difference(left, right), packages, not because, because, this_platform().name)
