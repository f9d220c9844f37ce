"""requirements.txt: read as pip reads it, and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection
from wardian.formats.edit_requirements import add, remove
from wardian.formats.faults import Faults
from wardian.formats.losses import check_same, refuse_losses
from wardian.formats.pip_lines import BLOCK_END, BLOCK_START
from wardian.formats.pip_reading import PipReading
from wardian.formats.read_definition import ReadDefinition
from wardian.formats.source_text import plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource

__all__ = ["FORMAT", "add", "read", "remove", "write"]

FORMAT = "requirements"


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ReadDefinition:
    """Return the uv environment that a requirements file states.

    The same lines are requirements, options and comments as for pip. ``-r`` and ``-c`` files enter by content, relative to
    the file that names them; ``${VARIABLE}`` stays as written. What pip would drop without a word is a fault or a warning.

    Args:     text: the file's text.  file: its name for people.
              base: its directory; None for a text that was kept, whose local code is then in ``local``.
    Raises:   InvalidDefinition: every fault of the file and of those that it includes, with its line.
    Source:   pip's requirements file format; semantics §1
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "a requirements file")
    reading = PipReading(faults, base, local)
    text = plain_text(text)
    flat = reading.read_text(text, file)
    faults.raise_if_any()
    section = PythonSection(
        manager="uv", pip=tuple(reading.pip), pip_options=tuple(reading.options), constraints=tuple(reading.constraints),
        local=reading.local.sources,
    )  # fmt: skip
    with faults.wrap():
        environment = Environment(python=section)
    faults.raise_if_any()
    alone = not reading.includes and not section.local
    text = flat if reading.includes else text
    return ReadDefinition(environment, FORMAT, text, reading.local.places, alone, faults.warnings, places=reading.places)


def write(env: Environment) -> str:
    """Return ``env`` as a requirements file that reads back as an environment of the same content.

    Constraints, which pip's format keeps in files of their own, stand in a block of comments: pip skips it.

    Raises:   InvalidInput: ``env`` holds what such a file cannot say; code ``not_expressible``.
    """
    refuse_losses(env, "a requirements file", keeps={"pip", "pip_options", "constraints", "local"})
    python = env.python
    lines = [*python.pip_options]
    if python.constraints:
        lines += [BLOCK_START, *(f"# {constraint}" for constraint in python.constraints), BLOCK_END]
    text = "".join(f"{line}\n" for line in (*lines, *python.pip))
    check_same(
        env, lambda: read(text, file="requirements.txt", base=None, local=python.local).environment, "a requirements file"
    )
    return text
