"""Tensors of the Open Inference Protocol, as JSON and as bytes (its binary extension), with numpy or without.

Source:   https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, and
          https://github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

from .inputs import Refused

_CODES = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_MAX_DIMENSIONS = 32


@dataclass(frozen=True)
class Tensor:
    """``values`` are flat, in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]

    @property
    def nested(self) -> Any:
        """The values as lists in lists."""
        return _nest(self.values, self.shape)

    def as_json(self) -> dict[str, Any]:
        """The tensor as a member of ``outputs``."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape), "data": self.values}

    def as_bytes(self) -> bytes:
        """The values in little-endian order."""
        if self.datatype == "BYTES":
            encoded = [one if isinstance(one, bytes) else str(one).encode() for one in self.values]
            return b"".join(struct.pack("<I", len(one)) + one for one in encoded)
        return struct.pack(f"<{len(self.values)}{_CODES[self.datatype]}", *self.values)


def from_request(said: Any, binary: memoryview) -> tuple[Tensor, int]:
    """Return one member of ``inputs`` and how many of the ``binary`` bytes are its own.

    Raises:   Refused: it is malformed
    """
    if not isinstance(said, dict) or not isinstance(said.get("name"), str):
        raise Refused(400, "Each input should be an object with a name.")
    name = said["name"]
    datatype, shape = said.get("datatype"), said.get("shape")
    if datatype != "BYTES" and datatype not in _CODES:
        raise Refused(400, f"The input {name[:100]!r} has no datatype that is known here.")
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise Refused(400, f"The input {name[:100]!r} has no shape: a list of sizes is expected.")
    count = math.prod(shape)
    parameters = said.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        values, used = _flat(said.get("data")), 0
    elif type(size) is int and 0 <= size <= len(binary):
        values, used = _from_bytes(name, datatype, count, binary[:size]), size
    else:
        raise Refused(400, f"The input {name[:100]!r} says more binary data than there are.")
    if len(values) != count:
        raise Refused(400, f"The input {name[:100]!r} has {len(values)} values, its shape says {count}.")
    _check(name, datatype, values)
    return Tensor(name, datatype, tuple(shape), values), used


def _from_bytes(name: str, datatype: str, count: int, data: memoryview) -> list[Any]:
    if datatype == "BYTES":
        values: list[Any] = []
        position = 0
        while position < len(data):
            (size,) = struct.unpack_from("<I", data, position) if len(data) - position >= 4 else (len(data),)  # noqa: PLR2004
            if len(data) - position - 4 < size:
                raise Refused(400, f"The input {name[:100]!r} ends within a text.")
            one = bytes(data[position + 4 : position + 4 + size])
            try:
                values.append(one.decode())
            except UnicodeDecodeError:
                values.append(one.decode("latin-1"))
            position += 4 + size
        return values
    if struct.calcsize(f"<{_CODES[datatype]}") * count != len(data):
        raise Refused(400, f"The input {name[:100]!r} has {len(data)} bytes, which its shape and datatype do not say.")
    return list(struct.unpack(f"<{count}{_CODES[datatype]}", data))


def _flat(data: list[Any] | None) -> list[Any]:
    if not isinstance(data, list):
        raise Refused(400, "Each input should have data, as a list.")
    while any(isinstance(one, list) for one in data):
        data = [inner for one in data for inner in (one if isinstance(one, list) else [one])]
    return data


def _check(name: str, datatype: str, values: list[Any]) -> None:
    if datatype == "BYTES":
        right = all(isinstance(one, str) for one in values)
    elif datatype == "BOOL":
        right = all(isinstance(one, bool) for one in values)
    elif datatype.startswith("FP"):
        right = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values)
    else:
        right = all(isinstance(one, int) and not isinstance(one, bool) for one in values)
    if not right:
        raise Refused(400, f"The input {name[:100]!r} has data that are not {datatype}.")


def from_result(name: str, value: Any) -> Tensor:
    """Return the tensor that ``value``, JSON out of ``run()``, stands for; what is no array becomes one text."""
    shape, values = _shape_of(value)
    if values is not None:
        kinds = {type(one) for one in values}
        if kinds == {bool}:
            return Tensor(name, "BOOL", shape, values)
        if kinds == {int} and all(-(2**63) <= one < 2**63 for one in values):
            return Tensor(name, "INT64", shape, values)
        if kinds <= {int, float} and kinds != {int}:
            return Tensor(name, "FP64", shape, [float(one) for one in values])
        if kinds <= {str}:
            return Tensor(name, "BYTES", shape, values)
    return Tensor(name, "BYTES", (1,), [json.dumps(value)])


def _shape_of(value: Any) -> tuple[tuple[int, ...], list[Any] | None]:
    """Return shape and flat values of lists in lists, or None for the values if the lists differ in length."""
    if not isinstance(value, list):
        return (1,), [value]
    if not any(isinstance(one, list) for one in value):
        return (len(value),), value
    inner = [_shape_of(one) if isinstance(one, list) else ((), None) for one in value]
    if any(values is None for _, values in inner) or len({shape for shape, _ in inner}) != 1:
        return (len(value),), None
    return (len(value), *inner[0][0]), [one for _, values in inner for one in values or ()]


def _nest(values: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return values[0] if values else None
    if len(shape) == 1:
        return values
    step = len(values) // shape[0] if shape[0] else 0
    return [_nest(values[n * step : (n + 1) * step], shape[1:]) for n in range(shape[0])]
