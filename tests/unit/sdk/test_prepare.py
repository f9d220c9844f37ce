"""An environment that is cleaned up in the moment between being found and being held is installed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.wheels import make_wheel

from wardian.errors import Unavailable
from wardian.sdk.environments import EnvironmentCollection
from wardian.sdk.prepare import prepare
from wardian.sdk.workspace import Workspace
from wardian.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

    from wardian.bootstrap import Parts
    from wardian.prefix.installed import Prefix
    from wardian.workspace.locking import Locked
    from wardian.workspace.version import EnvironmentVersion


class CleanedUp(EnvironmentCollection):
    """Environments on a machine where a clean-up always comes at the wrong moment, ``times`` times."""

    def __init__(self, parts: Parts, times: int):
        super().__init__(parts)
        self.parts = parts
        self.times = times
        self.builds = 0

    def build(self, version: EnvironmentVersion | str, *, compile_now: bool = False) -> tuple[Prefix, Locked]:
        found = super().build(version, compile_now=compile_now)
        self.builds += 1
        if self.builds <= self.times:
            assert self.parts.prefixes.remove(found[0].key[:32])
        return found


@pytest.fixture
def version(tmp_path: Path, index: Index) -> tuple[Parts, EnvironmentVersion]:
    catalogue = tmp_path / "no-pythons.json"
    catalogue.write_text("{}")
    settings = Settings(
        home=tmp_path / "home",
        cache=tmp_path / "cache",
        indexes={"pypi": index.url},
        python_downloads=str(catalogue),
        byte_code="never",
    )
    workspace = Workspace(settings)
    index.add(make_wheel(tmp_path, "alpha", "1.0"))
    (tmp_path / "requirements.txt").write_text("alpha\n")
    return workspace.parts, workspace.environments.register_file(tmp_path / "requirements.txt")


def test_it_is_installed_again(version: tuple[Parts, EnvironmentVersion]) -> None:
    parts, found = version
    environments = CleanedUp(parts, times=2)
    prepared = prepare(parts, environments, found)
    with prepared.hold:
        assert prepared.prefix is not None
        assert prepared.prefix.is_dir()
        assert not parts.prefixes.remove(prepared.prefix.name)
    assert environments.builds == 3
    assert parts.prefixes.remove(prepared.prefix.name)


def test_but_not_for_ever(version: tuple[Parts, EnvironmentVersion]) -> None:
    with pytest.raises(Unavailable):
        prepare(version[0], CleanedUp(version[0], times=99), version[1])
