"""Installed conda environments read as definitions."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from tests.support.wheels import make_source_tree

from wardian.definition.environment import Environment
from wardian.errors import InvalidInput, NotFound
from wardian.formats.conda_prefix import read_conda, read_prefix

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


def test_what_no_channel_or_index_serves_is_reported(prefix: Path, tmp_path: Path) -> None:
    meta = prefix / "conda-meta"
    (meta / "mine.json").write_text(json.dumps(record("mine", "1", "0", "file:///home/ada/conda-bld/linux-64")))
    (meta / "team.json").write_text(
        json.dumps(record("team", "1", "0", "https://ada:pw@conda.example/t/ab-1234/team/linux-64"))
    )
    (meta / "broken.json").write_text("[" * 100_000)
    os.mkfifo(meta / "pipe.json")
    tree = make_source_tree(tmp_path / "local", "local-code", "1")
    info = prefix / "lib/python3.11/site-packages/local_code-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: local-code\nVersion: 1\n")
    (info / "direct_url.json").write_text(json.dumps({"url": tree.as_uri(), "dir_info": {"editable": True}}))
    read = read_conda(prefix, exact=True)
    assert "https://conda.example/team" in read.environment.python.channels
    assert read.environment.python.pip == ("local-code @ ./local-code", "my-package==0.1")
    assert list(read.sources.values()) == [tree]
    assert {fault.code for fault in read.warnings} == {"bad_conda_prefix", "not_on_an_index"}
    assert [loss.why.partition(":")[0] for loss in read.losses] == ["mine 1 is left out"]
    assert "mine" not in read.text
    assert "pw" not in read.text
    assert "ab-1234" not in read.text + "".join(map(str, read.warnings))


def test_without_history_the_records_say_what_was_asked_for(prefix: Path) -> None:
    (prefix / "conda-meta" / "history").write_text("==> 2024 <==\n# cmd: micromamba\n")
    python = prefix / "conda-meta" / "python.json"
    python.write_text(json.dumps({**json.loads(python.read_text()), "requested_spec": "python >=3.11"}))
    assert read_conda(prefix).environment.python.conda == ("python>=3.11",)


def test_a_spec_that_is_none_is_reported(prefix: Path) -> None:
    (prefix / "conda-meta" / "history").write_text("# create specs: ['python=3.11', '=[=']\n")
    read = read_conda(prefix)
    assert read.environment.python.conda == ("python=3.11",)
    assert [loss.why.partition(":")[0] for loss in read.losses] == [
        "`=[=` in conda's history is no match spec", "numpy 1.26.4 is left out", "libblas 3.9.0 is left out"
    ]  # fmt: skip


def test_what_nobody_asked_for_and_nothing_needs_is_told(prefix: Path) -> None:
    meta = prefix / "conda-meta"
    forge = "https://conda.anaconda.org/conda-forge/linux-64"
    (meta / "libblas.json").write_text(json.dumps({**record("libblas", "3.9.0", "1", forge), "depends": ["OpenBLAS >=0.3", "__glibc"]}))  # fmt: skip
    (meta / "openblas.json").write_text(json.dumps(record("openblas", "0.3.20", "0", forge)))
    (meta / "orphan.json").write_text(json.dumps({**record("orphan", "1", "0", forge), "depends": 5}))
    (meta / "stray.json").write_text(json.dumps({**record("stray", "2", "0", forge), "depends": ["orphan", None]}))
    read = read_conda(prefix)
    assert [loss.why.split(":")[0] for loss in read.losses] == ["stray 2 is left out"]
    assert [fault.code for fault in read.warnings] == ["bad_conda_prefix"]
    assert read_conda(prefix, exact=True).losses == ()


def test_an_environment_of_wardians_own_is_read_and_a_channel_that_is_none_is_told(prefix: Path) -> None:
    meta = prefix / "conda-meta"
    (meta / "history").unlink()
    (meta / "python.json").write_text(json.dumps(record("python", "3.11.7", "h1_0", "channel:team")))
    for name, channel in (("odd", "a channel:that is none"), ("blank", ""), ("open", "https://[::1/x")):
        (meta / f"{name}.json").write_text(json.dumps(record(name, "1", "0", channel)))
    read = read_conda(prefix)
    assert set(read.environment.python.channels) == {"conda-forge", "https://corp.example/channel", "team"}
    assert sorted(loss.why.split(" ")[0] for loss in read.losses) == ["blank", "odd", "open"]
