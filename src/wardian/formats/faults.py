"""What is wrong with one file: collected while it is read, raised all at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from wardian.errors import Fault, InvalidDefinition, WardianError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Faults:
    """The faults and warnings of one reading. ``file`` is the name that people see; included files share the collector.

    Faults come out in the order of the file: by line within a file, files in the order in which they were first named.
    """

    def __init__(self, file: str) -> None:
        self.file = file
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
        """Note a fault. ``line`` counts from 1; ``file`` is given for an included file."""
        self._found.append(Fault(code, message, self.file if file is None else file, line, field, hint))

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
        self._warnings.append(Fault(code, message, self.file if file is None else file, line, field, hint))

    @contextmanager
    def wrap(
        self,
        line: int | None = None,
        field: str = "",
        *,
        file: str | None = None,
        places: Mapping[str, tuple[int | None, str]] | None = None,
    ) -> Iterator[None]:
        """Note any deliberate error raised inside as a fault of this place, and go on after the block.

        Args:     line: where, from 1; None where unknown.  field: path of the value; empty keeps a fault's own.
                  places: field path of a value → (line, field path in the file), for faults of an `Environment` that
                  was put together from many places.
        """
        try:
            yield
        except InvalidDefinition as error:
            for fault in error.faults:
                at_line, at_field = (places or {}).get(fault.field, (line, field or fault.field))
                at_line = fault.line if fault.line is not None else at_line
                self.add(fault.code, fault.message, line=at_line, field=at_field, hint=fault.hint, file=fault.file or file)
        except WardianError as error:
            self.add(error.stable_code, error.message, line=line, field=field, hint=error.hint, file=file)

    def raise_if_any(self) -> None:
        """Raise every fault in one error, if there is one.

        Raises:   InvalidDefinition: at least one fault was noted.
        """
        if self._found:
            raise InvalidDefinition(self.found)


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    files = {file: rank for rank, file in reversed(list(enumerate(f.file for f in faults)))}
    return tuple(sorted(faults, key=lambda f: (files[f.file], f.line or 0)))
