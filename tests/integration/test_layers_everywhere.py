"""The same packages are the same layers, whoever makes them, where and with what."""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.accounts import NOBODY, REPOSITORY, USER, command_of, why_not
from tests.support.pythons import installed_pythons, python_for
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.pythons import Catalogue

_LIBRARIES = ("zstandard", "zlib-ng", "installer", "packaging", "platformdirs")


def prepare(place: Path, standalone: Path, seed: int) -> Path:
    """Lay out what layers are made of, written in an order of its own."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    (place / "wheels").mkdir(parents=True)
    shutil.copy(standalone, place / "python.tar.gz")
    files = {f"alpha/m{n}.py": f"def f{n}(x):\n    return x in {{'a', 'b{n}', None, 1}}\n" for n in range(40)}
    odd = {"alpha/dates é.txt": "é", "alpha-1.0.data/scripts/tool": "#!python\nprint(1)\n", "alpha/bad.py": "x ="}
    make_wheel(place / "wheels", "alpha", "1.0", files={**files, **odd}, entry_points={"alpha": "alpha.m1:f1"})
    make_wheel(place / "wheels", "beta", "2.0", files={"beta/__init__.py": "", "beta/data.bin": bytes(range(256)) * 30_000})
    names = [f"share/d{n % 5}/file {n} é" for n in range(60)]
    chance.shuffle(names)
    for name in names:
        (place / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "tree" / name).write_text(name)
    return place


def made(
    place: Path, jobs: int, *, python: Path | str = sys.executable, wrapper: Sequence[str] = (), umask: int = 0o022,
    variables: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:  # fmt: skip
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "PYTHONPATH": str(REPOSITORY / "src"), **(variables or {})}
    command = [*wrapper, str(python), "-B", "-m", "tests.support.layer_digests", str(place), str(jobs)]
    answer = subprocess.run(command, cwd=REPOSITORY, env=env, umask=umask, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr.decode()
    found: dict[str, list[str]] = json.loads(answer.stdout)
    return found


@pytest.fixture(scope="module")
def standalone(python_catalogue: Catalogue) -> Path:
    return python_catalogue.archive(next(iter(python_catalogue.entries)).split("-")[1])


@pytest.fixture(scope="module")
def reference(standalone: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    found = made(prepare(tmp_path_factory.mktemp("reference"), standalone, 0), 1)
    assert len(found) == len({digest for digest, _ in found.values()}) == 7
    assert len({diff_id for _, diff_id in found.values()}) == 4
    return found


def test_elsewhere_with_another_umask_time_zone_and_locale_and_more_jobs(
    reference: dict[str, list[str]], standalone: Path, tmp_path: Path
) -> None:
    place = prepare(tmp_path / "somewhere else é" / "deep" / "down", standalone, 1)
    variables = {
        "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "5",
        "SOURCE_DATE_EPOCH": "1", "PYTHONOPTIMIZE": "2",
    }  # fmt: skip
    assert made(place, 3, umask=0o077, variables=variables) == reference


def test_by_an_ordinary_user(reference: dict[str, list[str]], standalone: Path) -> None:
    if why := why_not(USER):
        pytest.skip(why)
    with tempfile.TemporaryDirectory() as outside:  # pytest's own directories are closed to others
        place = prepare(Path(outside), standalone, 2)
        for path in [place, *place.rglob("*")] if os.geteuid() == 0 else []:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        assert made(place, 2, wrapper=command_of(USER, place)) == reference


@pytest.mark.network
@pytest.mark.parametrize("minor", ["3.11", "3.12", "3.13"])
def test_with_another_python(minor: str, reference: dict[str, list[str]], standalone: Path, tmp_path: Path) -> None:
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == minor:
        others = [path for version, path in installed_pythons() if version.startswith(f"{minor}.")]
        python = next((path for path in others if path != Path(sys.executable).resolve()), None)
    else:
        python = python_for(minor)
    if python is None:
        pytest.skip(f"there is no other Python {minor} on this machine")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", python, tmp_path / "venv"], check=True)
    target = str(tmp_path / "venv" / "bin" / "python")
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in _LIBRARIES]
    subprocess.run([*uv, "pip", "install", "-q", "--python", target, *pins], check=True)
    assert made(prepare(tmp_path / "place", standalone, 3), 2, python=target) == reference
