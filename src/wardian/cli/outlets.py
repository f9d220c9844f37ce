"""Where the output of a program that Wardian runs goes on to, and what is said if it does not arrive."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from wardian.errors import WardianError

if TYPE_CHECKING:
    from typing import TextIO


class Outlet:
    """A stream of this process that a program's output is passed on to; not being able to is no harm to the program.

    ``lost`` says why not all of it was written; None: it was, or a reader went away (`| head`), which is no fault.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream.buffer
        self._is_open = True
        self.name = stream.name
        self.lost: OSError | None = None

    def fileno(self) -> int:
        """Return the descriptor that it writes to."""
        return self._stream.fileno()

    def write(self, chunk: bytes) -> None:
        """Pass on ``chunk``, as long as that can be done."""
        if self._is_open:
            try:
                self._stream.write(chunk)
                self._stream.flush()
            except OSError as error:
                self._is_open = False
                self.lost = None if isinstance(error, BrokenPipeError) else error
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # nothing more is said about it when Python ends

    def flush(self) -> None:
        """Do nothing: every write is at once."""


def outlets(*, as_json: bool) -> tuple[Outlet, Outlet]:
    """Return where a program's stdout and stderr go; with ``as_json`` both to stderr, as stdout is Wardian's then."""
    errors = Outlet(sys.stderr)
    return (errors if as_json else Outlet(sys.stdout)), errors


def check_written(run_id: str, exit_code: int, *taken: Outlet) -> None:
    """Check that all that a run wrote was passed on: it must not look like success if it was not.

    Raises:   WardianError: ``output_failed``. The exit code stays the script's own, unless that would be 0.
    """
    for outlet in taken:
        if outlet.lost is not None:
            raise WardianError(
                f"{outlet.name.strip('<>')} cannot be written to: {outlet.lost.strerror}",
                hint=f"nothing that run {run_id} wrote is lost: `wardian runs logs {run_id}`", code="output_failed",
                details={"run_id": run_id, **({"process_exit_code": exit_code} if exit_code else {})},
            )  # fmt: skip
