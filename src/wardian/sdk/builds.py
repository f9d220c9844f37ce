"""Builds: every solve, installation, image and push, watched, waited for, found again."""

from __future__ import annotations

import codecs
import contextlib
import time
from typing import TYPE_CHECKING

from wardian.errors import BuildFailed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.workspace.build_record import BuildRecord
    from wardian.workspace.page import Page

_SHORTEST_S, _LONGEST_S = 0.01, 0.5
_PIECE_BYTES = 1 << 20


class Build:
    """A build, as its workspace knows it. ``record`` is read anew by ``refresh``, ``status`` and ``wait``."""

    def __init__(self, collection: BuildCollection, record: BuildRecord):
        self._collection = collection
        self.record = record

    @property
    def id(self) -> str:
        """Its id; sorts by time."""
        return self.record.id

    def refresh(self) -> Build:
        """Read the record anew."""
        self.record = self._collection.get(self.id).record
        return self

    @property
    def status(self) -> str:
        """``running``, ``completed``, ``failed`` or ``canceled``, as of now."""
        return self.refresh().record.state

    def log(self) -> str:
        """Return its log so far: lines with a time each."""
        path = self._collection.log_path(self.id)
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def follow(self) -> Iterator[str]:
        """Yield its log as it grows, from the beginning, until it has ended."""
        position, pause_s = 0, _SHORTEST_S
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a piece may end within a character
        while True:
            active = self.refresh().record.is_active  # before reading: what is there when it has ended is all there will be
            while piece := _read(self._collection.log_path(self.id), position):
                position += len(piece)
                pause_s = _SHORTEST_S
                yield decoder.decode(piece)
            if not active:
                return
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_S)

    def wait(self, timeout_s: float | None = None) -> Build:
        """Wait until it has completed.

        Args:     timeout_s: seconds; None: as long as it takes.
        Raises:   BuildFailed: it failed or was canceled, with its own code, hint and exit code.  Unavailable: ``timeout_s`` passed.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = _SHORTEST_S
        while self.refresh().record.is_active:
            if deadline is not None and time.monotonic() >= deadline:
                raise Unavailable(f"build `{self.id}` has not ended within {timeout_s:g} s", code="timeout",
                                  hint=f"`wardian build logs -f {self.id}`")  # fmt: skip
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_S)
        if self.record.state != "completed":
            error = BuildFailed(
                f"build `{self.id}` of {self.record.subject} {self.record.state}: {self.record.reason}", code=self.record.code,
                hint=self.record.error.get("hint") or f"`wardian build logs {self.id}`", details={"build_id": self.id},
            )  # fmt: skip
            error.exit_code = int(self.record.error.get("exit_code", 1))  # type: ignore[misc]  # of the class in general, of this one here
            raise error
        return self

    def cancel(self) -> Build:
        """Ask it to stop; it does so at its next step."""
        self.record = self._collection.ask_cancel(self.id)
        return self

    def __repr__(self) -> str:
        return f"Build({self.id!r}, {self.record.kind} of {self.record.subject}, {self.record.state})"


class BuildCollection:
    """The builds of a workspace."""

    def __init__(self, parts: Parts):
        self._parts = parts

    def get(self, id_or_prefix: str) -> Build:
        """Return a build by its id, the beginning of it, or ``latest``.

        Raises:   NotFound.  Conflict: several begin so.
        """
        return Build(self, self._parts.builds.get(id_or_prefix))

    def list(
        self, *, limit: int = 50, after: str | None = None, state: str | None = None, kind: str | None = None, subject: str | None = None
    ) -> Page[Build]:  # fmt: skip
        """Return one page of builds, newest first."""
        from wardian.workspace.page import Page

        page = self._parts.builds.list(limit=limit, after=after, state=state, kind=kind, subject=subject)
        return Page([Build(self, record) for record in page], page.next)

    def ask_cancel(self, id_or_prefix: str) -> BuildRecord:
        """Ask a build to stop; return its record."""
        return self._parts.builds.ask_cancel(id_or_prefix)

    def log_path(self, build_id: str) -> Path:
        """Return where the log of a build lies."""
        return self._parts.builds.log_path(build_id)


def _read(path: Path, position: int) -> bytes:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
        stream.seek(position)
        return stream.read(_PIECE_BYTES)
    return b""
