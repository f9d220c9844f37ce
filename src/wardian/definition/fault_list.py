"""The faults of a definition, gathered while its sections are checked: all of them are told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import Fault, WardianError

if TYPE_CHECKING:
    from collections.abc import Callable


class FaultList:
    """Each fault with its field path."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, code: str, field_path: str, message: str, hint: str | None = None) -> None:
        """Note a fault."""
        self.found.append(Fault(code=code, message=message, field=field_path, hint=hint))

    def checked(self, field_path: str, parse: Callable[[str], object], text: str) -> str:
        """Return what ``parse`` makes of ``text``, or ``text`` with the error noted as a fault of ``field_path``."""
        try:
            return str(parse(text))
        except WardianError as error:
            self.add(error.stable_code, field_path, error.message, error.hint)
            return text
