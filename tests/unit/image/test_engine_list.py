from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.definition.dockerfile import parse_dockerfile
from wardian.errors import NotFound
from wardian.image.builder import Recipe, choose_builder
from wardian.image.builder_buildah import BuildahBuilder, PodmanBuilder
from wardian.image.engine import EngineUnavailable
from wardian.image.engine_list import ENGINES, engine_named, first_engine, image_builders
from wardian.image.engine_way import Way

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


@pytest.mark.parametrize(("dockerfile", "is_off"), [
    ("FROM 127.0.0.1:5000/a:1\n", True),
    ("FROM localhost/a:1\nCOPY --from=127.0.0.1:5000/b /x /x\n", True),
    ("FROM 127.0.0.1:5000/a:1\nCOPY --from=quay.io/b/c /x /x\n", False),
    ("FROM 127.0.0.1.example.org/a\n", False),
    ("FROM debian\n", False),
])  # fmt: skip
def test_tls_is_never_switched_off_for_registries_elsewhere(tmp_path: Path, dockerfile: str, is_off: bool) -> None:
    recipe = Recipe(parse_dockerfile(dockerfile), tmp_path, tmp_path / "Dockerfile", "t:1", plain_http=True)
    for builder in (BuildahBuilder({}), PodmanBuilder({})):
        assert ("--tls-verify=false" in builder._argv(recipe, Way(), {})) == is_off
