"""Inference requests of the Open Inference Protocol (v2): tensors to ``run()``, its result to tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

from . import tensors
from .answers import body_of, jsonable
from .inputs import NamedInput, Refused, TextInput, json_of
from .predict_input import PredictInput
from .tensors import Tensor  # noqa: TC001 - a field of a dataclass
from .typed import TypedInput

if TYPE_CHECKING:
    from .script import Script


@dataclass(frozen=True)
class Inference:
    """One request. ``wanted``: output → is it to be binary; none: all of them, as ``binary`` says."""

    id: str
    inputs: tuple[Tensor, ...]
    wanted: dict[str, bool]
    binary: bool


def parse(body: bytes, header_size: int | None) -> Inference:
    """Return the request in ``body``, whose first ``header_size`` bytes (None: all) are JSON.

    Raises:   Refused: it is malformed
    """
    if header_size is not None and not 0 <= header_size <= len(body):
        raise Refused(400, "Inference-Header-Content-Length is more than the body has.")
    said = json_of(body if header_size is None else body[:header_size])
    binary = memoryview(b"" if header_size is None else body)[header_size or 0 :]
    if not isinstance(said, dict) or not isinstance(said.get("inputs"), list):
        raise Refused(400, "The body should be a JSON object with inputs.")
    found = []
    for one in said["inputs"]:
        tensor, used = tensors.from_request(one, binary)
        binary = binary[used:]
        found.append(tensor)
    if len(binary):
        raise Refused(400, f"{len(binary)} bytes of the body belong to no input.")
    if len({tensor.name for tensor in found}) != len(found):
        raise Refused(400, "Two inputs have the same name.")
    default = _parameter(said, "binary_data_output") is True
    outputs = said.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in outputs):
        raise Refused(400, "outputs should be a list of objects with names.")
    wanted = {}
    for one in outputs:
        asked = _parameter(one, "binary_data")
        wanted[one["name"]] = default if asked is None else asked is True
    request_id = said.get("id", "")
    return Inference(request_id if isinstance(request_id, str) else "", tuple(found), wanted, default)


def _parameter(of: dict[str, Any], name: str) -> Any:
    parameters = of.get("parameters")
    return parameters.get(name) if isinstance(parameters, dict) else None


def arguments(script: Script, request: Inference) -> dict[str, Any]:
    """Return what ``run()`` gets: its parameters by name, a table, or JSON text with ``data`` (the first) and ``inputs``.

    Raises:   Refused: the tensors do not fit
    """
    named = {tensor.name: tensor.nested for tensor in request.inputs}
    wanted = script.input
    if isinstance(wanted, (NamedInput, TypedInput)):
        return wanted.pick(named)
    if isinstance(wanted, PredictInput):
        return {"data": _table(request.inputs), "method": "predict", "params": None}
    if isinstance(wanted, TextInput):
        first = next(iter(named.values()), None)
        return {wanted.parameter: json.dumps({"data": first, "inputs": named})}
    raise Refused(400, "The script wants raw HTTP requests: the Open Inference Protocol cannot ask it.")


def _table(inputs: Sequence[Tensor]) -> dict[str, Any]:
    """One tensor is the rows; several are columns."""
    if len(inputs) != 1:
        return {"inputs": {tensor.name: tensor.values for tensor in inputs}}
    (tensor,) = inputs
    try:
        import numpy as np  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return {"instances": tensor.nested}
    kind = {"BYTES": object, "FP32": np.float32, "FP64": np.float64}.get(tensor.datatype)
    return {"array": np.asarray(tensor.values, dtype=kind).reshape(tensor.shape)}


def answer(request: Inference, result: Any, model: str, version: str) -> tuple[bytes, bytes]:
    """Return the header lines and the body for what ``run()`` returned.

    Raises:   BadAnswer: JSON cannot say it.  Refused: an output that is asked for is not there
    """
    value = json.loads(body_of(jsonable(result)))
    found = {tensor.name: tensor for tensor in _outputs(value)}
    missing = [name for name in request.wanted if name not in found]
    if missing:
        raise Refused(400, f"There is no output {missing[0][:100]!r}; there are {', '.join(found)}.")
    chosen = request.wanted or dict.fromkeys(found, request.binary)
    said, attached = [], []
    for name, binary in chosen.items():
        tensor = found[name]
        if binary:
            data = tensor.as_bytes()
            attached.append(data)
            about = {"name": name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
            said.append({**about, "parameters": {"binary_data_size": len(data)}})
        else:
            said.append(tensor.as_json())
    header = json.dumps({"model_name": model, "model_version": version, "id": request.id, "outputs": said}).encode()
    if not attached:
        return b"content-type: application/json\r\n", header
    lines = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % len(header)
    return lines, header + b"".join(attached)


def _outputs(value: Any) -> list[Tensor]:
    if isinstance(value, dict) and set(value) == {"predictions"}:
        return _columns(value["predictions"])
    if isinstance(value, dict) and value and all(isinstance(one, list) for one in value.values()):
        return [tensors.from_result(name, one) for name, one in value.items()]
    return [tensors.from_result("output", value)]


def _columns(predictions: Any) -> list[Tensor]:
    """Rows by name are one tensor for each column."""
    if isinstance(predictions, list) and predictions and all(isinstance(row, dict) for row in predictions):
        names = list(predictions[0])
        if all(list(row) == names for row in predictions):
            return [tensors.from_result(name, [row[name] for row in predictions]) for name in names]
    return [tensors.from_result("predict", predictions)]
