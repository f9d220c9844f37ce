"""The table in a request to a model that needs no code.

It is what MLflow's scoring server takes (``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``), what Azure's
takes (``input_data``, ``data``), ``{"columns", "data"}``, a list of rows, or CSV.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from .inputs import Refused, Request, is_json, json_of, text_of

_METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "score_samples")
_KEYS = ("dataframe_split", "dataframe_records", "instances", "inputs", "input_data", "data")
_OTHERS = {"method", "params", "signature_name", "columns", "index"}


class PredictInput:
    """The table of a request, and how the model is asked about it."""

    name = "predict"

    def __call__(self, request: Request) -> dict[str, Any]:
        """Return the arguments of ``run()``."""
        if request.method == "OPTIONS":
            raise Refused(200, "")
        if request.method != "POST":
            raise Refused(405, "Method not allowed")
        asked = request.arguments().get("method", "predict") if request.query else "predict"
        if request.mimetype == "text/csv":
            return {"data": _from_csv(text_of(request.body)), "method": asked, "params": None}
        if request.mimetype and not is_json(request.mimetype):
            raise Refused(415, "Expects Content-Type to be application/json or text/csv")
        return self.pick(json_of(request.body), asked)

    def pick(self, value: Any, method: Any = "predict") -> dict[str, Any]:
        """Return the arguments out of a body that is JSON."""
        if isinstance(value, list):
            return {"data": {"instances": value}, "method": method, "params": None}
        if not isinstance(value, dict):
            raise Refused(400, "The body should be a JSON object or a list of rows.")
        found = [key for key in _KEYS if key in value]
        if len(found) != 1:
            raise Refused(400, f"The body should have exactly one of {', '.join(_KEYS)}; it has {', '.join(found) or 'none'}.")
        unknown = [key for key in value if key not in _OTHERS and key not in found]
        if unknown:
            raise Refused(400, f"The body has {unknown[0][:100]!r}, which means nothing here.")
        method = value.get("method", method)
        if method not in _METHODS:
            raise Refused(400, f"The method should be one of {', '.join(_METHODS)}.")
        table = _table(found[0], value)
        return {"data": table, "method": method, "params": value.get("params")}


def _table(key: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return {"instances"}, {"inputs"}, {"dataframe_split"} or {"dataframe_records"}, whatever the client called it."""
    content = value[key]
    if key == "data" and "columns" in value:
        key, content = "dataframe_split", {name: value[name] for name in ("columns", "index", "data") if name in value}
    elif key == "input_data":
        key = "dataframe_split" if isinstance(content, dict) and "columns" in content else "instances"
    elif key == "data":
        key = "instances"
    if key == "dataframe_split":
        right = (
            isinstance(content, dict)
            and isinstance(content.get("data"), list)
            and not set(content) - {"columns", "index", "data"}
        )
        if not right or not isinstance(content.get("columns", []), list):
            raise Refused(400, "dataframe_split should be an object with columns and data, and index if need be.")
    elif key == "dataframe_records" and not (isinstance(content, list) and all(isinstance(row, dict) for row in content)):
        raise Refused(400, "dataframe_records should be a list of objects.")
    return {key: content}


def _from_csv(text: str) -> dict[str, Any]:
    rows = list(csv.reader(io.StringIO(text)))
    if not rows:
        raise Refused(400, "The CSV is empty: a line of column names is expected.")
    if any(len(row) != len(rows[0]) for row in rows):
        raise Refused(400, "The lines of the CSV have different numbers of values.")
    return {"dataframe_split": {"columns": rows[0], "data": [[_number(cell) for cell in row] for row in rows[1:]]}}


def _number(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def table_schema(row: dict[str, Any], named: list[str]) -> dict[str, Any]:
    """Return the JSON schema of the bodies; ``row``: that of one row; ``named``: the columns, if they have names."""
    columns: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    if named:
        columns["example"] = named
    rows = {"type": "array", "items": row}
    split = {"type": "object", "properties": {"columns": columns, "data": rows}, "required": ["data"]}
    return {"oneOf": [
        {"type": "object", "properties": {"instances": rows}, "required": ["instances"]},
        {"type": "object", "properties": {"dataframe_split": split}, "required": ["dataframe_split"]},
    ]}  # fmt: skip
