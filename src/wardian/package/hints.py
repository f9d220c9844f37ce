"""Where archives were last offered: hints that save a question to the index, never truths."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wardian.small_file import read_small
from wardian.tools.http import without_credentials

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.digest import Digest


class Hints:
    """URLs by digest, a file each; without credentials, so a URL that needs them is never stored whole."""

    def __init__(self, root: Path):
        self._root = root

    def put(self, sha256: Digest, url: str) -> None:
        """Remember ``url``; a disk that is full or read-only is no error."""
        if "<token>" in (bare := without_credentials(url)):
            return
        place = self._root / sha256[:2] / sha256
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(bare)

    def find(self, sha256: Digest) -> str | None:
        """Return the URL noted for this digest, or None."""
        try:
            return read_small(self._root / sha256[:2] / sha256).decode() or None
        except (OSError, UnicodeDecodeError):
            return None
