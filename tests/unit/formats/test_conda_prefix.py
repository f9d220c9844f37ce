"""Installed conda environments read as definitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from wardian.definition.environment import Environment
from wardian.errors import InvalidInput, NotFound
from wardian.formats.conda_prefix import read_prefix

if TYPE_CHECKING:
    from pathlib import Path


def record(name: str, version: str, build: str, channel: str, files: tuple[str, ...] = ()) -> dict[str, object]:
    return {"name": name, "version": version, "build": build, "channel": channel, "files": list(files)}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    place = tmp_path / "envs" / "mine"
    meta = place / "conda-meta"
    meta.mkdir(parents=True)
    forge = "https://conda.anaconda.org/conda-forge/linux-64"
    site = "lib/python3.11/site-packages"
    for one in (
        record("python", "3.11.7", "h1_0", forge),
        record("NumPy", "1.26.4", "py311_0", forge, (f"{site}/numpy-1.26.4.dist-info/METADATA",)),
        record("libblas", "3.9.0", "1", "https://corp.example/channel/noarch"),
    ):
        (meta / f"{one['name']}.json").write_text(json.dumps(one))
    (meta / "history").write_text(
        "==> 2024-01-01 00:00:00 <==\n# cmd: conda create -n mine python=3.11 numpy pandas\n# create specs: ['python=3.11', 'numpy', 'pandas']\n"
        "==> 2024-02-01 00:00:00 <==\n# update specs: ['numpy[version=\\'>=1.26\\']', \"libblas\"]\n# remove specs: ['pandas']\n"
    )
    for name, version in (("numpy", "1.26.4"), ("My_Package", "0.1")):
        info = place / site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\ntext\n")
    return place


def test_what_was_asked_for(prefix: Path) -> None:
    found = Environment.from_existing_conda_environment("copy", prefix)
    assert found.name == "copy"
    assert found.python.manager == "conda"
    assert found.python.channels == ("conda-forge", "https://corp.example/channel")
    assert found.python.conda[0] == "python=3.11"
    assert {spec.split("[")[0] for spec in found.python.conda} == {"python=3.11", "numpy", "libblas"}
    assert found.python.pip == ("my-package==0.1",)


def test_exactly_what_is_there(prefix: Path) -> None:
    found = read_prefix(prefix, exact=True)
    assert set(found.python.conda) == {"python=3.11.7=h1_0", "numpy=1.26.4=py311_0", "libblas=3.9.0=1"}


def test_by_the_name_that_conda_knows(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text(f"{prefix}\n")
    assert read_prefix("mine", home=tmp_path).python.channels[0] == "conda-forge"
    with pytest.raises(NotFound, match="other") as caught:
        read_prefix("other", home=tmp_path)
    assert "mine" in (caught.value.hint or "")


def test_a_damaged_record_is_named(prefix: Path) -> None:
    (prefix / "conda-meta" / "broken.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"broken\.json"):
        read_prefix(prefix)


def test_no_history_gives_every_package(prefix: Path) -> None:
    (prefix / "conda-meta" / "history").unlink()
    assert "libblas=3.9.0" in read_prefix(prefix).python.conda


def test_a_directory_without_records_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_prefix(tmp_path)
