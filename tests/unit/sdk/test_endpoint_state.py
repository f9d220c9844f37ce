"""How endpoints are, by their records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sdk.endpoint_state import EndpointStates
from wardian.workspace.database import Database
from wardian.workspace.endpoints import Endpoints

if TYPE_CHECKING:
    from pathlib import Path


def test_nobody_waits_for_a_number_of_replicas_that_is_not_wanted_any_more(tmp_path: Path) -> None:
    store = Endpoints(Database.in_memory())
    _, _, rollout = store.deploy("churn", {}, place=lambda _number: None)
    store.begin_serving("churn", rollout.number)
    states = EndpointStates(store, tmp_path)
    store.scale("churn", 3)
    assert not states.is_scaled("churn", 3)
    store.scale("churn", 2)
    assert states.is_scaled("churn", 3)
    assert not states.is_scaled("churn", 2)
    store.put_trouble("churn", {"code": "crash_loop", "reason": "why"})
    assert states.is_scaled("churn", 2)
