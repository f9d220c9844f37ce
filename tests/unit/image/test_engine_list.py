from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.errors import NotFound
from wardian.image.builder import Recipe, choose_builder
from wardian.image.dockerfile import parse_dockerfile
from wardian.image.engine import EngineUnavailable
from wardian.image.engine_list import ENGINES, engine_named, first_engine, image_builders

if TYPE_CHECKING:
    from pathlib import Path


def test_engines_by_name(tmp_path: Path) -> None:
    assert [engine_named(name, {}, tmp_path).name for name in ENGINES] == ["podman", "docker"]
    with pytest.raises(NotFound, match="nerdctl"):
        engine_named("nerdctl", {}, tmp_path)


def test_without_any_engine_each_one_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"podman: podman is not installed; docker: docker is not installed") as caught:
        first_engine({"PATH": str(tmp_path)}, tmp_path)
    assert caught.value.stable_code == "no_engine"


def test_without_any_builder_each_one_says_why(tmp_path: Path) -> None:
    builders = image_builders({"PATH": str(tmp_path)}, tmp_path)
    assert [builder.name for builder in builders] == ["buildkit", "buildah", "podman", "docker"]
    recipe = Recipe(parse_dockerfile("FROM a\n"), tmp_path, tmp_path / "Dockerfile", "t:1")
    with pytest.raises(
        EngineUnavailable, match=r"not buildkit: docker is not installed; not buildah: buildah is not installed"
    ) as caught:
        choose_builder(builders, recipe)
    assert caught.value.stable_code == "no_builder"
