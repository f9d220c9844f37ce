"""What an MLflow model says of itself: flavors, signature, input example, environment. Read from text; nothing of it is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidDefinition
from wardian.formats.faults import Faults
from wardian.formats.mlflow_model import MODEL, environment_files, leads_out, model_mapping
from wardian.formats.source_text import plain_text, read_source
from wardian.formats.yaml_text import YamlMapping, YamlScalar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LONGEST = 500  # characters of a text that is kept
_DEEPEST = 50  # of a signature; objects in arrays in objects are rare
_PARTS = ("inputs", "outputs", "params")


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """An MLflow model, as its file ``MLmodel`` describes it.

    Attributes:
        flavors: the names of the ways to load it: ``python_function``, ``sklearn`` …
        loader_module: what loads it as a Python function; empty: it has no such flavor.
        python_version: of the Python that saved it.
        model_uuid, mlflow_version, saved: as MLflow wrote them; empty: it did not.
        signature: ``inputs``, ``outputs`` and ``params``, each a list of MLflow's column or tensor specifications; None: it has none.
        input_example: ``path`` below the model's directory, ``serving_path`` of the same as the body of a request (empty: there is none),
            and ``type``; None: it has none.
        environment_files: those of its directory that an environment can be made of: ``wardian env create NAME -f DIRECTORY``.
    """

    flavors: tuple[str, ...]
    loader_module: str = ""
    python_version: str = ""
    model_uuid: str = ""
    mlflow_version: str = ""
    saved: str = ""
    signature: Mapping[str, Any] | None = None
    input_example: Mapping[str, str] | None = None
    environment_files: tuple[str, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "flavors": list(self.flavors),
            "loader_module": self.loader_module,
            "python_version": self.python_version,
            "model_uuid": self.model_uuid,
            "mlflow_version": self.mlflow_version,
            "saved": self.saved,
            "signature": dict(self.signature) if self.signature is not None else None,
            "input_example": dict(self.input_example) if self.input_example is not None else None,
            "environment_files": list(self.environment_files),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> MlflowModel:
        """Return the value that ``as_document`` wrote."""
        values = dict(document)
        return cls(**{**values, **{name: tuple(values.get(name, ())) for name in ("flavors", "environment_files")}})


def is_mlflow(directory: Path) -> bool:
    """Return whether the model in ``directory`` is one of MLflow's."""
    return (directory / MODEL).is_file()


def read_mlflow(directory: Path) -> MlflowModel:
    """Return what the MLflow model in ``directory`` says of itself.

    Raises:   InvalidDefinition: all faults of its file: bad YAML, a path that leads out, a signature that is none.
    Source:   MLflow's model format
    """
    faults = Faults(str(directory / MODEL))
    named = environment_files(directory, faults)
    root = model_mapping(plain_text(read_source(directory / MODEL)), faults)
    flavors = root.find("flavors")
    if not isinstance(flavors, YamlMapping):
        faults.add("no_flavors", "this is no MLflow model: it has no flavors", line=root.line, field="flavors")
        raise InvalidDefinition(faults.found)
    function = flavors.find("python_function")
    found = MlflowModel(
        flavors=tuple(_cut(name) for name in flavors.keys),
        loader_module=_text(function, "loader_module"),
        python_version=_text(function, "python_version"),
        model_uuid=_text(root, "model_uuid"),
        mlflow_version=_text(root, "mlflow_version"),
        saved=_text(root, "utc_time_created"),
        signature=_signature(root, faults),
        input_example=_input_example(root, directory, faults),
        environment_files=tuple(
            name for name in dict.fromkeys((*named.values(), "requirements.txt")) if (directory / name).is_file()
        ),
    )
    faults.raise_if_any()
    return found


def _signature(root: YamlMapping, faults: Faults) -> dict[str, Any] | None:
    node = root.find("signature")
    if not isinstance(node, YamlMapping):
        return None
    return {part: _columns(node, part, faults) for part in _PARTS}


def _columns(signature: YamlMapping, part: str, faults: Faults) -> list[Any]:
    node = signature.find(part)
    if not isinstance(node, YamlScalar) or node.is_null:
        return []
    try:
        value = json.loads(node.value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and all(isinstance(item, dict) for item in value) and _depth(value) <= _DEEPEST:
        return value
    faults.add("bad_signature", "this is no list of columns or tensors in JSON", line=node.line, field=f"signature.{part}",
               hint="save the model again with `mlflow`, or take the signature out")  # fmt: skip
    return []


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and the like are no JSON


def _depth(value: Any) -> int:
    """Return how deeply lists and mappings are nested; no recursion, for it may be deep."""
    depth, level = 0, [value]
    while level := [
        inner for one in level if isinstance(one, list | dict) for inner in (one.values() if isinstance(one, dict) else one)
    ]:
        depth += 1
    return depth


def _input_example(root: YamlMapping, directory: Path, faults: Faults) -> dict[str, str] | None:
    node = root.find("saved_input_example_info")
    found = {"type": _text(node, "type")}
    for key, name in (("artifact_path", "path"), ("serving_input_path", "serving_path")):
        path = _text(node, key)
        if path and leads_out(path):
            faults.add(
                "bad_path",
                f"`{path[:120]}` leads out of the model's directory",
                line=node.line if isinstance(node, YamlMapping) else None,
                field=f"saved_input_example_info.{key}",
            )
        found[name] = path if path and (directory / path).is_file() else ""
    return found if found["path"] else None


def _text(node: object, key: str) -> str:
    value = node.find(key) if isinstance(node, YamlMapping) else None
    return _cut(value.value) if isinstance(value, YamlScalar) and not value.is_null else ""


def _cut(text: str) -> str:
    return text[:_LONGEST]
