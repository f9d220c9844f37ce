"""The index that the commands in the documentation run over: a few packages with the names that the pages use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.index import Index
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

# project, version, day of the release, what it needs
RELEASES = (
    ("numpy", "1.26.4", "2024-02-05", ()),
    ("numpy", "2.1.3", "2024-11-02", ()),
    ("pandas", "2.2.2", "2024-04-10", ("numpy>=1.23",)),
    ("pandas", "2.2.3", "2024-09-20", ("numpy>=1.23",)),
    ("scikit-learn", "1.5.2", "2024-09-11", ("numpy>=1.19", "joblib")),
    ("joblib", "1.4.2", "2024-05-02", ()),
    ("xgboost", "2.1.1", "2024-07-31", ("numpy",)),
    ("seaborn", "0.13.2", "2024-01-25", ("pandas>=1.2",)),
)


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    wheels = tmp_path_factory.mktemp("wheels")
    with Index(tmp_path_factory.mktemp("small-index")) as index:
        for name, version, day, requires in RELEASES:
            wheel = make_wheel(wheels, name, version, requires=requires)
            index.add(wheel, datetime.fromisoformat(day).replace(tzinfo=UTC))
        yield index
