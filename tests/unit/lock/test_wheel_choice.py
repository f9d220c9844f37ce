"""Which file of a release an installer would take."""

from __future__ import annotations

import itertools

import pytest

from wardian.definition.platform import get_platform, with_declared
from wardian.lock.wheel_choice import best_wheel

LINUX = get_platform("linux/amd64")

FILES = [
    "a-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "a-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
    "a-1.0-cp39-abi3-manylinux_2_28_x86_64.whl",
    "a-1.0-py3-none-any.whl",
    "a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
    "a-1.0-cp311-cp311-musllinux_1_1_x86_64.whl",
    "a-1.0-cp311-cp311-macosx_11_0_arm64.whl",
    "a-1.0-cp311-cp311-win_amd64.whl",
]


@pytest.mark.parametrize(
    ("files", "platform", "python", "chosen"),
    [
        (FILES, "linux/amd64", "3.11.7", FILES[0]),
        (FILES[1:], "linux/amd64", "3.11.7", FILES[1]),
        (FILES[2:], "linux/amd64", "3.11.7", FILES[2]),
        (FILES[3:4] + FILES[5:], "linux/amd64", "3.11.7", FILES[3]),
        (FILES[4:], "linux/amd64", "3.11.7", None),
        (FILES, "linux/amd64", "3.12.1", FILES[4]),
        (FILES, "darwin/arm64", "3.11.7", FILES[6]),
        (FILES, "darwin/amd64", "3.11.7", FILES[3]),
        (FILES, "windows/amd64", "3.11.7", FILES[7]),
        (["a-1.0-py3-none-any.whl", "a-1.0-2-py3-none-any.whl", "a-1.0-1-py3-none-any.whl"], "linux/amd64", "3.11.7", "a-1.0-2-py3-none-any.whl"),
        (["not a wheel", "a.whl"], "linux/amd64", "3.11.7", None),
        (["a-1.0-cp311-cp311-manylinux_2_31_x86_64.whl"], "linux/amd64", "3.11.7", None),
    ],
)  # fmt: skip
def test_the_best_wheel(files: list[str], platform: str, python: str, chosen: str | None) -> None:
    assert best_wheel(files, get_platform(platform), python) == chosen


def test_the_order_of_the_files_does_not_matter() -> None:
    for some in itertools.permutations(FILES[:5]):
        assert best_wheel(some, LINUX, "3.11.7") == FILES[0]


def test_a_declared_glibc_admits_newer_wheels() -> None:
    newer = with_declared(LINUX, {"glibc": "2.34"})
    assert best_wheel(["a-1.0-cp311-cp311-manylinux_2_31_x86_64.whl"], newer, "3.11.7") is not None
    assert newer.uv == "x86_64-manylinux_2_34"
    assert with_declared(LINUX, {"cuda": "12.4"}).uv == LINUX.uv
    assert dict(with_declared(LINUX, {"cuda": "12.4"}).virtual)["__cuda"] == "12.4"


def test_against_packaging_on_this_machine() -> None:
    import platform
    import sys

    from packaging import tags

    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the machine is not linux/amd64")
    from wardian.lock.wheel_choice import tag_ranks

    ours = [str(tag) for tag, _ in sorted(tag_ranks(LINUX, platform.python_version()).items(), key=lambda item: item[1])]
    theirs = [str(tag) for tag in tags.sys_tags() if "manylinux" in str(tag) or "-any" in str(tag) or "-linux_" in str(tag)]
    shared = [tag for tag in theirs if tag in set(ours)]
    assert [tag for tag in ours if tag in set(theirs)] == shared
    assert len(shared) > 50
