"""An installed prefix, and the key by which it is found: nothing that installs is needed to find one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.prefix.cache import SCHEME

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.prefix.cache import Ready


@dataclass(frozen=True, slots=True)
class Prefix:
    """An installed environment on this machine.

    Attributes:
        path: where it lies; read-only.
        key: what is installed in it, and how: its name in the cache.
        ready: what its mark says: the interpreter, variables, the other prefixes that it needs.
        cached: whether it was here already.
    """

    path: Path
    key: Digest
    ready: Ready
    cached: bool

    @property
    def python(self) -> str:
        """The interpreter's path."""
        return self.ready.python


def prefix_key(install_digest: Digest, interpreter_identity: dict[str, str] | None, *, copied: bool = False) -> Digest:
    """Return the cache key of a prefix: what is installed, how, and on which interpreter where the lock does not pin it.

    Args:     copied: no file of it is a link to a cache: another prefix than the linked one, which would not be safe there.
    """
    document: dict[str, object] = {"scheme": SCHEME, "install": install_digest}
    if interpreter_identity:
        document["interpreter"] = interpreter_identity
    if copied:
        document["files"] = "copied"
    return Digest.of_document(document)
