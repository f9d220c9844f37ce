"""An MLflow model directory: a model that needs no code."""

from __future__ import annotations

import os
from typing import Any

from .answers import jsonable
from .inputs import Refused
from .predict_input import table_schema
from .script import BadScript

_DATATYPES = {
    "boolean": "BOOL", "bool": "BOOL", "integer": "INT32", "int32": "INT32", "long": "INT64", "int64": "INT64", "float": "FP32",
    "float32": "FP32", "double": "FP64", "float64": "FP64", "string": "BYTES", "binary": "BYTES", "uint8": "UINT8",
}  # fmt: skip


class MLflowModel:
    """An MLflow model directory, through the ``mlflow`` of the environment."""

    platform = "mlflow"

    def __init__(self, place: str):
        inside = [os.path.join(place, name) for name in sorted(os.listdir(place))] if os.path.isdir(place) else []
        found = [one for one in [place, *inside] if os.path.isfile(os.path.join(one, "MLmodel"))]
        if not found:
            raise BadScript(f"{place} is no MLflow model: it has no file MLmodel")
        self._path = found[0]
        self._model: Any = None
        self._input: Any = None

    def load(self) -> None:
        """Read the model as a Python function."""
        try:
            from mlflow import pyfunc  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise BadScript("the environment has no mlflow, which an MLflow model needs: add mlflow or mlflow-skinny") from None
        self._model = pyfunc.load_model(self._path)
        self._input = self._model.metadata.get_input_schema()

    def run(self, data: Any, method: str, params: Any) -> Any:
        """Return the predictions for ``data``."""
        if method != "predict":
            raise Refused(400, f"An MLflow model has predict() alone, not {method}().")
        if params is not None and not isinstance(params, dict):
            raise Refused(400, "params should be an object.")
        from mlflow.exceptions import MlflowException  # type: ignore[import-not-found, import-untyped, unused-ignore]

        try:
            table = self._parsed(data)
            found = self._model.predict(table, params=params) if params else self._model.predict(table)
        except MlflowException as error:
            raise Refused(400, str(error)) from None
        return {"predictions": jsonable(found)}

    def signature(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the tensors of the Open Inference Protocol."""
        return self._tensors(self._input), self._tensors(self._model.metadata.get_output_schema())

    def schemas(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON schemas of request and answer."""
        named = [str(name) for name in self._input.input_names()] if self._input is not None else []
        return table_schema({"type": "array"}, [name for name in named if name]), {
            "type": "object", "properties": {"predictions": {}}, "required": ["predictions"],
        }  # fmt: skip

    def _tensors(self, schema: Any) -> list[dict[str, Any]]:
        if schema is None:
            return []
        found = []
        for number, spec in enumerate(schema.inputs):
            kind = str(getattr(spec.type, "name", spec.type)).lower()
            shape = [int(size) for size in getattr(spec, "shape", None) or (-1,)]
            found.append({"name": spec.name or f"input-{number}", "datatype": _DATATYPES.get(kind, "BYTES"), "shape": shape})
        return found

    def _parsed(self, data: dict[str, Any]) -> Any:
        from mlflow.utils import proto_json_utils  # type: ignore[import-not-found, import-untyped, unused-ignore]

        ((key, content),) = data.items()
        if key == "array":
            return content
        if key in {"instances", "inputs"}:
            return proto_json_utils.parse_tf_serving_input({key: content}, schema=self._input)
        orient = "split" if key == "dataframe_split" else "records"
        return proto_json_utils.dataframe_from_parsed_json(content, pandas_orient=orient, schema=self._input)
