"""Lint of a workspace knows the locks that are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wardian.lock.lock import Lock
from wardian.sdk.workspace import Workspace
from wardian.settings import Settings

BAD = Path(__file__).parents[2] / "data" / "lint" / "no-wheel"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(Settings(home=tmp_path / "home", cache=tmp_path / "cache", offline=True))
    amd64 = Lock.from_json((BAD / "bad.lock.json").read_text(encoding="utf-8"))
    for lock in (amd64, replace(amd64, platform="linux/arm64")):
        digest = workspace.parts.locks.put(lock)
        workspace.parts.locks.set_current(lock.provenance.definition_hash, lock.platform, digest, "solved")
    return workspace


def test_a_file_is_linted_with_the_locks_that_its_hash_has(workspace: Workspace) -> None:
    found = workspace.environments.lint_file(BAD / "bad.txt").findings
    [one] = [one for one in found if one.id == "no-wheel"]
    assert one.message == "`tool 1.0` has no wheel for linux/amd64 and linux/arm64: it was built from source"
    assert one.line == 1


def test_a_version_is_linted_with_the_locks_that_it_is_pinned_to(workspace: Workspace) -> None:
    version, _ = workspace.environments.create("tool", None, path=BAD / "bad.txt")
    assert [one.id for one in workspace.environments.lint("tool").findings if one.id == "no-wheel"] == []
    chosen = workspace.parts.locks.current(version.definition_hash, "linux/arm64")
    assert chosen is not None
    workspace.parts.locks.pin(version.id, "linux/arm64", chosen.lock_digest, "solved")
    [one] = [one for one in workspace.environments.lint("tool:1").findings if one.id == "no-wheel"]
    assert (one.file, one.fixable) == ("tool:1", False)
    assert "linux/arm64" in one.message
