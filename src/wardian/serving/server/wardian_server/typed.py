"""Type hints: what a function's parameters say about a request's values, as checks and as JSON schemas."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import Any, Callable, Literal, Sequence, Union

from .inputs import Refused, Request, is_json, json_of

_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_CALLED = {str: "text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
_UNION_TYPES = (Union, getattr(__import__("types"), "UnionType", Union))


class TypedInput:
    """The members of the body, a JSON object, by the names of the parameters, checked against their hints.

    A function with one parameter takes its value as the whole body too.
    """

    name = "typed"

    def __init__(self, parameters: Sequence[inspect.Parameter], hints: dict[str, Any]):
        self._parameters = {parameter.name: parameter for parameter in parameters}
        self._hints = hints

    def __call__(self, request: Request) -> dict[str, Any]:
        """Return the arguments of the function."""
        if request.method == "GET":
            return self.pick(request.arguments())
        if request.method == "OPTIONS":
            raise Refused(200, "")
        if request.method != "POST":
            raise Refused(405, "Method not allowed")
        if request.mimetype and not is_json(request.mimetype):
            raise Refused(415, "Expects Content-Type to be application/json")
        return self.pick(json_of(request.body))

    def pick(self, value: Any) -> dict[str, Any]:
        """Return the arguments out of ``value``, or refuse the request."""
        names = self._parameters
        if len(names) == 1 and not (isinstance(value, dict) and set(value) == set(names)):
            value = {next(iter(names)): value}
        if not isinstance(value, dict):
            raise Refused(400, f"The body should be a JSON object with {', '.join(names)}.")
        unknown = [name for name in value if name not in names]
        if unknown:
            raise Refused(400, f"There is no parameter {unknown[0][:100]!r}; there are {', '.join(names)}.")
        arguments = {}
        for name, parameter in names.items():
            if name in value:
                arguments[name] = convert(self._hints.get(name, Any), value[name], name)
            elif parameter.default is inspect.Parameter.empty:
                raise Refused(400, f"A value is not provided for the {name!r} parameter.")
        return arguments


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the hints of ``function`` by parameter, ``return`` among them; none if they cannot be resolved."""
    try:
        return typing.get_type_hints(function)
    except Exception:
        return {}


def convert(hint: Any, value: Any, place: str) -> Any:
    """Return ``value`` as ``hint`` wants it, or refuse the request; hints that are not known let pass everything."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in _CALLED:
        if type(value) is not hint:
            raise Refused(400, f"{place}: {_CALLED[hint]} is expected")
        return value
    if origin in _UNION_TYPES:
        return _any_of(arguments, value, place)
    if origin is Literal:
        if value not in arguments:
            raise Refused(400, f"{place}: one of {', '.join(map(repr, arguments))} is expected")
        return value
    if hint is list or origin in {list, typing.get_origin(Sequence[Any])}:
        if not isinstance(value, list):
            raise Refused(400, f"{place}: a list is expected")
        return [convert(arguments[0], one, f"{place}[{n}]") for n, one in enumerate(value)] if arguments else value
    if hint is dict or origin is dict:
        if not isinstance(value, dict):
            raise Refused(400, f"{place}: an object is expected")
        return {name: convert(arguments[1], one, f"{place}.{name}") for name, one in value.items()} if arguments else value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(hint, value, place)
    if callable(getattr(hint, "model_validate", None)):  # pydantic
        try:
            return hint.model_validate(value)
        except ValueError as error:
            raise Refused(400, f"{place}: {error}") from None
    return value


def _any_of(hints: tuple[Any, ...], value: Any, place: str) -> Any:
    told = []
    for hint in hints:
        try:
            return convert(hint, value, place)
        except Refused as refused:
            told.append(refused.message)
    raise Refused(400, "; or ".join(told))


def _object(kind: type[Any], value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise Refused(400, f"{place}: an object is expected")
    hints, fields = hints_of(kind), {field.name: field for field in dataclasses.fields(kind) if field.init}
    unknown = [name for name in value if name not in fields]
    if unknown:
        raise Refused(400, f"{place}: there is no {unknown[0][:100]!r}")
    for name, field in fields.items():
        if name not in value and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Refused(400, f"{place}.{name} is missing")
    return kind(**{name: convert(hints.get(name, Any), one, f"{place}.{name}") for name, one in value.items()})


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of ``hint``; an empty one (anything) where it is not known."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if origin in _UNION_TYPES:
        return {"anyOf": [schema_of(one) for one in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if hint is list or origin in {list, typing.get_origin(Sequence[Any])}:
        return {"type": "array", **({"items": schema_of(arguments[0])} if arguments else {})}
    if hint is dict or origin is dict:
        return {"type": "object", **({"additionalProperties": schema_of(arguments[1])} if arguments else {})}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints, fields = hints_of(hint), dataclasses.fields(hint)
        needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
        properties = {f.name: schema_of(hints.get(f.name, Any)) for f in fields}
        return {"type": "object", "title": hint.__name__, "properties": properties, "required": needed}
    if callable(getattr(hint, "model_json_schema", None)):  # pydantic
        return dict(hint.model_json_schema(ref_template="#/$defs/{model}"))
    return {}


def schemas_of(function: Callable[..., Any], *, by_name: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schemas of what ``function`` takes and returns. ``by_name``: it takes an object of its parameters."""
    hints = hints_of(function)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "request_headers"]
    if not by_name:
        return schema_of(hints.get(parameters[0].name, Any)) if parameters else {}, schema_of(hints.get("return", Any))
    properties = {p.name: schema_of(hints.get(p.name, Any)) for p in parameters}
    needed = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    return {"type": "object", "properties": properties, "required": needed}, schema_of(hints.get("return", Any))
