"""The wheel of the scoring server: its bytes, its metadata, and the oldest Python that it must run on."""

from __future__ import annotations

import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from tests.support.pythons import installed_pythons

from wardian.digest import Digest
from wardian.package.archive import validate_archive
from wardian.serving.server_wheel import REQUIRES, SOURCE, server_version, server_wheel
from wardian.serving.serving_set import serving_set

if TYPE_CHECKING:
    from pathlib import Path

_SCORE = """
import sys
sys.path.append(sys.argv[1])
import wardian_server.front, wardian_server.pool, wardian_server.start, wardian_server.worker, wardian_server.control
from wardian_server import aml, script
from wardian_server.config import settle
from wardian_server.http1 import Chunks, parse_head
from wardian_server.inputs import Request
config = settle(None, {"AZUREML_ENTRY_SCRIPT": "score.py", "AML_APP_ROOT": sys.argv[2]})
assert type(config).from_json(config.as_json()) == config
aml.install()
loaded = script.load(config)
loaded.init()
print(loaded.run(**loaded.input(Request("POST", "/score", [], b"[1, 2]"))))
assert parse_head(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n").path == b"/"
assert Chunks(9).feed(b"2\\r\\nok\\r\\n0\\r\\n\\r\\nrest") == b"rest"
"""


def test_wheel_is_the_same_on_every_machine(tmp_path: Path) -> None:
    first, second = server_wheel(tmp_path / "a"), server_wheel(tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.sha256 == Digest.of_file(first.path)
    assert first.size == first.path.stat().st_size
    assert first.path.name == f"wardian_server-{server_version()}-py3-none-any.whl"


def test_wheel_has_every_module_and_nothing_else(tmp_path: Path) -> None:
    wheel = server_wheel(tmp_path)
    validate_archive(wheel.path, "wheel")
    with zipfile.ZipFile(wheel.path) as archive:
        assert archive.testzip() is None
        names = {name.rpartition("/")[2] for name in archive.namelist() if name.startswith("wardian_server/")}
        metadata = archive.read(f"wardian_server-{wheel.version}.dist-info/METADATA").decode()
    assert names == {path.name for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist")] == list(REQUIRES)
    assert "Requires-Python: >=3.9\n" in metadata


def test_pinned_packages_are_what_the_wheel_requires() -> None:
    pinned = {
        (p.artifact.name, p.artifact.version)
        for python in serving_set().pythons.values()
        for closure in python
        for p in closure.values()
    }
    for text in REQUIRES:
        requirement = Requirement(text)
        versions = [version for name, version in pinned if name == requirement.name]
        assert versions
        assert all(requirement.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("minor", ["3.9", "3.13"])
def test_server_runs_on_other_pythons(minor: str, tmp_path: Path) -> None:
    found = [path for version, path in installed_pythons() if version.startswith(f"{minor}.")]
    if not found:
        pytest.skip(f"no Python {minor} on this machine")
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n")
    done = subprocess.run(
        [str(found[0]), "-B", "-c", _SCORE, str(SOURCE.parent), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[1, 2]\n", "")
