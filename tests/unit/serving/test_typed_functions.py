"""Functions with type hints: what they take, what is refused, and the schemas that OpenAPI shows."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

from wardian.serving.server.wardian_server.inputs import Refused, Request
from wardian.serving.server.wardian_server.typed import TypedInput, hints_of, schemas_of

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Flower:
    petals: list[float]
    kind: Literal["iris", "rose"] = "iris"
    tags: dict[str, int] = field(default_factory=dict)


def several(rows: list[list[float]], scale: float = 1.0, note: str | None = None) -> list[float]:
    raise NotImplementedError


def one(flower: Flower) -> bool:
    raise NotImplementedError


several.__globals__["Flower"] = Flower


def ask(function: Callable[..., Any], body: bytes) -> dict[str, Any]:
    parameters = list(inspect.signature(function).parameters.values())
    return TypedInput(parameters, hints_of(function))(Request("POST", "/score", [("content-type", "application/json")], body))


def test_values_by_name() -> None:
    assert ask(several, b'{"rows": [[1, 2.5]]}') == {"rows": [[1.0, 2.5]]}
    assert ask(several, b'{"rows": [], "scale": 2, "note": null}') == {"rows": [], "scale": 2.0, "note": None}


def test_object_and_the_whole_body() -> None:
    wanted = {"flower": Flower([1.0], "rose", {"a": 1})}
    assert ask(one, b'{"petals": [1], "kind": "rose", "tags": {"a": 1}}') == wanted
    assert ask(one, b'{"flower": {"petals": [1], "kind": "rose", "tags": {"a": 1}}}') == wanted


@pytest.mark.parametrize(
    ("function", "body", "told"),
    [
        (several, b"[1]", "The body should be a JSON object with rows, scale, note."),
        (several, b"{}", "A value is not provided for the 'rows' parameter."),
        (several, b'{"rows": [], "scael": 1}', "There is no parameter 'scael'; there are rows, scale, note."),
        (several, b'{"rows": [[1, "2"]]}', "rows[0][1]: a number is expected"),
        (several, b'{"rows": [[true]]}', "rows[0][0]: a number is expected"),
        (several, b'{"rows": {}}', "rows: a list is expected"),
        (several, b'{"rows": [], "note": 1}', "note: text is expected; or note: null is expected"),
        (one, b'{"kind": "rose"}', "flower.petals is missing"),
        (one, b'{"petals": [], "colour": "red"}', "flower: there is no 'colour'"),
        (one, b'{"petals": [], "kind": "oak"}', "flower.kind: one of 'iris', 'rose' is expected"),
        (one, b"3", "flower: an object is expected"),
        (one, b"{", "POST body could not be decoded as JSON"),
    ],
)
def test_refused_values(function: Callable[..., Any], body: bytes, told: str) -> None:
    with pytest.raises(Refused) as refused:
        ask(function, body)
    assert (refused.value.status, told in refused.value.message) == (400, True), refused.value.message


def test_schemas() -> None:
    given, returned = schemas_of(several, by_name=True)
    rows = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    note = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert given == {
        "type": "object", "properties": {"rows": rows, "scale": {"type": "number"}, "note": note}, "required": ["rows"],
    }  # fmt: skip
    assert returned == {"type": "array", "items": {"type": "number"}}
    flower = schemas_of(one, by_name=True)[0]["properties"]["flower"]
    assert (flower["title"], flower["required"]) == ("Flower", ["petals"])
    assert flower["properties"]["kind"] == {"enum": ["iris", "rose"]}
