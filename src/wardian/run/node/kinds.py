"""Of what kind each value in a sheet, a status and an end is: they come from elsewhere, and what is not as it must be is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput
from wardian.run.file_names import from_document

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT, TEXTS, TABLE = "text", "a list of texts", "an object: NAME → text"
NUMBER, WHOLE, FLAG, OBJECT = "a number", "a whole number", "true or false", "an object"
OR_NONE = ", or null"


def read_document(text: bytes, kinds: Mapping[str, str], newest_schema: int, what: str, code: str) -> dict[str, Any]:
    """Return the values of a JSON object, its schema left out, each of the kind that ``kinds`` says.

    Args:     what: the document for people (``sheet``).  code: of the error.
    Raises:   InvalidInput: no such object, one of a newer schema, a value of another kind, or one that is not known.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"this is no {what}: it is no JSON", code=code) from error
    if not isinstance(document, dict):
        raise InvalidInput(f"this is no {what}: it is no JSON object", code=code)
    schema = document.pop("schema", None)
    if not _is(schema, WHOLE):
        raise InvalidInput(f"this is no {what}: it has no `schema`", code=code)
    if schema > newest_schema:
        raise InvalidInput(f"the {what} has schema {schema}, this Wardian reads up to {newest_schema}", code=code,
                           hint="the submitter's Wardian and the node's must be of one version")  # fmt: skip
    values: dict[str, Any] = from_document(document)
    for name, value in values.items():
        kind = kinds.get(name)
        if kind is None:
            raise InvalidInput(f"`{name[:80]}` of the {what} is not known", code=code)
        if not _is(value, kind):
            raise InvalidInput(f"`{name}` of the {what} is `{str(value)[:80]}`: it must be {kind}", code=code)
    return values


def _is(value: Any, kind: str) -> bool:
    if kind.endswith(OR_NONE):
        return value is None or _is(value, kind.removesuffix(OR_NONE))
    if kind == TEXT:
        return isinstance(value, str)
    if kind == TEXTS:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind == TABLE:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    if kind == FLAG:
        return isinstance(value, bool)
    if kind == OBJECT:
        return isinstance(value, dict)
    number = isinstance(value, int | float if kind == NUMBER else int) and not isinstance(value, bool)
    return number and abs(value) < 1 << 62
