"""The Open Inference Protocol (v2): tensors as JSON and as bytes, metadata, health; and the OpenAPI document."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.scoring import Answer, ScoringServer

from wardian.serving.server.wardian_server import inference, tensors
from wardian.serving.server.wardian_server.inputs import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = """
from __future__ import annotations
def score(rows: list[list[float]], names: list[str] = []) -> dict[str, list[float]]:
    print("rows", rows)
    if rows == [[0.0]]:
        raise ValueError("a secret")
    if rows == [[-1.0]]:
        return "a text"
    return {"sums": [sum(row) for row in rows], "names": [name.upper() for name in names]}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringServer]:
    directory = tmp_path_factory.mktemp("v2")
    (directory / "adder.py").write_text(MODULE)
    identity = {"run": "run-1", "lock": "sha256:abc"}
    with ScoringServer(
        directory, entry="adder:score", name="adder", version="3", identity=identity, deployment="d-7"
    ) as running:
        yield running


def rows(values: list[float], shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": "rows", "datatype": "FP32", "shape": shape, "data": values, **more}


def infer(
    server: ScoringServer, said: Any, binary: bytes = b"", path: str = "/v2/models/adder/infer", **headers: str
) -> Answer:
    head = json.dumps(said).encode()
    named = {"inference-header-content-length": str(len(head))} if binary else {}
    return server.ask("POST", path, head + binary, {**named, **headers})


def test_health_and_metadata(server: ScoringServer) -> None:
    assert server.ask("GET", "/v2/health/live").json == {"live": True}
    assert server.ask("GET", "/v2/health/ready").json == {"ready": True}
    about = server.ask("GET", "/v2").json
    assert (about["name"], about["extensions"], about["identity"]["run"]) == ("wardian-server", ["binary_tensor_data"], "run-1")
    assert about["deployment"] == server.wait_for_log(message="ready", name="adder")["deployment"] == "d-7"
    model = server.ask("GET", "/v2/models/adder").json
    assert model == {"name": "adder", "versions": ["3"], "platform": "python", "inputs": [], "outputs": []}
    assert server.ask("GET", "/v2/models/adder/versions/3/ready").json == {"name": "adder", "ready": True}


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/adder/versions/2", "/v2/models/other/infer", "/v2/nothing"])
def test_what_is_not_served(server: ScoringServer, path: str) -> None:
    answer = server.ask("POST" if path.endswith("infer") else "GET", path)
    assert (answer.status, list(answer.json)) == (404, ["error"])


def test_tensors_as_json(server: ScoringServer) -> None:
    names = {"name": "names", "datatype": "BYTES", "shape": [2], "data": ["a", "é"]}
    answer = infer(server, {"id": "7", "inputs": [rows([1, 2, 3, 4], [2, 2]), names]}, path="/v2/models/adder/versions/3/infer")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.json == {
        "model_name": "adder", "model_version": "3", "id": "7",
        "outputs": [{"name": "sums", "datatype": "FP64", "shape": [2], "data": [3.0, 7.0]},
                    {"name": "names", "datatype": "BYTES", "shape": [2], "data": ["A", "É"]}],
    }  # fmt: skip


def test_tensors_as_bytes(server: ScoringServer) -> None:
    binary = struct.pack("<4f", 1, 2, 3, 4) + b"\x01\x00\x00\x00x\x00\x00\x00\x00"
    said = {
        "inputs": [{"name": "rows", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}},
                   {"name": "names", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 9}}],
        "outputs": [{"name": "names", "parameters": {"binary_data": True}}, {"name": "sums", "parameters": {"binary_data": True}}],
    }  # fmt: skip
    answer = infer(server, said, binary)
    size = int(answer.header("inference-header-content-length") or "")
    outputs = json.loads(answer.body[:size])["outputs"]
    assert [(one["name"], one["parameters"]["binary_data_size"]) for one in outputs] == [("names", 9), ("sums", 16)]
    assert answer.body[size:] == b"\x01\x00\x00\x00X\x00\x00\x00\x00" + struct.pack("<2d", 3, 7)


