"""What is wrong with one file: collected while it is read, raised all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import Fault, InvalidDefinition, WardianError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType


MOST_FAULTS = 100


class Faults:
    """The faults and warnings of one reading. ``file`` is the name that people see; included files share the collector.

    Faults come out in the order of the file: by line within a file, files in the order in which they were first named.
    ``prefix`` says where in the file the part stands that is read: it is put before fields of the file.
    """

    def __init__(self, file: str, *, prefix: str = "") -> None:
        self.file, self.prefix = file, prefix
        self._found: list[Fault] = []
        self._warnings: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def found(self) -> tuple[Fault, ...]:
        """The faults so far, in the order of the file."""
        return _in_order(self._found)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """The warnings so far, in the order of the file."""
        return _in_order(self._warnings)

    def add(
        self,
        code: str,
        message: str,
        *,
        line: int | None = None,
        field: str = "",
        hint: str | None = None,
        file: str | None = None,
    ) -> None:
        """Note a fault. ``line`` counts from 1; ``file`` is given for an included file.

        Raises:   InvalidDefinition: there are so many that nobody would read more; reading on would only take time.
        """
        self._found.append(self._fault(code, message, line, field, hint, file))
        if len(self._found) >= MOST_FAULTS:
            raise InvalidDefinition(self.found, hint=f"these are the first {MOST_FAULTS}: is this the file you mean?")

    def refuse_extras(self, extras: Sequence[str], groups: Sequence[str], what: str) -> None:
        """Note that a format has no extras and groups, if any are asked for. ``what``: the format for people."""
        if extras or groups:
            self.add(
                "no_extras_here", f"{what} has no extras or groups", hint="name them only for a pyproject.toml or a uv.lock"
            )

    def warn(
        self,
        code: str,
        message: str,
        *,
        line: int | None = None,
        field: str = "",
        hint: str | None = None,
        file: str | None = None,
    ) -> None:
        """Note something that is worth a line but does not stop the reading."""
        self._warnings.append(self._fault(code, message, line, field, hint, file))

    def take(self, other: Faults) -> None:
        """Note the faults and warnings of another reading, as they are."""
        self._found += other.found
        self._warnings += other.warnings

    def _fault(self, code: str, message: str, line: int | None, field: str, hint: str | None, file: str | None) -> Fault:
        place = self.file if file is None else file
        return Fault(code, message, place, line, self.path_in(place, field), hint)

    def path_in(self, file: str, field: str) -> str:
        """Return the whole path of ``field``: in this file it begins with the prefix."""
        if file != self.file or not self.prefix or field.startswith(self.prefix):
            return field
        return f"{self.prefix}{field}" if field else self.prefix.rstrip(".")

    def wrap(
        self,
        line: int | None = None,
        field: str = "",
        *,
        file: str | None = None,
        places: Mapping[str, tuple[int | None, str]] | None = None,
    ) -> _Wrap:
        """Note any deliberate error raised in the ``with`` block as a fault of this place, and go on after the block.

        Args:     line: where, from 1; None where unknown.  field: path of the value; empty keeps a fault's own.
                  places: field path of a value → (line, field path in the file), for faults of an `Environment` that
                  was put together from many places.
        """
        return _Wrap(self, line, field, file, places or {})

    def raise_if_any(self) -> None:
        """Raise every fault in one error, if there is one.

        Raises:   InvalidDefinition: at least one fault was noted.
        """
        if self._found:
            raise InvalidDefinition(self.found)


class _Wrap:
    """Turns an error that leaves the block into faults of one place. A class, so that type checkers know it swallows."""

    def __init__(
        self, faults: Faults, line: int | None, field: str, file: str | None, places: Mapping[str, tuple[int | None, str]]
    ) -> None:
        self._faults, self._line, self._field, self._file, self._places = faults, line, field, file, places

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> bool:
        if isinstance(error, InvalidDefinition):
            for fault in error.faults:
                if fault.line is not None and fault.file:  # a place of its own, in an included file say
                    self._faults.add(
                        fault.code, fault.message, line=fault.line, field=fault.field, hint=fault.hint, file=fault.file
                    )
                    continue
                line, field = self._places.get(fault.field, (self._line, self._field or fault.field))
                self._faults.add(fault.code, fault.message, line=line, field=field, hint=fault.hint, file=self._file)
        elif isinstance(error, WardianError):
            self._faults.add(
                error.stable_code, error.message, line=self._line, field=self._field, hint=error.hint, file=self._file
            )
        return isinstance(error, WardianError)


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    files = {file: rank for rank, file in reversed(list(enumerate(f.file for f in faults)))}
    return tuple(sorted(faults, key=lambda f: (files[f.file], f.line or 0)))
