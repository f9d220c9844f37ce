"""References that mean no environment: what is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wardian.errors import NotFound
from wardian.sdk.environment_lookup import EnvironmentLookup


def test_a_run_that_got_no_environment_says_what_it_asked_for_and_where_to_look() -> None:
    record = SimpleNamespace(
        id="abc123", environment=SimpleNamespace(version_id=None), configuration=SimpleNamespace(environment="churn:1")
    )
    itself: Any = SimpleNamespace(_parts=SimpleNamespace(runs=SimpleNamespace(get={"abc123": record}.__getitem__)))
    with pytest.raises(NotFound, match="churn:1") as caught:
        EnvironmentLookup.get(itself, "run:abc123")
    assert "wardian runs show abc123" in (caught.value.hint or "")
