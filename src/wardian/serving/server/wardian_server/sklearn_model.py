"""A scikit-learn estimator in a file: a model that needs no code."""

from __future__ import annotations

import os
import pickle
from typing import Any

from .answers import jsonable
from .inputs import Refused
from .predict_input import table_schema
from .script import BadScript

_FILES = (".joblib", ".pkl", ".pickle", ".sav")


class SklearnModel:
    """A pickled estimator. Loading a pickle runs its code: a model is trusted as far as its environment is."""

    platform = "sklearn"

    def __init__(self, place: str):
        self._path = _one_file(place)
        self._model: Any = None

    def load(self) -> None:
        """Read the estimator."""
        try:
            import joblib  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            with open(self._path, "rb") as file:
                self._model = pickle.load(file)  # noqa: S301 - the model is the user's
        else:
            self._model = joblib.load(self._path)
        if not callable(getattr(self._model, "predict", None)) and not callable(getattr(self._model, "transform", None)):
            raise BadScript(f"{self._path} holds a {type(self._model).__name__}, which has no predict()")

    def run(self, data: Any, method: str, params: Any) -> Any:
        """Return the predictions for ``data``."""
        if params:
            raise Refused(400, "A scikit-learn model takes no params.")
        function = getattr(self._model, method, None)
        if not callable(function):
            raise Refused(400, f"The model, a {type(self._model).__name__}, has no {method}().")
        rows = self._rows(data)
        shape = getattr(rows, "shape", (0, 0))
        wanted = getattr(self._model, "n_features_in_", None)
        if wanted is not None and len(shape) == 2 and shape[1] != wanted:  # noqa: PLR2004 - rows and columns
            raise Refused(400, f"The rows have {shape[1]} values, the model takes {wanted}.")
        return {"predictions": jsonable(function(rows))}

    def signature(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the tensors of the Open Inference Protocol."""
        wanted = getattr(self._model, "n_features_in_", -1)
        return [{"name": "predict", "datatype": "FP64", "shape": [-1, int(wanted)]}], [
            {"name": "predict", "datatype": "FP64", "shape": [-1]}
        ]

    def schemas(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON schemas of request and answer."""
        count = getattr(self._model, "n_features_in_", None)
        row: dict[str, Any] = {"type": "array", **({"minItems": int(count), "maxItems": int(count)} if count else {})}
        named = [str(name) for name in getattr(self._model, "feature_names_in_", ())]
        return table_schema(row, named), {"type": "object", "properties": {"predictions": {"type": "array"}}}

    def _rows(self, data: dict[str, Any]) -> Any:
        import numpy as np  # type: ignore[import-not-found, unused-ignore]

        ((key, content),) = data.items()
        names = getattr(self._model, "feature_names_in_", None)
        try:
            if key == "array":
                return content
            if key in {"dataframe_split", "dataframe_records"} or _has_columns(content):
                return self._frame(key, content, names)
            rows = np.asarray(content)
        except (ValueError, TypeError) as error:
            raise Refused(400, f"The rows are not a table: {error}") from None
        if rows.ndim == 1 and key == "instances" and len(rows):
            raise Refused(400, "The rows should be a list of lists.")
        return rows

    def _frame(self, key: str, content: Any, names: Any) -> Any:
        try:
            import pandas as pd  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            pd = None
        if key == "dataframe_split":
            columns, rows = content.get("columns"), content["data"]
        elif isinstance(content, dict):
            columns = list(content)
            rows = [list(row) for row in zip(*content.values())]
        else:
            columns = list(dict.fromkeys(name for row in content for name in row))
            rows = [[row.get(name) for name in columns] for row in content]
        if pd is not None:
            frame = pd.DataFrame(rows, columns=columns)
            if names is None:
                return frame.to_numpy()
            missing = [str(name) for name in names if name not in frame.columns]
            if missing:
                raise Refused(400, f"The column {missing[0]!r} is missing.")
            return frame[list(names)]
        import numpy as np

        return np.asarray(rows)


def _one_file(place: str) -> str:
    """Return the only estimator's file in the directory ``place``, or ``place`` itself if it is a file."""
    if os.path.isfile(place):
        return place
    found = []
    for directory, folders, files in os.walk(place):
        folders.sort()
        found += [os.path.join(directory, name) for name in sorted(files) if name.lower().endswith(_FILES)]
    if len(found) != 1:
        what = "no file" if not found else f"{len(found)} files ({', '.join(os.path.relpath(one, place) for one in found[:5])})"
        raise BadScript(f"the model directory {place} has {what} of {', '.join(_FILES)}: one is expected; name it as the model")
    return found[0]


def _has_columns(content: Any) -> bool:
    return isinstance(content, dict) or (isinstance(content, list) and bool(content) and isinstance(content[0], dict))
