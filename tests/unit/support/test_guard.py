"""The guard over the real home really fails a test that touches it; markers skip with a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from tests.support.index import Index

ROOT = Path(__file__).parents[3]
INNER = """
import os
from pathlib import Path
import pytest

REAL = Path(os.environ["PRETENDED_HOME"])

def test_escapes():
    (REAL / ".local/share/wardian/workspaces").mkdir(parents=True)

def test_stays():
    assert Path.home() != REAL
    assert not os.environ["WARDIAN_HOME"].startswith(str(REAL))
    assert "UV_INDEX_URL" not in os.environ
    (Path.home() / ".local/share/wardian").mkdir(parents=True)

@pytest.mark.network
def test_knows_the_machines_index(monkeypatch):
    assert os.environ["UV_INDEX_URL"].startswith("http://127.0.0.1:")

@pytest.mark.slow
def test_takes_long():
    raise AssertionError("not asked for")
"""


def test_the_guard(tmp_path: Path, index: Index) -> None:
    index.add(make_wheel(tmp_path / "wheels", "packaging", "1.0"))  # what the first network test asks the machine's index for
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "test_inner.py").write_text(INNER)
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = network\n    slow\n    root\n    npm\n")
    env = {
        **os.environ,
        "HOME": str(home),
        "PRETENDED_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "UV_INDEX_URL": index.url,
        "UV_HTTP_RETRIES": "0",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "no:benchmark", str(tmp_path)]
    told = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120).stdout
    assert "ERROR test_inner.py::test_escapes" in told
    assert f"touched the real home: {home / '.local/share/wardian'}" in told
    assert "PASSED test_inner.py::test_stays" in told
    assert "slow: run with --slow" in told
    assert "PASSED test_inner.py::test_knows_the_machines_index" in told
    index.stop()
    told = subprocess.run(
        [*command, "-k", "machines_index"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120
    ).stdout
    assert "this machine's package index does not answer" in told
