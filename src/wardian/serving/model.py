"""What a model is by its looks: its format, and what the format says of itself. No pickle is ever opened here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput
from wardian.serving.mlflow import is_mlflow, read_mlflow

if TYPE_CHECKING:
    from pathlib import Path

MLFLOW, SKLEARN, CUSTOM = "mlflow", "sklearn", "custom"
_PICKLED = (".pkl", ".pickle", ".joblib")


def look_at(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the format of the model at ``path``, a file or a directory, and what it says of itself as plain JSON values.

    ``mlflow``: a directory with a file ``MLmodel``; ``details`` hold ``wardian.serving.mlflow.MlflowModel`` as ``mlflow``.
    ``sklearn``: a file that pickle or joblib wrote, or a directory with exactly one, by its name; ``details`` hold its path below
    the model as ``pickle``, empty for the file itself. ``custom``: anything else.

    Raises:   InvalidDefinition: all faults of an MLflow model.  InvalidInput: ``mlflow_file``: the one file of an MLflow model.
    """
    if not path.is_dir():
        if path.name == "MLmodel":
            raise InvalidInput(
                f"`{path}` only describes an MLflow model",
                code="mlflow_file",
                hint=f"the model is its directory: `{path.parent}`",
            )
        return (SKLEARN, {"pickle": ""}) if _is_pickled(path.name) else (CUSTOM, {})
    if is_mlflow(path):
        return MLFLOW, {"mlflow": read_mlflow(path).as_document()}
    pickled = sorted(entry.name for entry in path.iterdir() if _is_pickled(entry.name) and entry.is_file())
    return (SKLEARN, {"pickle": pickled[0]}) if len(pickled) == 1 else (CUSTOM, {})


def _is_pickled(name: str) -> bool:
    return name.lower().endswith(_PICKLED)
