"""Builds of images leave a record, however early they fail; what needs no build leaves none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.wheels import make_wheel

from wardian.errors import WardianError
from wardian.sdk.workspace import Workspace
from wardian.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index


def test_a_build_that_fails_before_its_first_layer_has_a_record(tmp_path: Path, index: Index) -> None:
    catalogue = tmp_path / "no-pythons.json"
    catalogue.write_text("{}")
    base = f"oci:{tmp_path}/nowhere:debian"
    settings = Settings(
        home=tmp_path / "home", cache=tmp_path / "cache", indexes={"pypi": index.url}, python_downloads=str(catalogue), base_image=base
    )  # fmt: skip
    workspace = Workspace(settings)
    index.add(make_wheel(tmp_path, "alpha", "1.0"))
    (tmp_path / "requirements.txt").write_text("alpha\n")
    version = workspace.environments.register_file(tmp_path / "requirements.txt")
    with pytest.raises(WardianError) as caught:
        workspace.images.build(version)
    (record,) = workspace.parts.builds.list(kind="image").items
    assert (record.state, record.code, record.subject) == ("failed", caught.value.stable_code, str(version))
    assert caught.value.details["build_id"] == record.id
