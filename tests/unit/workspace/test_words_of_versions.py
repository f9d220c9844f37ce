"""Description and tags of a version, when they are changed later."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.builders import an_environment

from wardian.errors import InvalidDefinition
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments


def test_an_update_takes_no_secret() -> None:
    database = Database.in_memory()
    environments = Environments(database, lambda: datetime(2024, 1, 1, tzinfo=UTC))
    environments.register(an_environment())
    with pytest.raises(InvalidDefinition) as caught:
        environments.update("sklearn", description="with AKIA" + "A" * 16, tags={"team": "risk", "token": "pa55-word"})
    assert [fault.field for fault in caught.value.faults] == ["description", "tags.token"]
    assert "pa55" not in str(caught.value)
    kept = environments.update("sklearn", tags={"team": "risk"})
    assert (kept.description, kept.tags) == ("", {"team": "risk"})
    database.close()
