"""What is read from an MLflow model, and what is refused. Nothing of it is ever loaded."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import pytest

from wardian.errors import InvalidDefinition, InvalidInput
from wardian.serving.mlflow import MlflowModel, read_mlflow
from wardian.serving.model import look_at

if TYPE_CHECKING:
    from pathlib import Path

# as MLflow 3.17.2 wrote it
MODEL = """\
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.skops
    predict_fn: predict
    python_version: 3.11.7
  sklearn:
    code: null
    pickled_model: model.skops
    serialization_format: skops
    sklearn_version: 1.9.1
    skops_trusted_types: null
is_signature_from_type_hint: false
mlflow_version: 3.17.2
model_id: null
model_size_bytes: 10684
model_uuid: 99a7e0ff149b4a519243db7f36ee078e
prompts: null
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  serving_input_path: serving_input_example.json
  type: dataframe
signature:
  inputs: '[{"type": "double", "name": "age", "required": true}, {"type": "long",
    "name": "n", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
  params: '[{"name": "t", "default": 0.5, "shape": null, "type": "double"}]'
type_hint_from_example: false
utc_time_created: '2026-11-23 14:16:53.387155'
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "MLmodel").write_text(MODEL)
    for name in ("model.skops", "conda.yaml", "requirements.txt", "input_example.json", "serving_input_example.json"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_a_model_says_what_it_is(model: Path) -> None:
    found = read_mlflow(model)
    assert found.flavors == ("python_function", "sklearn")
    assert (found.loader_module, found.python_version, found.mlflow_version) == ("mlflow.sklearn", "3.11.7", "3.17.2")
    assert found.model_uuid == "99a7e0ff149b4a519243db7f36ee078e"
    assert found.signature is not None
    assert [column["name"] for column in found.signature["inputs"]] == ["age", "n"]
    assert found.signature["outputs"][0]["tensor-spec"] == {"dtype": "int64", "shape": [-1]}
    assert found.signature["params"] == [{"name": "t", "default": 0.5, "shape": None, "type": "double"}]
    assert found.input_example == {
        "path": "input_example.json",
        "serving_path": "serving_input_example.json",
        "type": "dataframe",
    }
    assert found.environment_files == ("conda.yaml", "requirements.txt")
    assert MlflowModel.from_document(json.loads(json.dumps(found.as_document()))) == found


def test_a_model_of_old_without_signature(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n  python_function:\n    env: conda.yaml\n    loader_module: mlflow.sklearn\n")
    found = read_mlflow(tmp_path)
    assert (found.signature, found.input_example, found.environment_files) == (None, None, ())


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("- a list\n", "wrong_type", 1),
        ("mlflow_version: 3\n", "no_flavors", 1),
        ("flavors: [python_function]\n", "no_flavors", 1),
        (f"{BOMB}flavors: {{}}\n", "yaml_bomb", None),
        ("flavors: !!python/object/apply:os.system ['true']\n", "yaml_tag", 1),
        ("flavors: {a: {}}\n\0", "nul_byte", 2),
        ("[" * 1000, "too_deep", 1),
        ("flavors:\n  python_function:\n    env: ../../conda.yaml\n", "bad_path", 3),
        ("flavors:\n  python_function:\n    env: {virtualenv: /etc/passwd}\n", "bad_path", 3),
        ("flavors: {a: {}}\nsaved_input_example_info:\n  artifact_path: ../x.json\n", "bad_path", 3),
        ("flavors: {a: {}}\nsaved_input_example_info:\n  serving_input_path: /etc/passwd\n", "bad_path", 3),
        ("flavors: {a: {}}\nsignature:\n  inputs: 'nonsense'\n", "bad_signature", 3),
        ("flavors: {a: {}}\nsignature:\n  inputs: '[1]'\n", "bad_signature", 3),
        ("flavors: {a: {}}\nsignature:\n  inputs: '[{\"x\": NaN}]'\n", "bad_signature", 3),
        (f"flavors: {{a: {{}}}}\nsignature:\n  inputs: '[{{\"x\": {'[' * 500}{']' * 500}}}]'\n", "bad_signature", 3),
        (f"flavors: {{a: {{}}}}\nsignature:\n  inputs: '{'[' * 100_000}'\n", "bad_signature", 3),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) and len(value) > 20 else None,
)
def test_hostile_files_are_refused_with_their_line(tmp_path: Path, text: str, code: str, line: int | None) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(InvalidDefinition) as caught:
        read_mlflow(tmp_path)
    fault = caught.value.faults[0]
    assert fault.code == code
    assert line is None or fault.line == line
    assert fault.file == str(tmp_path / "MLmodel")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "MLmodel").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidDefinition, match="larger than"):
        read_mlflow(tmp_path)


class Loaded:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("name", ["model.pkl", "MODEL.PICKLE", "model.joblib"])
def test_a_pickle_is_known_by_its_name_and_never_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Loaded()))
    assert look_at(tmp_path / name) == ("sklearn", {"pickle": ""})
    assert look_at(tmp_path) == ("sklearn", {"pickle": name})


def test_other_models_are_kept_as_they_are(tmp_path: Path) -> None:
    for name in ("a.pkl", "b.pkl", "model.onnx"):
        (tmp_path / name).write_text("")
    assert look_at(tmp_path) == ("custom", {})
    assert look_at(tmp_path / "model.onnx") == ("custom", {})


def test_the_file_of_an_mlflow_model_is_not_the_model(model: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        look_at(model / "MLmodel")
    assert str(model) in (caught.value.hint or "")
    assert look_at(model)[0] == "mlflow"
