"""Signatures of unpacked packages, over what rattler has really unpacked."""

from __future__ import annotations

import dataclasses
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.support.conda_channel import Channel, Package
from tests.support.conda_solving import archives_in, installed, solved

from wardian.digest import Digest
from wardian.package.unpacked import Unpacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wardian.lock.lock import Artifact


@pytest.fixture
def unpacked(tmp_path: Path) -> tuple[Unpacked, list[tuple[Artifact, Path]], Path]:
    channel = Channel(tmp_path / "channel").publish(Package("x", files={"share/x": "x\n", "share/deep/er": "y\n"}))
    installed(channel, tmp_path / "prefix", "x", cache=tmp_path)
    artifacts = solved(tmp_path, "x", channels=[channel.url])
    archives = archives_in(channel, artifacts)
    root = tmp_path / "conda-packages/unpacked"
    return Unpacked(root), [(a, archives[a.sha256]) for a in artifacts], next(root.glob("x-1.0-0-*/share/x"))


def write(path: Path) -> None:
    path.write_text("z\n")


def replace(path: Path) -> None:
    shutil.copy2(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def add(path: Path) -> None:
    path.with_name("extra").touch()


def link(path: Path) -> None:
    os.link(path, path.parents[4] / "link")


def forget(path: Path) -> None:
    shutil.rmtree(path.parents[3] / "validated")


@pytest.mark.parametrize(
    ("touch", "as_validated"),
    [
        (None, True),
        (link, True),
        (os.stat, True),
        (write, False),
        (replace, False),
        (os.unlink, False),
        (add, False),
        (forget, False),
    ],
)
def test_what_counts_as_touched(
    unpacked: tuple[Unpacked, list[tuple[Artifact, Path]], Path], touch: Callable[[Path], object] | None, *, as_validated: bool
) -> None:
    cache, packages, path = unpacked
    if touch is not None:
        touch(path)
    assert (cache.as_validated(packages) is not None) is as_validated
    cache.note_validated(packages)
    assert cache.as_validated(packages) is not None


def test_another_archive_of_the_same_name_is_another_package(
    unpacked: tuple[Unpacked, list[tuple[Artifact, Path]], Path], tmp_path: Path
) -> None:
    cache, packages, _ = unpacked
    assert cache.as_validated([(packages[0][0], tmp_path / "other" / packages[0][1].name)]) is None


def test_other_content_at_the_same_place_is_another_package(
    unpacked: tuple[Unpacked, list[tuple[Artifact, Path]], Path],
) -> None:
    cache, ((artifact, archive),), _ = unpacked
    assert cache.as_validated([(dataclasses.replace(artifact, sha256=Digest.of(b"other")), archive)]) is None


def test_the_paths_of_a_package_are_told(unpacked: tuple[Unpacked, list[tuple[Artifact, Path]], Path]) -> None:
    cache, packages, _ = unpacked
    (paths,) = cache.as_validated(packages) or [[]]
    assert [path for path in paths if not path.startswith("info/")] == ["share/deep/er", "share/x"]


def test_what_was_evicted_is_not_noted(unpacked: tuple[Unpacked, list[tuple[Artifact, Path]], Path]) -> None:
    cache, packages, path = unpacked
    shutil.rmtree(path.parents[1])
    cache.note_validated(packages)
    assert cache.as_validated(packages) is None
