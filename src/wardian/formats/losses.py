"""What a format cannot say: refused by name, never dropped."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection
from wardian.errors import InvalidDefinition, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from wardian.formats.azureml import Written

_HINT = "Wardian's own YAML holds everything"


def refuse_losses(env: Environment, what: str, *, keeps: AbstractSet[str], manager: str = "uv") -> None:
    """Raise if ``env`` is not an environment of ``manager`` that ``keeps`` hold whole: fields of its Python section, sections.

    Name, description and tags are no content of a definition and may be lost.

    Args:     what: the format for people, such as "a requirements file".
    Raises:   InvalidInput: code ``not_expressible``; the message names every field that would be lost.
    """
    lost = [] if env.python.manager == manager else [f"the manager {env.python.manager}"]
    plain = PythonSection(manager=env.python.manager)
    names = [field.name for field in fields(PythonSection) if field.name not in keeps | {"manager"}]
    lost += [f"python.{name}" for name in names if getattr(env.python, name) != getattr(plain, name)]
    empty = Environment()
    sections = [name for name in ("docker", "spark", "accelerators", "variables") if name not in keeps]
    lost += [name for name in sections if getattr(env, name) != getattr(empty, name)]
    if lost:
        raise InvalidInput(f"{what} cannot hold {', '.join(lost)}", hint=_HINT, code="not_expressible")


def refuse_ledger(written: Written, what: str) -> str:
    """Return the text of ``written`` if it stands alone and nothing is lost in it.

    Raises:   InvalidInput: code ``not_expressible``.
    """
    lost = [loss.field for loss in written.losses] + list(written.files or ()) + list(written.trees or ())
    if lost and not (written.is_directory and not written.losses):
        raise InvalidInput(f"{what} in one text cannot hold {', '.join(lost)}", hint=_HINT, code="not_expressible")
    return written.text


def check_same(env: Environment, read_back: Callable[[], Environment], what: str) -> None:
    """Raise if the environment that ``read_back`` returns has other content than ``env``: what was written says something else.

    Raises:   InvalidInput: code ``not_expressible``.
    """
    try:
        again = read_back()
    except InvalidDefinition as error:
        first = error.faults[0]
        raise InvalidInput(f"{what} cannot hold this: {first.message}", hint=_HINT, code="not_expressible") from error
    if again.content == env.content:
        return
    names = [f.name for f in fields(PythonSection) if getattr(again.python, f.name) != getattr(env.python, f.name)]
    raise InvalidInput(f"{what} cannot hold python.{', python.'.join(names)} as it is here", hint=_HINT, code="not_expressible")
