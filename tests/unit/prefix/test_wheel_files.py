"""Files of wheels that were changed after they were unpacked are found, and nothing is read that was not touched."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.prefix.wheel_files import changed_wheels, forget

CONTENT = "version = '1.0'\n"


class Place:
    """An unpacked wheel, and prefixes whose files are links to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = root / "memory"
        self.wheel = make_wheel(root, "Al.Pha", "1.0", files={"alpha/__init__.py": CONTENT, "alpha/data, with comma.bin": b"x" * 100},
                                entry_points={"al": "alpha:main"})  # fmt: skip
        self.sha256 = Digest.of_file(self.wheel)
        self.unpacked = root / "unpacked"
        with zipfile.ZipFile(self.wheel) as archive:
            archive.extractall(self.unpacked)

    def install(self, name: str = "prefix") -> list[Digest]:
        site = self.root / name / "lib/python3.12/site-packages"
        for path in self.unpacked.rglob("*"):
            if path.is_file():
                target = site / path.relative_to(self.unpacked)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.hardlink_to(path)
        (site / "al_pha-1.0.dist-info" / "INSTALLER").write_text("tests")
        return changed_wheels(self.root / name, {self.sha256: self.wheel}, self.memory)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    assert found.install("first") == []
    return found


def test_what_was_not_touched_is_not_read(place: Place) -> None:
    place.wheel.unlink()
    assert place.install() == []


def test_what_the_installer_writes_anew_does_not_count(place: Place) -> None:
    (place.unpacked / "al_pha-1.0.dist-info" / "REQUESTED").write_text("")
    place.wheel.unlink()
    assert place.install() == []


def same_size(path: Path) -> None:
    path.write_text(CONTENT.replace("1", "6"))


def other_time(path: Path) -> None:
    before = path.stat()
    path.write_text(CONTENT + "# more\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_file(path: Path) -> None:
    path.unlink()
    path.write_text("x = 1\n")


@pytest.mark.parametrize("change", [same_size, other_time, other_file, Path.unlink])
def test_a_changed_file_is_found(place: Place, change: object) -> None:
    change(place.unpacked / "alpha/__init__.py")  # type: ignore[operator]
    assert place.install() == [place.sha256]
    assert place.install("again") == [place.sha256], "nor is it remembered as sound"


@pytest.mark.parametrize(
    "name", ["alpha/data, with comma.bin", "al_pha-1.0.dist-info/METADATA", "al_pha-1.0.dist-info/entry_points.txt"]
)
def test_every_file_of_the_archive_counts(place: Place, name: str) -> None:
    (place.unpacked / name).write_bytes(b"y" * (place.unpacked / name).stat().st_size)
    assert place.install() == [place.sha256]


def test_a_touched_file_that_is_the_same_is_read_once(place: Place) -> None:
    os.utime(place.unpacked / "alpha/__init__.py")
    assert place.install() == []
    place.wheel.unlink()
    assert place.install("again") == []


def test_a_wheel_that_is_not_there_at_all_is_found(place: Place) -> None:
    other = make_wheel(place.root, "beta", "1.0")
    digest = Digest.of_file(other)
    assert changed_wheels(place.root / "first", {digest: other}, place.memory) == [digest]


def test_what_is_forgotten_is_trusted_like_the_first_time(place: Place) -> None:
    same_size(place.unpacked / "alpha/__init__.py")
    forget(place.memory, place.sha256)
    forget(place.memory, place.sha256)
    assert place.install() == []


def test_a_memory_that_cannot_be_written_is_no_error(place: Place) -> None:
    place.memory = place.wheel / "below a file"
    assert place.install() == []


def test_a_file_that_another_wheel_has_too_may_be_either_ones(place: Place) -> None:
    other = make_wheel(place.root, "other", "1.0", files={"alpha/__init__.py": "version = 'other'\n"})
    site = place.root / "both/lib/python3.12/site-packages"
    with zipfile.ZipFile(place.wheel) as first, zipfile.ZipFile(other) as later:
        first.extractall(site)
        later.extractall(site)
    wheels = {place.sha256: place.wheel, Digest.of_file(other): other}
    assert changed_wheels(place.root / "both", wheels, place.memory) == []
    (site / "alpha/__init__.py").write_text("version = 'of nobody'\n")
    assert changed_wheels(place.root / "both", wheels, place.memory) == list(wheels)
