"""What is sent to an endpoint, and what becomes of its answers: oddities of either side are errors with a code."""

from __future__ import annotations

from typing import Any

import pytest

from wardian.errors import InvalidInput
from wardian.serving.scoring import encoded, headers_for, score, value_of
from wardian.tools.scoring_http import Answer


@pytest.mark.parametrize("key", ["a\nb", "a\r\nX: y", "a b", "\udcff", "ü", " ", "\0"])
def test_a_key_that_no_request_can_carry_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        headers_for(key)
    assert caught.value.stable_code == "bad_key"


def test_a_key_goes_along() -> None:
    assert headers_for("a-B_1")["Authorization"] == "Bearer a-B_1"
    assert headers_for(None) == headers_for("") == {"Content-Type": "application/json"}


@pytest.mark.parametrize("timeout_s", [0, -1, 1e18, float("inf"), float("nan")])
def test_a_timeout_that_is_none(timeout_s: float) -> None:
    with pytest.raises(InvalidInput) as caught:
        score("http://127.0.0.1:1", {}, name="churn", timeout_s=timeout_s)
    assert caught.value.stable_code == "bad_timeout"


def test_values_that_are_nested_too_deeply() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInput, match="cannot be sent as JSON"):
        encoded(deep)
    text = b"[" * 100_000 + b"]" * 100_000
    assert value_of(Answer(200, text, {"content-type": "application/json"}), "churn") == text
