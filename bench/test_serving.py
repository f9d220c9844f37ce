"""Claims about scoring: requests a second and latencies against the servers that models are served with otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.support.azure_server import AzureServer
from tests.support.peer_requests import PEER
from tests.support.scoring import Client, ScoringServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.conftest import Measured, Stated

SCRIPT = "import json\ndef init():\n    pass\ndef run(data):\n    return json.loads(data)\n"
PLAIN = """
import json
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
def run(data):
    return json.loads(data)
async def score(request):
    return JSONResponse(await run_in_threadpool(run, await request.body()))
app = Starlette(routes=[Route("/score", score, methods=["POST"])])
"""
LOAD = 'wrk.method = "POST"\nwrk.body = [==[%s]==]\nwrk.headers["Content-Type"] = "application/json"\n'
TRAIN = """
import json, sys, time
import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
data = load_breast_cancer()
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(data.data, data.target)
joblib.dump(model, sys.argv[1])
row = data.data[:1].tolist()
times = []
for _ in range(2000):
    begun = time.perf_counter()
    model.predict(row).tolist()
    times.append(time.perf_counter() - begun)
print(json.dumps({"row": row, "p50_s": sorted(times)[1000]}))
"""
TRAIN_MLFLOW = """
import sys
import mlflow, pandas as pd
from mlflow.models import infer_signature
class Same(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["x"]
frame = pd.DataFrame({"x": [3.0]})
mlflow.pyfunc.save_model(sys.argv[1], python_model=Same(), signature=infer_signature(frame, frame["x"]))
"""
ROUNDS = 5
SECONDS = 3


@dataclass(frozen=True)
class Load:
    """What one run of wrk measured; seconds."""

    each_s: float
    p50_s: float
    p99_s: float


@pytest.fixture(scope="module")
def pythons(peer_python: Callable[..., Path]) -> dict[str, Path]:
    if shutil.which("wrk") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("wrk is not installed: scripts/test-tools --bench does it")
    return {
        "ours": peer_python("serving", "starlette", "uvicorn"),
        "azure": peer_python("azure-server", PEER, "inference-schema==1.8", "starlette", "uvicorn"),
        "plain": peer_python("uvicorn", "starlette", "uvicorn[standard]"),
    }


@pytest.fixture(scope="module")
def trivial(pythons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Load]]]:
    """The same trivial ``run()`` on three servers, under load in turn: eight connections, one worker."""
    place = tmp_path_factory.mktemp("trivial")
    (place / "score.py").write_text(SCRIPT)
    (place / "plain.py").write_text(PLAIN)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(ScoringServer(place / "ours", SCRIPT, python=pythons["ours"]))
        azure = stack.enter_context(AzureServer(pythons["azure"], place / "azure", place / "score.py"))
        command = ["-m", "uvicorn", "plain:app", "--log-level", "warning", "--port"]
        plain = stack.enter_context(started(pythons["plain"], command, place))
        ports = {"ours": ours.port, "azure": azure.port, "plain": plain}
        found: dict[str, list[Load]] = {name: [] for name in ports}
        for number in range(ROUNDS + 1):
            for name, port in ports.items():
                load = wrk(place, port, '{"x": 3}')
                if number:  # the first warms up
                    found[name].append(load)
        yield found


@contextlib.contextmanager
def started(python: Path, arguments: list[str], place: Path, **variables: str) -> Iterator[int]:
    """Start a server whose last argument is its port, and wait until it accepts; yield the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environ = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", **variables}
    with (place / "server.log").open("wb") as log:
        process = subprocess.Popen([str(python), *arguments, str(port)], cwd=place, stdout=log, stderr=log, env=environ)
    try:
        until = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), Client(("127.0.0.1", port)):
                break
            assert process.poll() is None, (place / "server.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def wrk(place: Path, port: int, body: str, *, connections: int = 8, path: str = "/score") -> Load:
    """Load a server with one thread for some seconds."""
    (place / "load.lua").write_text(LOAD % body)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", str(place / "load.lua")]
    text = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in text, text
    assert "Socket errors" not in text, text
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    shares = {share: float(value) * units[unit] for share, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)}
    return Load(1 / rate, shares["50"], shares["99"])


