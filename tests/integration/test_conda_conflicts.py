"""Real conflicts, solved over a real channel; the texts are golden."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.conda_channel import Channel, Package
from tests.support.conda_solving import a_request, a_solver

from wardian.errors import SolveFailed
from wardian.events import silent

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLDEN = Path(__file__).parents[1] / "golden" / "conda_conflicts"

CASES: Mapping[str, tuple[list[str], Mapping[str, Any]]] = {
    "two_requirements": (["webapp", "database=2"], {}),
    "through_dependencies": (["webapp", "reporting"], {}),
    "constrains": (["strict-tool", "database=2"], {}),
    "same_name_twice": (["database=1", "database=2"], {}),
    "two_clashes": (["webapp", "database=2", "plugin", "interp=3.13", "shared"], {}),
    "a_missing_package_and_a_clash": (["webap", "plugin", "interp=3.13"], {}),
    "missing_dependency": (["broken"], {}),
    "missing_package": (["webap", "database", "reportin"], {}),
    "missing_version": (["database>=3"], {}),
    "missing_build": (["database=1.0=py311*"], {}),
    "python_too_new": (["plugin", "interp=3.13"], {}),
    "cuda_not_declared": (["gpu-tool"], {}),
    "cuda_too_old": (["gpu-tool"], {"accelerators": {"cuda": "11.8"}}),
    "glibc_too_old": (["app-that-wraps-modern"], {}),
    "another_system": (["mac-only"], {}),
    "published_later": (["database=2"], {"as_of": datetime(2023, 6, 1, tzinfo=UTC)}),
    "channel_priority": (["shared=2"], {}),
}


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("channels")
    old = datetime(2023, 1, 1, tzinfo=UTC)
    first = Channel(place / "first").publish(
        Package("webapp", depends=("database 1.*",)), Package("database", "1.0", published=old), Package("database", "1.1", published=old),
        Package("database", "2.0"), Package("reporting", "1.0", depends=("charts",)), Package("reporting", "1.1", depends=("charts",)),
        Package("charts", depends=("database >=2",)), Package("strict-tool", constrains=("database <2",)),
        Package("broken", depends=("vanished >=3", "database")), *(Package("interp", v) for v in ("3.11", "3.12", "3.13")),
        *(Package("plugin", f"1.{i}", build=f"py{tag}_0", depends=(f"interp 3.{tag}.*",)) for i in range(4) for tag in (11, 12)),
        Package("gpu-tool", depends=("__cuda >=12",)), Package("modern", depends=("__glibc >=2.34",)),
        Package("app-that-wraps-modern", depends=("modern",)), Package("mac-only", depends=("__osx >=11",)), Package("shared", "1.0"),
    )  # fmt: skip
    second = Channel(place / "second").publish(Package("shared", "2.0"))
    return [first.url, second.url]


@pytest.mark.parametrize("case", CASES)
def test_conflict(case: str, channels: list[str], tmp_path: Path) -> None:
    conda, changes = CASES[case]
    solver = a_solver(tmp_path, channels={"first": channels[0], "second": channels[1]})
    with pytest.raises(SolveFailed) as caught:
        solver.solve_conda(a_request(*conda, channels=["first", "second"], **changes), silent)
    error = caught.value
    text = f"{error.stable_code}\n\n{error.message}\n\nhint: {error.hint}\n{error.details['requirements']}\n"
    assert text == (GOLDEN / f"{case}.txt").read_text()
