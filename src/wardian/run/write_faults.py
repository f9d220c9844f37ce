"""Notices in a run's output that it tried to write into its environment, which is read-only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_REFUSED = (b"Read-only file system", b"Permission denied")
_LINE_BYTES = 4096
_QUOTED = re.compile(rb"""['"]([^'"]+)['"]""")


class WriteFaults:
    """Looks through output as it passes, in constant memory, for a refused write below one of ``places``."""

    def __init__(self, places: Iterable[Path]) -> None:
        self._places = [str(place).encode(errors="surrogateescape") for place in places]
        self._tails: dict[int, bytes] = {}
        self.path = ""  # that was refused

    def look(self, stream: int, chunk: bytes) -> None:
        """Look at the next piece of output of ``stream``."""
        if self.path or not self._places:
            return
        text = self._tails.get(stream, b"") + chunk
        end = text.rfind(b"\n") + 1
        self._tails[stream] = text[max(end, len(text) - _LINE_BYTES) :]  # a line that may go on in the next piece
        self._look_at_lines(text[:end])

    def _look_at_lines(self, text: bytes) -> None:
        for words in _REFUSED:
            at = text.find(words)
            while at >= 0 and not self.path:
                end = text.find(b"\n", at)
                self._look_at_line(text[text.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(text)])
                at = text.find(words, at + 1)

    def _look_at_line(self, line: bytes) -> None:
        for place in self._places:
            at = line.find(place)
            if at >= 0:
                quoted = next((m.group(1) for m in _QUOTED.finditer(line) if m.start() < at < m.end()), None)
                self.path = (quoted or line[at:].split(b" ")[0].rstrip(b":")).decode(errors="replace")
                return

    @property
    def note(self) -> str:
        """What to tell the user after the last piece; empty: nothing was seen."""
        for stream in list(self._tails):
            self._look_at_lines(self._tails.pop(stream))
        if not self.path:
            return ""
        return (
            f"the environment is read-only, and the run tried to write to {self.path}: write to outputs/ (WARDIAN_OUTPUT_DIR)"
            " instead; a missing package belongs into the environment's definition, or into `--with PKG`"
        )
