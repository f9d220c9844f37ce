from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.sdk.agent_cleaning import AgentCleaning

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000.0


def made(root: Path, name: str, age_s: float) -> Path:
    place = root / name
    place.mkdir(parents=True)
    (place / "file").touch()
    os.utime(place, (NOW - age_s, NOW - age_s))
    return place


def test_agents_go_but_for_those_that_may_be_on_their_way(tmp_path: Path) -> None:
    cleaning = AgentCleaning(tmp_path, lambda: NOW)
    assert list(cleaning.candidates()) == []
    old, new = made(tmp_path, "a" * 64, 7200), made(tmp_path, "b" * 64, 60)
    half, fresh = made(tmp_path, ".half-old", 90_000), made(tmp_path, ".half-new", 60)
    (tmp_path / ".identity").touch()
    found = list(cleaning.candidates())
    assert {(one.kind, one.path) for one in found} == {("agent", old), ("unfinished-agent", half)}
    assert list(cleaning.kept()) == [new]
    assert all(cleaning.remove(one) for one in found)
    assert not old.exists()
    assert not half.exists()
    assert new.exists()
    assert fresh.exists()


def test_one_that_was_asked_for_meanwhile_stays(tmp_path: Path) -> None:
    cleaning = AgentCleaning(tmp_path, lambda: NOW)
    old = made(tmp_path, "a" * 64, 7200)
    (candidate,) = cleaning.candidates()
    os.utime(old, (NOW, NOW))
    assert not cleaning.remove(candidate)
    assert old.exists()
