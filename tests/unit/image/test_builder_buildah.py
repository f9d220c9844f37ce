"""What buildah as a builder learns from builds that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.definition.dockerfile import parse_dockerfile
from wardian.errors import BuildFailed
from wardian.image.builder import Recipe
from wardian.image.builder_buildah import BuildahBuilder
from wardian.image.engine_way import Way

if TYPE_CHECKING:
    from pathlib import Path

HYBRID = "crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2"
# in the place of buildah: only runc can start containers, and then the step fails as STEP says
BUILDAH = f"""#!/bin/sh
case "$*" in
  *"--runtime runc"*) echo "$STEP"; exit 1;;
  build*) echo "{HYBRID}"; exit 125;;
esac
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    place = tmp_path / "bin"
    place.mkdir()
    for name, text in (("buildah", BUILDAH), ("runc", "#!/bin/sh\n")):
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    return place


def failed(programs: Path, step: str) -> list[str]:
    """Return the log of a build whose step fails."""
    builder = BuildahBuilder({"PATH": f"{programs}:/usr/bin:/bin", "STEP": step}, memory=programs.parent / "memory")
    text = "FROM x\nRUN false\n"
    lines: list[str] = []
    with pytest.raises(BuildFailed):
        builder.build(Recipe(parse_dockerfile(text), programs, programs / "Dockerfile", "t:1"), programs / "out", lines.append)
    return lines


def test_the_way_that_was_found_is_remembered_though_the_step_fails(programs: Path) -> None:
    assert failed(programs, "exit status 1") == [HYBRID, f"once more, {Way('runc')}", "exit status 1"]
    assert failed(programs, "exit status 1") == ["exit status 1"]


def test_a_way_that_is_refused_too_is_not_remembered(programs: Path) -> None:
    for _ in range(2):
        assert failed(programs, HYBRID)[:3] == [HYBRID, f"once more, {Way('runc')}", HYBRID]
