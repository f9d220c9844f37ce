"""Solving over a channel of 400,000 records: time and peak memory, stated."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.conftest import Stated

ROOT = Path(__file__).resolve().parent.parent
NAMES, VERSIONS, BUILDS = 20_000, 5, 4  # 400,000 records
CORE = 200  # what most packages depend on
WANTED = 40
_SOLVE = """
import resource, sys, time
from pathlib import Path
from tests.support.conda_solving import a_request, a_solver
from wardian.events import silent
place, url, *wanted = sys.argv[1:]
start = time.perf_counter()
found = a_solver(Path(place), timeout_s=30.0).solve_conda(a_request(*wanted, channels=[url]), silent)
took = time.perf_counter() - start
print(len(found), took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel whose packages depend on earlier ones, built for four Pythons each; only its repodata exists."""
    place = tmp_path_factory.mktemp("big")
    source = random.Random(0)  # noqa: S311 - shapes, not secrets
    (place / "noarch").mkdir()
    (place / "noarch/repodata.json").write_text(
        json.dumps({"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": {}})
    )
    (place / "linux-64").mkdir()
    with (place / "linux-64/repodata.json").open("w") as out:
        out.write('{"info": {"subdir": "linux-64"}, "packages": {}, "packages.conda": {\n')
        for minor in range(10, 10 + BUILDS):
            out.write(_line("python", f"3.{minor}.1", f"h{minor}_0", []) + ",\n")
        for number in range(NAMES):
            needs = [source.randrange(min(number, CORE)) for _ in range(min(number, source.randrange(1, 6)))]
            for version in range(VERSIONS):
                for build in range(BUILDS):
                    depends = [
                        f"python >=3.{10 + build},<3.{11 + build}.0a0",
                        *(f"package-{need} >={source.randrange(version + 1)}.0" for need in needs),
                    ]
                    end = "\n" if (number, version, build) == (NAMES - 1, VERSIONS - 1, BUILDS - 1) else ",\n"
                    out.write(
                        _line(f"package-{number}", f"{version}.{number % 10}.0", f"py3{10 + build}h1234567_{version}", depends)
                        + end
                    )
        out.write('}, "repodata_version": 1}')
    return place


def _line(name: str, version: str, build: str, depends: list[str]) -> str:
    record = {"name": name, "version": version, "build": build, "build_number": 0, "depends": depends, "subdir": "linux-64",
              "license": "BSD-3-Clause", "md5": f"{hash(name + version + build) & (1 << 128) - 1:032x}", "size": 123456,
              "sha256": f"{abs(hash((name, version, build))):064x}", "timestamp": 1704067200000}  # fmt: skip
    return f'"{name}-{version}-{build}.conda": {json.dumps(record)}'


def test_solve(channel: Path, tmp_path: Path, stated: Stated, fact: Callable[[str, str], None]) -> None:
    wanted = [f"package-{NAMES - 1 - i * 97}" for i in range(WANTED)]

    def solve() -> list[str]:
        command: list[Any] = [sys.executable, "-c", _SOLVE, tmp_path, channel.as_uri(), *wanted]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ}).stdout.split()

    found, took, peak = stated(f"conda solve over {NAMES * VERSIONS * BUILDS:,} records, process start included", solve)
    size = (channel / "linux-64/repodata.json").stat().st_size
    fact("packages found", found)
    fact("solve alone", f"{float(took):.2f} s")
    fact("peak memory", f"{float(peak) / 1e6:.0f} MB")
    fact("repodata", f"{size / 1e6:.0f} MB")
    assert int(found) > WANTED
