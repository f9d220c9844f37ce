"""Bodies for models that need no code: what MLflow's server and Azure's take."""

from __future__ import annotations

from typing import Any

import pytest

from wardian.serving.server.wardian_server.inputs import Refused, Request
from wardian.serving.server.wardian_server.predict_input import PredictInput

SPLIT = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}


def ask(body: str, kind: str = "application/json", target: str = "/score", method: str = "POST") -> dict[str, Any]:
    return PredictInput()(Request(method, target, [("Content-Type", kind)], body.encode()))


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ('{"instances": [[1]]}', {"instances": [[1]]}),
        ("[[1]]", {"instances": [[1]]}),
        ('{"data": [[1]]}', {"instances": [[1]]}),
        ('{"input_data": [[1]]}', {"instances": [[1]]}),
        ('{"inputs": {"a": [1]}}', {"inputs": {"a": [1]}}),
        ('{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}', SPLIT),
        ('{"columns": ["a", "b"], "data": [[1, 2]]}', SPLIT),
        ('{"input_data": {"columns": ["a", "b"], "index": [0], "data": [[1, 2]]}}',
         {"dataframe_split": {"columns": ["a", "b"], "index": [0], "data": [[1, 2]]}}),
        ('{"dataframe_records": [{"a": 1}]}', {"dataframe_records": [{"a": 1}]}),
    ],
)  # fmt: skip
def test_tables(body: str, data: dict[str, Any]) -> None:
    assert ask(body) == {"data": data, "method": "predict", "params": None}


def test_csv() -> None:
    asked = ask('a,"b, c"\n1,2.5\n3,x\n', "text/csv; charset=utf-8")
    assert asked["data"] == {"dataframe_split": {"columns": ["a", "b, c"], "data": [[1, 2.5], [3, "x"]]}}


def test_method_and_params() -> None:
    assert ask('{"instances": [], "method": "predict_proba", "params": {"k": 1}}')["method"] == "predict_proba"
    assert ask("[]", target="/score?method=decision_function")["method"] == "decision_function"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("3", "a JSON object or a list of rows"),
        ("{}", "it has none"),
        ('{"instances": [], "inputs": []}', "it has instances, inputs"),
        ('{"instances": [], "rows": 1}', "'rows', which means nothing"),
        ('{"dataframe_split": []}', "dataframe_split should be"),
        ('{"dataframe_split": {"columns": []}}', "dataframe_split should be"),
        ('{"dataframe_split": {"data": [], "x": 1}}', "dataframe_split should be"),
        ('{"dataframe_records": [1]}', "dataframe_records should be"),
        ('{"instances": [], "method": "__class__"}', "method should be one of"),
        ("{", "could not be decoded as JSON"),
    ],
)
def test_refused_tables(body: str, told: str) -> None:
    with pytest.raises(Refused) as refused:
        ask(body)
    assert refused.value.status == 400
    assert told in refused.value.message


@pytest.mark.parametrize(("body", "told"), [("", "empty"), ("a,b\n1\n", "different numbers")])
def test_refused_csv(body: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        ask(body, "text/csv")


def test_other_types_and_methods() -> None:
    for arguments, status in (({"kind": "text/plain"}, 415), ({"method": "GET"}, 405), ({"method": "OPTIONS"}, 200)):
        with pytest.raises(Refused) as refused:
            ask("[]", **arguments)
        assert refused.value.status == status
