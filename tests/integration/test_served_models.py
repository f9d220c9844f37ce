"""Models that need no code, in environments of their own: scikit-learn, MLflow, and a client of the Open Inference Protocol."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.peers import peer_python
from tests.support.pythons import installed_pythons
from tests.support.scoring import ScoringServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.network]

SERVER = ("starlette", "uvicorn")
TRAIN = """
import sys
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
import joblib, json
data = load_breast_cancer(as_frame=sys.argv[2] == "named")
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(data.data, data.target)
joblib.dump(model, sys.argv[1])
rows = data.data.to_numpy() if sys.argv[2] == "named" else data.data
print(json.dumps({"rows": rows[:5].tolist(), "names": list(map(str, data.feature_names)),
                  "classes": model.predict(data.data[:5]).tolist(), "chances": model.predict_proba(data.data[:5]).tolist()}))
"""
TRAIN_MLFLOW = """
import json, sys
import mlflow, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
frame = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0]})
model = LinearRegression().fit(frame, [1.0, 3.0, 5.0])
mlflow.sklearn.save_model(model, sys.argv[1], signature=infer_signature(frame, model.predict(frame)))
print(json.dumps(model.predict(frame).tolist()))
"""
TRITON = """
import json, sys
import numpy as np
import tritonclient.http as triton
client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(sys.argv[2])
about = client.get_model_metadata(sys.argv[2])
rows = np.asarray(json.loads(sys.argv[3]), dtype=np.float64)
found = []
for binary in (True, False):
    given = triton.InferInput(about["inputs"][0]["name"], rows.shape, "FP64")
    given.set_data_from_numpy(rows, binary_data=binary)
    wanted = triton.InferRequestedOutput("predict", binary_data=binary)
    found.append(client.infer(sys.argv[2], [given], outputs=[wanted], request_id="7").as_numpy("predict").tolist())
found.append(client.infer(sys.argv[2], [given]).as_numpy("predict").tolist())
print(json.dumps({"about": client.get_server_metadata(), "found": found}))
"""


def run(python: Path, code: str, *arguments: str) -> Any:
    done = subprocess.run([str(python), "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_scikit_learn_and_a_real_client_of_the_protocol(tmp_path: Path) -> None:
    python = peer_python("served-sklearn", *SERVER, "scikit-learn", "pandas")
    client = peer_python("triton-client", "tritonclient[http]")
    (tmp_path / "model").mkdir()
    told = run(python, TRAIN, str(tmp_path / "model" / "model.joblib"), "plain")
    with ScoringServer(tmp_path / "s", python=python, kind="sklearn", model=str(tmp_path / "model"), name="cancer") as server:
        ask = server.score
        assert ask(json.dumps({"instances": told["rows"]})).json == {"predictions": told["classes"]}
        assert ask(json.dumps({"data": told["rows"], "method": "predict_proba"})).json == {"predictions": told["chances"]}
        few = ask('{"instances": [[1, 2, 3]]}')
        assert (few.status, few.json["message"]) == (400, "The rows have 3 values, the model takes 30.")
        assert ask('{"instances": [[1, 2], [3]]}').status == 400
        assert ask('{"instances": [1, 2]}').status == 400
        assert ask(json.dumps({"instances": told["rows"], "method": "transform"})).status == 400
        schema = server.ask("GET", "/openapi.json").json["paths"]["/score"]["post"]["requestBody"]["content"][
            "application/json"
        ]
        assert "'minItems': 30" in str(schema)
        answered = run(client, TRITON, f"127.0.0.1:{server.port}", "cancer", json.dumps(told["rows"]))
        assert answered["found"] == [told["classes"]] * 3
        assert answered["about"]["name"] == "wardian-server"


def test_columns_by_name(tmp_path: Path) -> None:
    python = peer_python("served-sklearn", *SERVER, "scikit-learn", "pandas")
    told = run(python, TRAIN, str(tmp_path / "model.pkl"), "named")
    with ScoringServer(tmp_path / "s", python=python, kind="sklearn", model=str(tmp_path / "model.pkl")) as server:
        backwards = [dict(reversed(list(zip(told["names"], row, strict=True)))) for row in told["rows"]]
        assert server.score(json.dumps({"dataframe_records": backwards})).json == {"predictions": told["classes"]}
        split = {"columns": told["names"], "data": told["rows"]}
        assert server.score(json.dumps({"dataframe_split": split})).json == {"predictions": told["classes"]}
        text = "\n".join(",".join(map(str, row)) for row in [told["names"], *told["rows"]])
        assert server.score(text, {"content-type": "text/csv"}).json == {"predictions": told["classes"]}
        missing = server.score(json.dumps({"dataframe_records": [{"mean radius": 1}]}))
        assert (missing.status, "is missing" in missing.json["message"]) == (400, True)


def test_mlflow_as_its_own_server_answers(tmp_path: Path) -> None:
    python = peer_python("served-mlflow", *SERVER, "mlflow-skinny", "scikit-learn", "pandas", "skops")
    told = run(python, TRAIN_MLFLOW, str(tmp_path / "model"))
    with ScoringServer(tmp_path / "s", python=python, kind="mlflow", model=str(tmp_path / "model"), name="line") as server:
        split = {"columns": ["b", "a"], "data": [[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]}
        assert server.score(json.dumps({"dataframe_split": split})).json == {"predictions": pytest.approx(told)}
        records = [{"a": 0.0, "b": 1.0}]
        assert server.score(json.dumps({"dataframe_records": records})).json == {"predictions": pytest.approx(told[:1])}
        assert server.score('{"inputs": {"a": [1.0], "b": [0.0]}}').json == {"predictions": pytest.approx(told[1:2])}
        wrong = server.score('{"dataframe_records": [{"a": 0.0}]}')
        assert (wrong.status, "Traceback" in wrong.json["message"]) == (400, False)
        model = server.ask("GET", "/v2/models/line").json
        assert [(one["name"], one["datatype"]) for one in model["inputs"]] == [("a", "FP64"), ("b", "FP64")]
        tensors = [{"name": name, "datatype": "FP64", "shape": [1], "data": [float(n)]} for n, name in enumerate("ab")]
        answer = server.ask("POST", "/v2/models/line/infer", json.dumps({"inputs": tensors}).encode())
        assert answer.status == 200, answer.body


def test_mlflow_model_without_mlflow(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    with ScoringServer(tmp_path / "s", kind="mlflow", model=str(tmp_path / "model")) as server:
        assert "the environment has no mlflow" in server.mark["error"]


@pytest.mark.parametrize(
    ("minor", "packages"),
    [(minor, SERVER) for minor in ("3.9", "3.10", "3.12", "3.13")]
    + [("3.9", ("starlette==0.27.0", "uvicorn==0.20.0", "anyio<4")), ("3.11", ("starlette==0.27.0", "uvicorn==0.20.0"))],
)
def test_other_pythons(tmp_path: Path, minor: str, packages: tuple[str, ...]) -> None:
    found = [path for version, path in installed_pythons() if version.startswith(f"{minor}.")]
    if not found:
        pytest.skip(f"no Python {minor} on this machine")
    python = peer_python(f"served-{minor}-{len(packages[0])}", *packages, python=found[0])
    script = "def init(): print('ready')\ndef run(data): return data[::-1]\n"
    with ScoringServer(tmp_path, script, python=python, workers=2) as server:
        assert server.score("abc").json == "cba"
        assert server.ask("GET", "/v2").status == 200
        assert server.stop() == 0
