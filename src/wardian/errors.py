"""Every error that Wardian raises on purpose, and the one place that maps them to exit codes.

The tree (indentation is inheritance; the number is the process's exit code)::

    WardianError                   1   a run or build failed
      InvalidInput                 2   the user's file, argument or value is wrong
        InvalidDefinition          2   one or more faults in a definition, each with file:line, field path and code
        InvalidDigest              2
        InvalidReference           2
        InvalidSetting             2
      NotFound                     4
      Conflict                     5   it exists already with other content, or needs ``--yes``
      Denied                       6
      Unavailable                  7   a network, an index, a lock held by somebody else: try again
        DiskFull                   7
      SolveFailed                  1   no set of packages satisfies the definition
      BuildFailed                  1   an sdist, a VCS checkout or local code could not be built
      BadArchive                   1   an artifact is not what the lock says, or is hostile
      InstallFailed                1
      RunFailed                    1
      Bug                          3   Wardian's own fault

Each error has a stable ``code`` (snake case, part of the public interface), a message that names the value and the
place, and a ``hint`` that names the next step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class WardianError(Exception):
    """Base of all deliberate errors.

    Args:
        message: what is wrong, naming the value and the place; one sentence, no full stop.
        hint: the next step, if there is one.
        code: overrides the class's stable code for a more precise one.
        details: further plain values for ``--json``.
    """

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, hint: str | None = None, code: str | None = None, details: dict[str, Any] | None = None
    ):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self._code = code
        self.details = details or {}

    @property
    def stable_code(self) -> str:
        """The code that scripts may rely on."""
        return self._code or type(self).code

    def as_document(self) -> dict[str, Any]:
        """Return the error as plain JSON values: ``code``, ``message``, ``hint`` and details."""
        document: dict[str, Any] = {"code": self.stable_code, "message": self.message}
        if self.hint:
            document["hint"] = self.hint
        return {**self.details, **document}


def wrong_in(error: Exception) -> str:
    """Return in words what is wrong with a document whose reader raised a plain ``error`` of Python."""
    if isinstance(error, KeyError):
        return f"`{error.args[0]}` is missing"
    if isinstance(error, ValueError) and (line := getattr(error, "lineno", None)) is not None:
        return f"line {line} is no JSON"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "a value in it is of another kind than it must be"


class InvalidInput(WardianError):
    """An argument, a value or a file of the user's is wrong."""

    code = "invalid_input"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in one place of a definition file.

    ``line`` counts from 1; None where a format has no lines (a value built in Python). ``field`` is a path such as
    ``dependencies[2].pip[0]``.
    """

    code: str
    message: str
    file: str = ""
    line: int | None = None
    field: str = ""
    hint: str | None = None

    def __str__(self) -> str:
        place = f"{self.file or '<definition>'}" + (f":{self.line}" if self.line is not None else "")
        field = f" {self.field}:" if self.field else ""
        return f"{place}:{field} {self.message} [{self.code}]"


class InvalidDefinition(InvalidInput):
    """A definition has one or more faults; all of them are in ``faults``, in the order of the file."""

    code = "invalid_definition"

    def __init__(self, faults: Sequence[Fault], *, hint: str | None = None):
        self.faults = tuple(faults)
        head = f"{len(self.faults)} faults in the definition" if len(self.faults) > 1 else "the definition has a fault"
        lines = [f"  {fault}" + (f"\n    hint: {fault.hint}" if fault.hint else "") for fault in self.faults]
        super().__init__("\n".join([f"{head}:", *lines]), hint=hint)
        self.details = {
            "faults": [
                {"code": f.code, "message": f.message, "file": f.file, "line": f.line, "field": f.field, "hint": f.hint}
                for f in self.faults
            ]
        }


class InvalidDigest(InvalidInput):
    """A string is not a sha256 digest."""

    code = "invalid_digest"

    def __init__(self, value: str):
        super().__init__(f"`{value[:100]}` is not a sha256 digest (64 hexadecimal digits)")


class InvalidReference(InvalidInput):
    """A reference is not NAME, NAME:VERSION, NAME@LABEL, @HASH, run:ID, model:NAME or endpoint:NAME."""

    code = "invalid_reference"


class InvalidSetting(InvalidInput):
    """A setting has a wrong value; the message names the setting and where it was read."""

    code = "invalid_setting"


class NotFound(WardianError):
    """The named thing does not exist."""

    code = "not_found"
    exit_code = 4


class Conflict(WardianError):
    """The named thing exists with other content, or the action needs consent."""

    code = "conflict"
    exit_code = 5


class Denied(WardianError):
    """Credentials are missing, or do not allow this."""

    code = "denied"
    exit_code = 6


class Unavailable(WardianError):
    """Something outside did not answer; trying again later may work."""

    code = "unavailable"
    exit_code = 7


class DiskFull(Unavailable):
    """There is not enough space at ``place``; ``details`` holds ``needed_bytes`` (None: unknown) and ``free_bytes``."""

    code = "disk_full"

    def __init__(self, place: str, *, needed_bytes: int | None, free_bytes: int):
        self.place = place
        needs = f"{needed_bytes:,} bytes are needed, " if needed_bytes is not None else ""
        super().__init__(
            f"the disk is full at {place}: {needs}{free_bytes:,} bytes are free",
            hint="free some space: `wardian gc --apply` removes caches that nothing uses; or point WARDIAN_CACHE at a larger disk",
            details={"needed_bytes": needed_bytes, "free_bytes": free_bytes},
        )


class SolveFailed(WardianError):
    """No set of packages satisfies the definition; the message is the short tree of who wants what."""

    code = "solve_failed"


class BuildFailed(WardianError):
    """Source code could not be built into a wheel."""

    code = "build_failed"


class BadArchive(WardianError):
    """An artifact is not the one that the lock names, or it would write outside its place."""

    code = "bad_archive"


class InstallFailed(WardianError):
    """A prefix could not be installed; nothing of it is left."""

    code = "install_failed"


class RunFailed(WardianError):
    """A run could not be started, or was waited for and did not complete."""

    code = "run_failed"


class Bug(WardianError):
    """A state that should be impossible: Wardian's own fault."""

    code = "bug"
    exit_code = 3