def each(loads: list[Load]) -> list[float]:
    return [load.each_s for load in loads]


def per_second(loads: list[Load]) -> str:
    return f"{1 / statistics.median(each(loads)):,.0f} requests/s"


def test_requests_a_second_against_azures_server(
    trivial: dict[str, list[Load]], measured: Measured, fact: Callable[[str, str], None]
) -> None:
    fact("ours", per_second(trivial["ours"]))
    measured(
        "scoring server, trivial run(), 8 connections: a request",
        each(trivial["ours"]),
        each(trivial["azure"]),
        0.25,
        peer_name=PEER,
    )


def test_requests_a_second_against_plain_uvicorn(trivial: dict[str, list[Load]], measured: Measured) -> None:
    measured(
        "scoring server, trivial run(), 8 connections: a request", each(trivial["ours"]), each(trivial["plain"]), 1 / 0.9,
        peer_name="uvicorn[standard] + Starlette, run() in a thread",
    )  # fmt: skip


def test_slowest_requests_against_azures_server(trivial: dict[str, list[Load]], measured: Measured) -> None:
    ours, theirs = ([load.p99_s for load in trivial[name]] for name in ("ours", "azure"))
    measured("scoring server, trivial run(), 8 connections: p99", ours, theirs, 0.5, peer_name=PEER)


def test_scikit_learn_against_a_call_in_process(peer_python: Callable[..., Path], measured: Measured, tmp_path: Path) -> None:
    python = peer_python("served-sklearn", "starlette", "uvicorn", "scikit-learn", "pandas")
    done = subprocess.run(
        [str(python), "-c", TRAIN, str(tmp_path / "model.joblib")], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    with ScoringServer(tmp_path / "s", python=python, kind="sklearn", model=str(tmp_path / "model.joblib")) as server:
        loads = [wrk(tmp_path, server.port, json.dumps({"instances": told["row"]}), connections=1) for _ in range(3)]
    measured(
        "scoring server, scikit-learn predict on 30 features: p50", [load.p50_s for load in loads], [told["p50_s"]], 1.0,
        plus_s=0.001, peer_name="the call in process",
    )  # fmt: skip


def test_mlflow_model_against_its_own_server(peer_python: Callable[..., Path], measured: Measured, tmp_path: Path) -> None:
    python = peer_python("mlflow-server", "mlflow", "starlette", "uvicorn")
    subprocess.run([str(python), "-c", TRAIN_MLFLOW, str(tmp_path / "model")], capture_output=True, text=True, check=True)
    body = '{"dataframe_split": {"columns": ["x"], "data": [[3.0]]}}'
    serve = [
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(tmp_path / "model"),
        "--env-manager",
        "local",
        "--workers",
        "1",
        "--port",
    ]
    with (
        ScoringServer(tmp_path / "s", python=python, kind="mlflow", model=str(tmp_path / "model")) as server,
        started(python, serve, tmp_path) as port,
    ):
        pairs = [(wrk(tmp_path, server.port, body), wrk(tmp_path, port, body, path="/invocations")) for _ in range(ROUNDS)]
    measured(
        "scoring server, a trivial MLflow model, 8 connections: a request", each([ours for ours, _ in pairs]),
        each([theirs for _, theirs in pairs]), 1.25, peer_name="mlflow models serve",
    )  # fmt: skip


def test_start_until_ready(pythons: dict[str, Path], stated: Stated, tmp_path: Path) -> None:
    def start() -> None:
        with ScoringServer(tmp_path, SCRIPT, python=pythons["ours"]) as server:
            assert server.score("1").status == 200

    stated("scoring server, start to the first scored request and end", start, rounds=5)