@pytest.mark.parametrize(
    ("said", "binary", "status", "told"),
    [
        ([], b"", 400, "with inputs"),
        ({"inputs": [3]}, b"", 400, "an object with a name"),
        ({"inputs": [{"name": "rows", "datatype": "FP8", "shape": [1], "data": [1]}]}, b"", 400, "no datatype"),
        ({"inputs": [rows([1], [-1])]}, b"", 400, "no shape"),
        ({"inputs": [rows([1], [2**50])]}, b"", 400, "no shape"),
        ({"inputs": [rows([1], [1000, 1000])]}, b"", 400, "has 1 values, its shape says 1000000"),
        ({"inputs": [rows(["1"], [1, 1])]}, b"", 400, "data that are not FP32"),  # type: ignore[list-item]
        ({"inputs": [rows([1], [1, 1]), rows([1], [1, 1])]}, b"", 400, "same name"),
        ({"inputs": [rows([1], [1, 1])], "outputs": [{"name": "other"}]}, b"", 400, "no output 'other'"),
        ({"inputs": [rows([1], [1, 1])]}, b"rest", 400, "4 bytes of the body belong to no input"),
        ({"inputs": [rows([], [1, 1], parameters={"binary_data_size": 99})]}, b"1234", 400, "more binary data"),
        ({"inputs": [rows([], [1, 1], parameters={"binary_data_size": -1})]}, b"1234", 400, "more binary data"),
        ({"inputs": [rows([], [1, 2], parameters={"binary_data_size": 4})]}, b"1234", 400, "4 bytes"),
        ({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 4}}]}, b"\xff\xff\xff\xff", 400, "ends within a text"),
        ({"inputs": [{"name": "other", "datatype": "FP32", "shape": [1], "data": [1]}]}, b"", 400, "no parameter 'other'"),
        ({"inputs": [rows([0], [1, 1])]}, b"", 500, "unexpected error"),
    ],
)  # fmt: skip
def test_refused_tensors(server: ScoringServer, said: Any, binary: bytes, status: int, told: str) -> None:
    answer = infer(server, said, binary)
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert told in answer.json["error"]
    assert b"secret" not in answer.body


@pytest.mark.parametrize("size", ["-1", "x", "999999", "1" * 40])
def test_refused_header_sizes(server: ScoringServer, size: str) -> None:
    assert server.ask("POST", "/v2/models/adder/infer", b"{}", {"inference-header-content-length": size}).status == 400


def test_results_that_are_no_arrays(server: ScoringServer) -> None:
    assert infer(server, {"inputs": [rows([-1], [1, 1])]}).json["outputs"] == [
        {"name": "output", "datatype": "BYTES", "shape": [1], "data": ["a text"]}
    ]


@pytest.mark.parametrize(
    ("value", "datatype", "shape", "flat"),
    [
        (3, "INT64", (1,), [3]),
        (True, "BOOL", (1,), [True]),
        ([1, 2.5], "FP64", (2,), [1.0, 2.5]),
        ([[1, 2], [3, 4]], "INT64", (2, 2), [1, 2, 3, 4]),
        ([[[1.5]], [[2]]], "FP64", (2, 1, 1), [1.5, 2.0]),
        ([], "FP64", (0,), []),
        (["a", "b"], "BYTES", (2,), ["a", "b"]),
        ([[1], [2, 3]], "BYTES", (1,), ["[[1], [2, 3]]"]),
        ([2**70], "BYTES", (1,), [f"[{2**70}]"]),
        ({"a": 1}, "BYTES", (1,), ['{"a": 1}']),
    ],
)
def test_tensor_of_a_result(value: Any, datatype: str, shape: tuple[int, ...], flat: list[Any]) -> None:
    assert tensors.from_result("x", value) == tensors.Tensor("x", datatype, shape, flat)


@pytest.mark.parametrize(
    ("datatype", "values"), [("FP16", [1.5]), ("UINT64", [2**64 - 1]), ("INT8", [-128]), ("BOOL", [True, False])]
)
def test_every_datatype_as_bytes(datatype: str, values: list[Any]) -> None:
    data = tensors.Tensor("x", datatype, (len(values),), values).as_bytes()
    said = {"name": "x", "datatype": datatype, "shape": [len(values)], "parameters": {"binary_data_size": len(data)}}
    assert tensors.from_request(said, memoryview(data))[0].values == values


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Refused):
        inference.parse(b'{"inputs": ' + b"[" * 100_000, None)


def test_openapi_has_the_hints(server: ScoringServer) -> None:
    document = server.ask("GET", "/openapi.json").json
    assert (document["openapi"], document["info"]["x-wardian"]["lock"]) == ("3.1.0", "sha256:abc")
    score = document["paths"]["/score"]["post"]
    given = score["requestBody"]["content"]["application/json"]["schema"]
    assert given["properties"]["rows"] == {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    assert score["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "object"
    assert {"400", "413", "500", "503"} <= set(score["responses"])
    assert "/v2/models/adder/infer" in document["paths"]


def test_typed_function_by_score(server: ScoringServer) -> None:
    assert server.score('{"rows": [[1, 2]]}').json == {"sums": [3.0], "names": []}
    assert server.score('{"rows": [["1"]]}').json == {"message": "rows[0][0]: a number is expected"}
    assert server.score("{}", {"content-type": "text/xml"}).status == 415
