"""What valid archives are said to hold, in every format; reading single members; unpacking standalone Pythons."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.support import hostile
from tests.support.conda_channel import File, Package, activating, clobbering, greeter, python_package, scripted
from tests.support.pythons import installed_pythons
from tests.support.wheels import make_sdist, make_wheel

from wardian.errors import BadArchive
from wardian.package.archive import extract_python, read_text_members, validate_archive
from wardian.package.archive_paths import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pythons import Catalogue


def test_a_wheel_says_its_normalised_name_and_its_files(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path, "My.Alpha", "1.0.0", files={"my_alpha/__init__.py": "x = 1\n", "my_alpha-1.0.0.data/scripts/run": "#!python\n"},
        entry_points={"alpha": "my_alpha:main"},
    )  # fmt: skip
    content = validate_archive(wheel, "wheel")
    assert (content.kind, content.name, content.version, content.build) == ("wheel", "my-alpha", "1.0.0", "")
    assert dict(content.files)["my_alpha/__init__.py"] == 6
    assert len(content.files) == 6
    assert content.links == ()


def test_a_local_version_and_a_build_tag_are_understood(tmp_path: Path) -> None:
    plain = make_wheel(tmp_path, "torchish", "2.1.0+cu121", tag="cp311-cp311-manylinux_2_28_x86_64")
    assert validate_archive(plain, "wheel").version == "2.1.0+cu121"
    tagged = plain.rename(tmp_path / "torchish-2.1.0+cu121-1-cp311-cp311-manylinux_2_28_x86_64.whl")
    assert validate_archive(tagged, "wheel").version == "2.1.0+cu121"


@pytest.mark.parametrize(
    "package", [greeter(), scripted(), activating(), *clobbering(), Package("old", kind=".tar.bz2", files={"a": "b"})]
)
def test_a_conda_package_says_name_version_build_and_its_files(package: Package, tmp_path: Path) -> None:
    path = tmp_path / package.file_name
    path.write_bytes(package.archive)
    content = validate_archive(path, "conda")
    assert (content.name, content.version, content.build) == (package.name, package.version, package.build)
    named = {name for name, _ in content.files if not name.startswith("info/")} | dict(content.links).keys()
    assert named == package.files.keys()


def test_rattler_unpacks_exactly_the_members_that_were_validated(tmp_path: Path) -> None:
    from rattler.package_streaming import extract

    linked = Package(
        "linked", files={"lib/a.so": File(link="b.so"), "lib/b.so": b"x" * 3000, "share/deep/c": File(link="../../lib/b.so")}
    )
    for package in (linked, python_package(), greeter()):
        path = tmp_path / package.file_name
        path.write_bytes(package.archive)
        content = validate_archive(path, "conda")
        target = tmp_path / package.name
        extract(path, target)
        there = {p.relative_to(target).as_posix(): p for p in target.rglob("*") if p.is_symlink() or p.is_file()}
        assert there.keys() == dict(content.files).keys() | dict(content.links).keys()
        assert {name: there[name].stat().st_size for name, _ in content.files} == dict(content.files)
        assert {name: str(there[name].readlink()) for name, _ in content.links} == dict(content.links)


def test_an_sdist_says_what_its_metadata_says(tmp_path: Path) -> None:
    content = validate_archive(make_sdist(tmp_path, "My.Alpha", "1.0"), "sdist")
    assert (content.name, content.version) == ("my-alpha", "1.0")


def test_the_archive_of_a_vcs_host_needs_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "main.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("alpha-3f2a91/", b"")
        archive.writestr("alpha-3f2a91/pyproject.toml", b"[project]\n")
    content = validate_archive(path, "sdist")
    assert (content.name, content.version, len(content.files)) == ("", "", 1)


def test_a_jar_is_only_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0.jar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n")
    assert validate_archive(path, "jar").expanded_bytes == 22
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadArchive):
        validate_archive(path, "jar")


def test_a_bomb_of_real_bytes_is_stopped_at_its_limit(tmp_path: Path) -> None:
    limits = Limits(expanded_bytes=1 << 20, free_bytes=1 << 20)
    package = Package("bomb", files={f"share/{i}": b"\0" * (1 << 18) for i in range(8)})
    (tmp_path / package.file_name).write_bytes(package.archive)
    wheel = make_wheel(tmp_path, "bomb", "1.0", files={"bomb.py": b"#" * (2 << 20)})
    for path, kind in ((tmp_path / package.file_name, "conda"), (wheel, "wheel")):
        assert validate_archive(path, kind).expanded_bytes >= 2 << 20
        with pytest.raises(BadArchive) as refused:
            validate_archive(path, kind, limits=limits)
        assert refused.value.stable_code == "archive_bomb"
    with pytest.raises(BadArchive) as refused:
        validate_archive(wheel, "wheel", limits=Limits(members=3))
    assert refused.value.stable_code == "archive_bomb"


def test_nuls_after_the_last_member_count_as_expansion(tmp_path: Path) -> None:
    path = tmp_path / "cpython-3.12.1-x.tar.zst"
    plain = zstandard.ZstdCompressor().compressobj()
    pieces = [plain.compress(hostile._tar(hostile._python_members()))]
    pieces += [plain.compress(b"\0" * (1 << 20)) for _ in range(100)]
    path.write_bytes(b"".join([*pieces, plain.flush()]))
    assert validate_archive(path, "python").version == "3.12"
    with pytest.raises(BadArchive) as refused:
        validate_archive(path, "python", limits=Limits(free_bytes=1 << 20, ratio=1))
    assert refused.value.stable_code == "archive_bomb"


def test_single_members_are_read(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", "1.0", requires=["beta"])
    (metadata,) = read_text_members(wheel, "wheel", "*.dist-info/METADATA").values()
    assert "Requires-Dist: beta\n" in metadata
    path = tmp_path / greeter().file_name
    path.write_bytes(greeter().archive)
    (index,) = read_text_members(path, "conda", "info/index.json").values()
    assert '"name": "greeter"' in index
    assert read_text_members(path, "conda", "*.dist-info/METADATA").keys() == {"site-packages/greeter-1.0.dist-info/METADATA"}
    (about,) = read_text_members(make_sdist(tmp_path, "beta", "2.0"), "sdist", "*/PKG-INFO").values()
    assert "Name: beta" in about
    assert read_text_members(path, "conda", "info/absent") == {}


def test_a_standalone_python_is_unpacked_and_runs(python_catalogue: Catalogue, tmp_path: Path) -> None:
    version = installed_pythons()[0][0]
    archive = python_catalogue.archive(version)
    content = validate_archive(archive, "python")
    assert (content.name, content.version) == ("cpython", version.rpartition(".")[0])
    target = tmp_path / "deep" / "python"
    extract_python(archive, target)
    told = subprocess.run(
        [target / "bin/python3", "-c", "import ssl, sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(target)
    assert [p.name for p in target.parent.iterdir()] == ["python"]
    before = target.stat().st_mtime_ns
    extract_python(archive, target)
    assert target.stat().st_mtime_ns == before


def test_a_hostile_python_leaves_nothing_behind(tmp_path: Path) -> None:
    archive = tmp_path / hostile.PYTHON_FILE
    archive.write_bytes(hostile.hostile_pythons()["link beside python/"][0])
    with pytest.raises(BadArchive):
        extract_python(archive, tmp_path / "out" / "python")
    assert not (tmp_path / "out").exists()


def test_many_unpack_one_python_at_once(tmp_path: Path) -> None:
    archive = tmp_path / hostile.PYTHON_FILE
    archive.write_bytes(hostile.good_python())
    target, failed = tmp_path / "out" / "python", []

    def unpack() -> None:
        try:
            extract_python(archive, target)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=unpack) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [p.name for p in target.parent.iterdir()] == ["python"]
    assert (target / "bin/python3.12").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_read_is_not_called_hostile(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        validate_archive(tmp_path / "absent-1.0-py3-none-any.whl", "wheel")


def test_validation_imports_nothing_slow_until_it_is_used() -> None:
    code = "import sys, wardian.package.archive; print([m for m in ('zstandard', 'packaging', 'requests', 'yaml') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_uv_installs_what_was_accepted_and_nothing_else(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path, "alpha", "1.0", entry_points={"alpha": "alpha:main"}, files={"alpha/__init__.py": "def main(): pass\n"}
    )
    content = validate_archive(wheel, "wheel")
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "-q",
        "--offline",
        "--no-index",
        "--target",
        str(tmp_path / "t"),
        str(wheel),
    ]
    subprocess.run(command, check=True, timeout=60)
    there = {p.relative_to(tmp_path / "t").as_posix() for p in (tmp_path / "t").rglob("*") if p.is_file()}
    added = {
        "bin/alpha",
        ".lock",
        "alpha-1.0.dist-info/INSTALLER",
        "alpha-1.0.dist-info/REQUESTED",
        "alpha-1.0.dist-info/direct_url.json",
    }
    assert dict(content.files).keys() <= there
    assert {p for p in there - dict(content.files).keys() if not p.startswith("alpha-1.0.dist-info/uv_")} <= added


def test_a_tar_inside_that_is_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hostile-1.0.tar.gz"
    with tarfile.open(path, "w") as archive:  # not compressed at all
        archive.addfile(tarfile.TarInfo("hostile-1.0/x"))
    with pytest.raises(BadArchive) as refused:
        validate_archive(path, "sdist")
    assert refused.value.stable_code == "not_an_archive"
