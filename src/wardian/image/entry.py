"""What a layer is made of, before it is a tar archive."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

ENVIRONMENT = "opt/env"  # where an environment lies in an image, as tar writes it
ENVIRONMENT_PATH = f"/{ENVIRONMENT}"
OPAQUE = ".wh..wh..opq"  # in a directory: nothing that lower layers have in it is seen


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or symbolic link of a layer. Owner, times and modes beside "executable" are not kept: they are fixed.

    Attributes:
        path: in the image, relative to its root, with ``/``, normal (no ``.``, ``..``, empty or absolute parts).
        kind: ``file`` | ``directory`` | ``link``.
        size_bytes: of a file, exact.
        target: of a link, as it is written.
        open_content: opens a file's bytes; may be called more than once.
    """

    path: str
    kind: str = "file"
    size_bytes: int = 0
    executable: bool = False
    target: str = ""
    open_content: Callable[[], AbstractContextManager[IO[bytes]]] | None = None

    @classmethod
    def of_bytes(cls, path: str, content: bytes, *, executable: bool = False) -> Entry:
        """Return the file ``path`` with this content."""
        return cls(path, "file", len(content), executable, "", lambda: io.BytesIO(content))

    @classmethod
    def of_file(cls, path: str, source: Path, *, size_bytes: int, executable: bool) -> Entry:
        """Return the file ``path`` with what lies at ``source`` now."""
        return cls(path, "file", size_bytes, executable, "", lambda: source.open("rb"))
