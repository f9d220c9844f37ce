from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.errors import InvalidInput, NotFound
from wardian.image.context import EPOCH_S, stage_context

if TYPE_CHECKING:
    from pathlib import Path


def a_context(place: Path) -> Path:
    (place / "sub").mkdir(parents=True)
    (place / "Dockerfile").write_text("FROM a\n")
    (place / "sub/run.sh").write_text("x")
    (place / "sub/run.sh").chmod(0o700)
    (place / "link").symlink_to("sub/run.sh")
    return place


def test_the_copy_is_what_the_digest_covers_with_fixed_modes_and_times(tmp_path: Path) -> None:
    source = a_context(tmp_path / "source")
    (source / ".gitignore").write_text("*.secret\n")
    (source / "a.secret").write_text("x")
    (source / ".git").mkdir()
    (source / ".git/config").write_text("x")
    place = stage_context(source, tmp_path / "copy").parent
    found = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
    assert found == [".gitignore", "Dockerfile", "link", "sub", "sub/run.sh"]
    assert (place / "sub/run.sh").stat().st_mode & 0o777 == 0o755
    assert (place / "Dockerfile").stat().st_mode & 0o777 == 0o644
    assert str((place / "link").readlink()) == "sub/run.sh"
    assert {path.lstat().st_mtime for path in (place, *place.rglob("*"))} == {float(EPOCH_S)}


def test_the_first_ignore_file_is_the_one_that_every_builder_knows(tmp_path: Path) -> None:
    source = a_context(tmp_path / "source")
    (source / ".dockerignore").write_text("docker\n")
    (source / ".containerignore").write_text("container\n")
    place = stage_context(source, tmp_path / "copy").parent
    assert (place / ".dockerignore").read_text() == "container\n"


def test_a_dockerfile_that_is_missing_or_ignored_is_named(tmp_path: Path) -> None:
    source = a_context(tmp_path / "source")
    (source / ".wardianignore").write_text("Dockerfile\n")
    for name in ("Dockerfile", "other/Dockerfile"):
        with pytest.raises(NotFound, match=name):
            stage_context(source, tmp_path / "copy", dockerfile=name)
    assert not (tmp_path / "copy").exists()


def test_a_link_out_of_the_context_is_refused(tmp_path: Path) -> None:
    source = a_context(tmp_path / "source")
    (source / "out").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput):
        stage_context(source, tmp_path / "copy")
