"""A repacked Python runs from elsewhere, and uv installs it from its catalogue over file and HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.support.pythons import installed_pythons

from wardian.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pythons import Catalogue

CHECK = "import ssl, sqlite3, ctypes, zlib, lzma, sys; print(sys.prefix); print(sys.version.split()[0])"


@pytest.fixture(scope="module")
def version() -> str:
    return installed_pythons()[0][0]


def test_every_interpreter_is_real_and_there_once() -> None:
    pythons = installed_pythons()
    assert len({path for _, path in pythons}) == len(pythons)
    for version, path in pythons:
        told = subprocess.run([path, "-V"], capture_output=True, text=True, check=True)
        assert told.stdout.split() == ["Python", version]


def test_it_runs_where_it_is_unpacked(python_catalogue: Catalogue, version: str, tmp_path: Path) -> None:
    with tarfile.open(python_catalogue.archive(version)) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path, filter="data")
    assert {name.split("/")[0] for name in names} == {"python"}
    assert not [name for name in names if "/test/" in name or "site-packages/" in name]
    told = subprocess.run([tmp_path / "python/bin/python3", "-I", "-c", CHECK], capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(tmp_path / "python"), version]
    maps = "import sys; print(open('/proc/self/maps').read())"
    loaded = subprocess.run([tmp_path / "python/bin/python3", "-c", maps], capture_output=True, text=True, check=True).stdout
    assert not [line for line in loaded.splitlines() if "libpython" in line and str(tmp_path) not in line]


def test_uv_installs_it_over_file_and_http(python_catalogue: Catalogue, version: str, tmp_path: Path) -> None:
    with python_catalogue.served() as (server, url):
        for place, source in (("a", python_catalogue.url), ("b", url)):
            env = {**os.environ, "UV_PYTHON_DOWNLOADS_JSON_URL": source, "UV_PYTHON_INSTALL_DIR": str(tmp_path / place)}
            command = [sys.executable, "-m", "uv", "python", "install", version, "--no-bin", "-q"]
            subprocess.run(command, env=env, check=True, timeout=60)
            (python,) = (tmp_path / place).glob(f"cpython-{version}-*/bin/python3.*[0-9]")
            assert version in subprocess.run([python, "-c", CHECK], capture_output=True, text=True, check=True).stdout
        archive = python_catalogue.archive(version)
        assert [r.path for r in server.requests] == ["/catalogue-http.json", f"/{archive.name}"]
    assert {e["sha256"] for e in python_catalogue.entries.values()} == {Digest.of_file(archive)}
