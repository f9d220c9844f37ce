"""Chooses the wheel that a platform's installer would choose."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.tags import Tag

    from wardian.definition.platform import Platform

_OLD_MANYLINUX = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


@cache
def tag_ranks(platform: Platform, python_version: str) -> dict[Tag, int]:
    """Return each tag that CPython ``python_version`` accepts on ``platform``, best first.

    Source:   PEP 425, PEP 600; the platform's assumed glibc or macOS
    """
    from packaging import tags

    version = tuple(int(part) for part in python_version.split(".")[:2])
    nodot = "".join(str(part) for part in version)
    names = list(_platform_tags(platform))
    ordered = [
        *tags.cpython_tags(version, abis=[f"cp{nodot}"], platforms=names),
        *tags.compatible_tags(version, interpreter=f"cp{nodot}", platforms=names),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}


def _platform_tags(platform: Platform) -> Iterable[str]:
    from packaging import tags

    assumed = dict(platform.virtual)
    if platform.is_linux:
        arch = platform.machine
        newest = int(assumed["__glibc"].split(".")[1])
        oldest = 5 if arch == "x86_64" else 17
        yield f"linux_{arch}"
        for minor in range(newest, oldest - 1, -1):
            yield f"manylinux_2_{minor}_{arch}"
            if old := _OLD_MANYLINUX.get((2, minor)):
                yield f"{old}_{arch}"
    elif platform.name.startswith("darwin/"):
        major, minor = (int(part) for part in assumed["__osx"].split(".")[:2])
        yield from tags.mac_platforms((major, minor), platform.machine)
    else:
        yield "win_amd64"


def best_wheel(files: Iterable[str], platform: Platform, python_version: str) -> str | None:
    """Return the file name of the wheel to install, or None if none fits. The same names give the same answer in any order."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    ranks = tag_ranks(platform, python_version)
    best: tuple[int, tuple[int, str], str] | None = None
    for file in files:
        try:
            _, _, build, file_tags = parse_wheel_filename(file)
        except InvalidWheelFilename:
            continue
        fitting = [ranks[tag] for tag in file_tags if tag in ranks]
        if not fitting:
            continue
        number, text = build or (0, "")
        key = (min(fitting), (-number, text), file)  # highest build number first
        if best is None or key < best:
            best = key
    return best[2] if best else None
